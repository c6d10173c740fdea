"""Finds speech that the model passed over: Whisper now and then drops a whole sentence inside a window."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
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
#: How alike two hearings of one word are at least, as :class:`difflib.SequenceMatcher` counts.
_ALIKE = 0.6
#: Silence beside what was found in which the word that was known may stand, in seconds.
_ROOM_SECONDS = 0.2
#: So many words at the stretch's edges may be its neighbours', heard once more.
_NEIGHBOURS = 3


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
        if spoken_seconds(frames) > _plausible(items[i].content) + _SKIPPED_SECONDS:
            last = spans[number + 1][0] if number + 1 < len(spans) else len(items)
            skips.append(Skip(start=start, end=end, first_item=i, last_item=last))
    return skips


def spoken_seconds(speech: NDArray[np.float32]) -> float:
    """Return how long somebody surely speaks, given frame probabilities."""
    return float((speech > _SPEECH_PROBABILITY).sum()) * FRAME_SECONDS


def put_in(items: list[Item], skip: Skip, found: list[Item]) -> list[Item]:
    """Return a window's items with what was found in a stretch by recognising it alone; nothing is said twice.

    ``found`` counts from the window's start, its pauses taken out of its words. It takes the place of the word that was
    known in the stretch, which it holds too, unless there is room left for that word beside it.
    """
    before, known, after = items[: skip.first_item], items[skip.first_item : skip.last_item], items[skip.last_item :]
    found = _without_neighbours(found, before, after)
    words = _words(found)
    word = known[0].content.casefold()
    if not words or words == [word]:
        return items
    if not any(SequenceMatcher(None, word, each).ratio() >= _ALIKE for each in words):
        spoken = [item for item in found if item.kind is ItemKind.PRONUNCIATION]
        if spoken[0].start - skip.start >= _ROOM_SECONDS:
            found = [*known, *found]
        elif skip.end - spoken[-1].end >= _ROOM_SECONDS:
            found = [*found, *known]
    return [*before, *found, *after]


def _without_neighbours(found: list[Item], before: list[Item], after: list[Item]) -> list[Item]:
    """Leave out the words at both edges that were heard from the words beside the stretch."""
    for size in range(_NEIGHBOURS, 0, -1):
        if _words(found)[:size] == _words(before)[-size:] != []:
            found = found[_place(found, size) :]
            break
    for size in range(_NEIGHBOURS, 0, -1):
        if _words(found)[-size:] == _words(after)[:size] != []:
            found = found[: _place(found, len(_words(found)) - size)]
            break
    return found


def _words(items: list[Item]) -> list[str]:
    return [item.content.casefold() for item in items if item.kind is ItemKind.PRONUNCIATION]


def _place(items: list[Item], number: int) -> int:
    """Return the place of the word of this number (from 0) among all items."""
    places = [i for i, item in enumerate(items) if item.kind is ItemKind.PRONUNCIATION]
    return places[number] if number < len(places) else len(items)


def _spans(items: list[Item], duration: float) -> list[tuple[int, float, float]]:
    """Return each word's place in the list, its start, and the start of the next word or the window's end."""
    places = [i for i, item in enumerate(items) if item.kind is ItemKind.PRONUNCIATION]
    starts = [0.0 if number == 0 else items[i].start for number, i in enumerate(places)]
    return list(zip(places, starts, [*starts[1:], duration], strict=True))


def _plausible(word: str) -> float:
    """Return how long a word may last in speech, in seconds."""
    digits = sum(character.isdigit() for character in word)
    return _ANY_WORD_SECONDS + _LETTER_SECONDS * (len(word) - digits) + _DIGIT_SECONDS * digits
