"""The Whisper recogniser: chunks in, windows out; windows in, segments of timed words out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.domain.transcript import Item, Segment
from batchscribe.domain.transcript import Quality as Signs
from batchscribe.engines.favouring import favour
from batchscribe.engines.identification import LanguageFinder
from batchscribe.engines.loops import without_loops
from batchscribe.engines.skips import Skip, find_skips, has_room_for_skips, put_in, spoken_seconds
from batchscribe.engines.voice_activity import VoiceActivity
from batchscribe.engines.voices import VoiceModel
from batchscribe.engines.whisper_model import Decoded, Search, WhisperModel
from batchscribe.engines.windows import BUCKETS, Window, WindowLimits, bucket_for, cut_windows
from batchscribe.engines.word_times import EARLY_SECONDS, sharpened
from batchscribe.engines.words import items_of, moved, segments_of, within

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from batchscribe.domain.identification import LanguageWindow
    from batchscribe.domain.voices import VoiceWindow


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
    #: What is favoured, as it is to be written.
    phrases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a quality mode means."""

    limits: WindowLimits
    #: A window whose mean log probability is lower is searched a second time in another way; None for never.
    second_search_below: float | None


#: Measured by ``benchmarks/recogniser_wer.py`` on 70 minutes (the English sets, and an hour joined from them), base
#: model, one thread: accurate 5.2 % WER at 19 audio seconds a processor second, balanced 5.5 % at 23; in the same run
#: faster-whisper batched (8, beam 5) had 6.7 % at 12. On 40 minutes of them fast had 6.7 % at 29: a second of audio
#: costs the encoder more in a longer window, and short windows cost words.
EFFORTS: dict[Quality, Effort] = {
    Quality.ACCURATE: Effort(limits=WindowLimits(longest=20.0, wanted=12.0), second_search_below=-0.25),
    Quality.BALANCED: Effort(limits=WindowLimits(longest=20.0, wanted=12.0), second_search_below=None),
    Quality.FAST: Effort(limits=WindowLimits(longest=12.0, wanted=6.0), second_search_below=None),
}
_FIRST = Search(beam=1)
_SECOND = Search(beam=2, with_times=False)
#: Windows of the shortest bucket hold a sentence or two: a wide beam drops none there and hears them best.
_SECOND_FOR_SHORT = Search(beam=5, with_times=False)
#: For windows in which the model ran away or found nothing sure.
_THOROUGH = Search(beam=5, no_repeat=6)
#: The second search's text is taken where its length is about the first's: else it dropped or repeated a sentence.
_ALIKE_CHARACTERS = 4
_ALIKE_SHARE = 0.1
#: Text above this compression ratio repeats itself (Whisper's own limit).
_LOOP_RATIO = 2.4
#: Below the first mean log probability words are guesses, below the second they are unsure. Where the model also gives
#: silence more than this probability, guesses are invented; and unsure words, where speech is heard in less than this
#: share of the window. (Of the English sets no window comes near: at most 0.28.)
_GUESS = -1.0
_UNSURE = -0.5
_NO_SPEECH = 0.6
_SPOKEN_SHARE = 0.5
_MISSED_SPEECH = "Somebody speaks here who was not understood."


class WhisperRecogniser:
    """Recognises speech in one process with one thread. Not for use from two threads at once."""

    #: How many windows of one bucket are best recognised together.
    max_batch: int = 8

    def __init__(self, model_folder: Path, *, quality: Quality) -> None:
        self._effort = EFFORTS[quality]
        self._model = WhisperModel(model_folder)
        self._voice_activity = VoiceActivity()
        self._voices: VoiceModel | None = None

    def find_windows(self, pcm: NDArray[np.int16]) -> list[Window]:
        """Cut a chunk of 16 kHz samples into windows of speech, in order; silence gives none."""
        return cut_windows(self._voice_activity.probabilities(pcm), len(pcm), self._effort.limits)

    def find_voices(self, pcm: NDArray[np.int16]) -> tuple[VoiceWindow, ...]:
        """Tell apart who can be heard in a chunk of 16 kHz samples, in seconds from its start.

        The models for it are loaded the first time. Raises ModelUnavailable where they are damaged.
        """
        if self._voices is None:
            self._voices = VoiceModel()
        return self._voices.windows(pcm)

    def find_languages(self, pcm: NDArray[np.int16], *, by_stretch: bool) -> tuple[LanguageWindow, ...]:
        """Say which languages may be spoken in a chunk of 16 kHz samples, as the port of recognisers says."""
        return LanguageFinder(self._model, self._voice_activity).windows(pcm, by_stretch=by_stretch)

    def recognise(self, windows: list[WindowAudio]) -> list[tuple[Segment, ...]]:
        """Recognise windows of one bucket, of any languages; return each one's segments, in seconds from its start.

        A window's segments depend on its own samples, bucket, language and phrases alone.
        """
        encoded = [self._model.encode(window.pcm, window.bucket) for window in windows]
        decoded = self._model.decode(encoded, [window.language for window in windows], _FIRST)
        self._search_again(windows, encoded, decoded)
        segments = []
        for i, window in enumerate(windows):
            if _has_failed(decoded[i]):
                encoded[i], decoded[i] = self._rescued(window, encoded[i], decoded[i])
            segments.append(self._segments(window, encoded[i], decoded[i]))
        return segments

    def _search_again(
        self, windows: list[WindowAudio], encoded: list[NDArray[np.float32]], decoded: list[Decoded]
    ) -> None:
        """Put a second search's words in the place of a first's that are not sure."""
        limit, search = self._effort.second_search_below, _SECOND
        if limit is None:
            return
        if windows[0].bucket == BUCKETS[0]:
            limit, search = 0.0, _SECOND_FOR_SHORT
        unsure = [i for i, first in enumerate(decoded) if first.average_log_probability < limit]
        if not unsure:
            return
        seconds = self._model.decode([encoded[i] for i in unsure], [windows[i].language for i in unsure], search)
        for i, second in zip(unsure, seconds, strict=True):
            first = decoded[i]
            is_alike = abs(second.length - first.length) <= _ALIKE_CHARACTERS + _ALIKE_SHARE * first.length
            if not _has_failed(second) and (is_alike or _has_failed(first)):
                decoded[i] = second

    def _rescued(
        self, window: WindowAudio, encoded: NDArray[np.float32], decoded: Decoded
    ) -> tuple[NDArray[np.float32], Decoded]:
        """Search a window thoroughly, with the longest pad; return the better of both answers."""
        longer = self._model.encode(window.pcm, BUCKETS[-1])
        thorough = self._model.decode([longer], [window.language], _THOROUGH)[0]
        if _has_failed(thorough) and thorough.average_log_probability < decoded.average_log_probability:
            return encoded, decoded
        return longer, thorough

    def _segments(self, window: WindowAudio, encoded: NDArray[np.float32], decoded: Decoded) -> tuple[Segment, ...]:
        """Time the words of a decoded window, fill in what was passed over, and group them into segments."""
        items = self._items(window, encoded, decoded)
        duration = len(window.pcm) / SAMPLE_RATE_HERTZ
        missed: list[Skip] = []
        if items and has_room_for_skips(items, duration):
            speech = self._voice_activity.probabilities(window.pcm)
            for skip in reversed(find_skips(items, speech, duration)):
                filled = put_in(items, skip, self._found(window, skip))
                missed += [skip] if filled == items else []
                items = filled
        signs = Signs(
            average_log_probability=decoded.average_log_probability,
            compression_ratio=decoded.compression_ratio,
            no_speech_probability=decoded.no_speech_probability,
        )
        segments = segments_of(within(sharpened(items, window.pcm), duration), signs)
        return tuple(_doubted(segment, missed) for segment in segments)

    def _items(self, window: WindowAudio, encoded: NDArray[np.float32], decoded: Decoded) -> list[Item]:
        """Return a decoded window's timed items, loops cut; none where its words are most likely invented."""
        tokens = decoded.tokens
        if decoded.compression_ratio > _LOOP_RATIO:
            tokens = without_loops(tokens)
        if not tokens or self._is_invented(window, decoded):
            return []
        if window.phrases:
            tokens = favour(tokens, window.phrases, self._model.text_of_window(encoded, window.language))
        return items_of(self._model.align(encoded, tokens, window.language, len(window.pcm)))

    def _is_invented(self, window: WindowAudio, decoded: Decoded) -> bool:
        """Whether the words are rather the model's habit than somebody's speech: where all signs say so."""
        loops = decoded.compression_ratio > _LOOP_RATIO
        if decoded.no_speech_probability <= _NO_SPEECH or not (decoded.average_log_probability < _UNSURE or loops):
            return False
        if decoded.average_log_probability < _GUESS or loops:
            return True
        spoken = spoken_seconds(self._voice_activity.probabilities(window.pcm))
        return spoken < _SPOKEN_SHARE * len(window.pcm) / SAMPLE_RATE_HERTZ

    def _found(self, window: WindowAudio, skip: Skip) -> list[Item]:
        """Recognise a stretch that was passed over by itself; return nothing where that fails as well."""
        pcm = window.pcm[int(skip.start * SAMPLE_RATE_HERTZ) : int(skip.end * SAMPLE_RATE_HERTZ)]
        part = WindowAudio(pcm=pcm, bucket=bucket_for(len(pcm)), language=window.language, phrases=window.phrases)
        encoded = self._model.encode(pcm, part.bucket)
        decoded = self._model.decode([encoded], [window.language], _FIRST)[0]
        if _has_failed(decoded):
            return []
        # The window's words are all moved later once more.
        return moved(sharpened(self._items(part, encoded, decoded), pcm), skip.start - EARLY_SECONDS)


def _has_failed(decoded: Decoded) -> bool:
    """Whether a search ran away, found nothing, or guessed."""
    has_run_away = decoded.is_cut_off or decoded.compression_ratio > _LOOP_RATIO
    return has_run_away or not decoded.tokens or decoded.average_log_probability < _GUESS


def _doubted(segment: Segment, missed: list[Skip]) -> Segment:
    """Say of a segment that speech in it was not understood, where a stretch stayed without words."""
    is_doubted = any(skip.start < segment.end and segment.start < skip.end for skip in missed)
    return replace(segment, suspect=_MISSED_SPEECH) if is_doubted else segment
