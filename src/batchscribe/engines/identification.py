"""Which languages Whisper hears in a chunk: in its speech as a whole, or in what lies between two pauses."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from batchscribe.domain.identification import LanguageWindow
from batchscribe.domain.languages import WHISPER_LANGUAGES
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.engines.voice_activity import FRAME_SAMPLES, FRAME_SECONDS
from batchscribe.engines.windows import WindowLimits, cut_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from batchscribe.engines.voice_activity import VoiceActivity
    from batchscribe.engines.whisper_model import WhisperModel

#: Whisper learned to tell languages on windows of thirty seconds: padded to less it mistakes more of them.
_PADDED_SECONDS = 30
_POSITIONS_A_SECOND = 50
#: At least a second of the pad stays: speech that is cut off at the end is heard as something else.
_LIMITS = WindowLimits(longest=29.0, wanted=15.0)
_SPEECH_PROBABILITY = 0.3
#: Between two stretches lie at least so many seconds without speech, and a stretch is no longer than it need be.
_PAUSE_SECONDS = 0.25
_SHORTEST_STRETCH_SECONDS = 1.0
#: Cantonese, which only the largest model knows, is one of the scripts of ``zh`` here.
_SAME = {"yue": "zh"}
_LEAST_PROBABILITY = 1e-4


class LanguageFinder:
    """Hears languages with a model in one thread."""

    def __init__(self, model: WhisperModel, voice_activity: VoiceActivity) -> None:
        self._model, self._voice_activity = model, voice_activity

    def windows(self, pcm: NDArray[np.int16], *, by_stretch: bool) -> tuple[LanguageWindow, ...]:
        """Return what is heard in 16 kHz samples, in seconds from their start; silence gives nothing."""
        speech = self._voice_activity.probabilities(pcm)
        found: list[LanguageWindow] = []
        for window in cut_windows(speech, len(pcm), _LIMITS):
            encoded = self._model.encode(pcm[window.start : window.end], _PADDED_SECONDS)
            first, last = window.start // FRAME_SAMPLES, -(-window.end // FRAME_SAMPLES)
            parts = _between_pauses(speech[first:last]) if by_stretch else [(0, last - first)]
            for start, end in parts:
                heard = self._model.languages(_part(encoded, start, end) if by_stretch else encoded)
                found.append(
                    LanguageWindow(
                        start=(first + start) * FRAME_SECONDS,
                        end=min((first + end) * FRAME_SECONDS, len(pcm) / SAMPLE_RATE_HERTZ),
                        speech=_speech_seconds(speech[first + start : first + end]),
                        probabilities=_known(heard),
                    )
                )
        return tuple(found)


def _part(encoded: NDArray[np.float32], start: int, end: int) -> NDArray[np.float32]:
    """Return the positions of an encoder's output that belong to these frames."""
    first, last = (round(frame * FRAME_SECONDS * _POSITIONS_A_SECOND) for frame in (start, end))
    return encoded[:, first : max(first + 1, last)]


def _between_pauses(speech: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return the stretches of one window, as pairs of frames, that pauses divide; short ones go with the one before."""
    is_speech = speech >= _SPEECH_PROBABILITY
    loud = np.flatnonzero(is_speech)
    if not len(loud):
        return [(0, len(speech))]
    pause = round(_PAUSE_SECONDS / FRAME_SECONDS)
    breaks = [(int(one) + int(other) + 1) // 2 for one, other in pairwise(loud.tolist()) if other - one > pause]
    borders = [0]
    for border in breaks:
        if is_speech[borders[-1] : border].sum() * FRAME_SECONDS >= _SHORTEST_STRETCH_SECONDS:
            borders.append(border)
    if len(borders) > 1 and is_speech[borders[-1] :].sum() * FRAME_SECONDS < _SHORTEST_STRETCH_SECONDS:
        borders.pop()
    return list(pairwise([*borders, len(speech)]))


def _speech_seconds(speech: NDArray[np.float32]) -> float:
    return max(1, int((speech >= _SPEECH_PROBABILITY).sum())) * FRAME_SECONDS


def _known(heard: dict[str, float]) -> dict[str, float]:
    """Return the probabilities of the languages that have a name here, without those that say nothing."""
    known: dict[str, float] = {}
    for token, probability in heard.items():
        name = _SAME.get(token, token)
        if name in WHISPER_LANGUAGES and probability >= _LEAST_PROBABILITY:
            known[name] = known.get(name, 0.0) + probability
    return known
