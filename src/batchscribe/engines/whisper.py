"""The Whisper recogniser: chunks in, windows out; windows in, segments of timed words out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.domain.transcript import Item, ItemKind
from batchscribe.domain.transcript import Quality as Signs
from batchscribe.engines.skips import Skip, find_skips, has_room_for_skips
from batchscribe.engines.voice_activity import VoiceActivity
from batchscribe.engines.whisper_model import Decoded, WhisperModel
from batchscribe.engines.windows import BUCKETS, Window, WindowLimits, bucket_for, cut_windows
from batchscribe.engines.words import items_of, moved, segments_of, sharpened, within

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from batchscribe.domain.transcript import Segment


class Quality(Enum):
    """How much time the recogniser spends on a recording."""

    ACCURATE = "accurate"
    BALANCED = "balanced"
    FAST = "fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowAudio:
    """One window as the recogniser is given it."""

    #: 16 kHz samples, one dimension.
    pcm: NDArray[np.int16]
    bucket: int
    #: Whisper's name of the language, for example ``en``.
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a quality mode means."""

    limits: WindowLimits
    #: A window whose tokens' mean log probability is lower is searched once more, thoroughly.
    doubtful_below: float
    #: Whether stretches that were passed over are looked for and recognised again.
    finds_skips: bool


EFFORTS: dict[Quality, Effort] = {
    Quality.ACCURATE: Effort(limits=WindowLimits(longest=20.0, wanted=12.0), doubtful_below=-0.6, finds_skips=True),
    Quality.BALANCED: Effort(limits=WindowLimits(longest=20.0, wanted=12.0), doubtful_below=-1.0, finds_skips=True),
    Quality.FAST: Effort(limits=WindowLimits(longest=16.0, wanted=10.0), doubtful_below=-1.0, finds_skips=False),
}
#: The thorough search. A wide beam drops more sentences than a narrow one, so it is for doubtful windows only.
_THOROUGH_BEAM = 5
_THOROUGH_NO_REPEAT = 6
#: Text above this compression ratio repeats itself (Whisper's own limit).
_LOOP_RATIO = 2.4
#: Below this mean log probability words are guesses; together with a no-speech probability above, they are invented.
_GUESS = -1.0
_NO_SPEECH = 0.6


class WhisperRecogniser:
    """Recognises speech in one process with one thread. Not for use from two threads at once."""

    #: How many windows of one bucket are best recognised together.
    max_batch: int = 8

    def __init__(self, model_folder: Path, *, quality: Quality) -> None:
        self._effort = EFFORTS[quality]
        self._model = WhisperModel(model_folder)
        self._voice_activity = VoiceActivity()

    def find_windows(self, pcm: NDArray[np.int16]) -> list[Window]:
        """Cut a chunk of 16 kHz samples into windows of speech, in order; silence gives none."""
        return cut_windows(self._voice_activity.probabilities(pcm), len(pcm), self._effort.limits)

    def recognise(self, windows: list[WindowAudio]) -> list[tuple[Segment, ...]]:
        """Recognise windows of one bucket, of any languages; return each one's segments, in seconds from its start.

        A window's segments depend on its own samples, bucket and language alone.
        """
        encoded = [self._model.encode(window.pcm, window.bucket) for window in windows]
        decoded = self._model.decode(encoded, [window.language for window in windows], beam=1)
        return [
            self._segments(window, *self._checked(window, *answer))
            for window, answer in zip(windows, zip(encoded, decoded, strict=True), strict=True)
        ]

    def _checked(
        self, window: WindowAudio, encoded: NDArray[np.float32], decoded: Decoded
    ) -> tuple[NDArray[np.float32], Decoded]:
        """Search once more where the first search's words are doubtful, with the longest pad and a wide beam."""
        if not _is_doubtful(decoded, self._effort.doubtful_below):
            return encoded, decoded
        again_encoded = self._model.encode(window.pcm, BUCKETS[-1])
        again = self._model.decode(
            [again_encoded], [window.language], beam=_THOROUGH_BEAM, no_repeat=_THOROUGH_NO_REPEAT
        )[0]
        first_is_sound = not _is_doubtful(decoded, _GUESS)
        if first_is_sound and again.average_log_probability <= decoded.average_log_probability:
            return encoded, decoded
        return again_encoded, again

    def _segments(self, window: WindowAudio, encoded: NDArray[np.float32], decoded: Decoded) -> tuple[Segment, ...]:
        """Time the words of a decoded window, fill in what was passed over, and group them into segments."""
        items = self._items(window, encoded, decoded)
        duration = len(window.pcm) / SAMPLE_RATE_HERTZ
        if items and self._effort.finds_skips and has_room_for_skips(items, duration):
            speech = self._voice_activity.probabilities(window.pcm)
            for skip in reversed(find_skips(items, speech, duration)):
                items[skip.first_item : skip.last_item] = self._filled(window, items, skip)
        signs = Signs(
            average_log_probability=decoded.average_log_probability,
            compression_ratio=decoded.compression_ratio,
            no_speech_probability=decoded.no_speech_probability,
        )
        return tuple(segments_of(within(sharpened(items, window.pcm), duration), signs))

    def _items(self, window: WindowAudio, encoded: NDArray[np.float32], decoded: Decoded) -> list[Item]:
        """Return a decoded window's timed items; none where its words are most likely invented."""
        if not decoded.tokens or _is_invented(decoded):
            return []
        return items_of(self._model.align(encoded, decoded.tokens, window.language, len(window.pcm)))

    def _filled(self, window: WindowAudio, items: list[Item], skip: Skip) -> list[Item]:
        """Recognise a stretch that was passed over by itself; return what stands in the place of its items."""
        known = items[skip.first_item : skip.last_item]
        pcm = window.pcm[int(skip.start * SAMPLE_RATE_HERTZ) : int(skip.end * SAMPLE_RATE_HERTZ)]
        part = WindowAudio(pcm=pcm, bucket=bucket_for(len(pcm)), language=window.language)
        encoded = self._model.encode(pcm, part.bucket)
        decoded = self._model.decode([encoded], [window.language], beam=1)[0]
        if _is_doubtful(decoded, _GUESS):
            return known
        found = moved(self._items(part, encoded, decoded), skip.start)
        words = [item.content.casefold() for item in found if item.kind is ItemKind.PRONUNCIATION]
        if known[0].content.casefold() in words:
            return found if len(words) > 1 else known
        return [*known, *found]


def _is_doubtful(decoded: Decoded, limit: float) -> bool:
    """Whether another search may be worth its time."""
    has_run_away = decoded.is_cut_off or decoded.compression_ratio > _LOOP_RATIO
    return has_run_away or not decoded.tokens or decoded.average_log_probability < limit


def _is_invented(decoded: Decoded) -> bool:
    """Whether the words are rather the model's habit than somebody's speech."""
    is_guess = decoded.average_log_probability < _GUESS and decoded.no_speech_probability > _NO_SPEECH
    return is_guess or decoded.compression_ratio > _LOOP_RATIO
