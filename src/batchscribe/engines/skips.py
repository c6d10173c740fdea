"""Finds speech that the model passed over: Whisper now and then drops a whole sentence inside a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchscribe.domain.transcript import ItemKind
from batchscribe.engines.voice_activity import FRAME_SECONDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from batchscribe.domain.transcript import Item

#: How long a word may plausibly last, in seconds: any word, and more for each letter and each digit.
_ANY_WORD_SECONDS = 0.35
_LETTER_SECONDS = 0.09
_DIGIT_SECONDS = 0.35
#: Speech beyond what its words account for, from which on something was passed over, in seconds.
_SKIPPED_SECONDS = 0.6
_SPEECH_PROBABILITY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A stretch with more speech than its one word explains."""

    #: Seconds from the window's start.
    start: float
    end: float
    #: The items that were found in the stretch: the word and the marks after it.
    first_item: int
    last_item: int


def has_room_for_skips(items: list[Item], duration: float) -> bool:
    """Whether any word's stretch is so long that speech may be missing; most windows need no closer look."""
    return any(
        end - start > _plausible(items[i].content) + _SKIPPED_SECONDS for i, start, end in _spans(items, duration)
    )


def find_skips(items: list[Item], speech: NDArray[np.float32], duration: float) -> list[Skip]:
    """Return the stretches of a window in which words are missing.

    ``speech`` holds the window's frame probabilities of :mod:`~batchscribe.engines.voice_activity`; ``duration`` is in
    seconds.
    """
    skips = []
    spans = _spans(items, duration)
    for number, (i, start, end) in enumerate(spans):
        frames = speech[int(start / FRAME_SECONDS) : int(end / FRAME_SECONDS)]
        spoken = float((frames > _SPEECH_PROBABILITY).sum()) * FRAME_SECONDS
        if spoken > _plausible(items[i].content) + _SKIPPED_SECONDS:
            last = spans[number + 1][0] if number + 1 < len(spans) else len(items)
            skips.append(Skip(start=start, end=end, first_item=i, last_item=last))
    return skips


def _spans(items: list[Item], duration: float) -> list[tuple[int, float, float]]:
    """Return each word's place in the list, its start, and the start of the next word or the window's end."""
    places = [i for i, item in enumerate(items) if item.kind is ItemKind.PRONUNCIATION]
    starts = [0.0 if number == 0 else items[i].start for number, i in enumerate(places)]
    return list(zip(places, starts, [*starts[1:], duration], strict=True))


def _plausible(word: str) -> float:
    """Return how long a word may last in speech, in seconds."""
    digits = sum(character.isdigit() for character in word)
    return _ANY_WORD_SECONDS + _LETTER_SECONDS * (len(word) - digits) + _DIGIT_SECONDS * digits
