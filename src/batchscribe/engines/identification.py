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
#: At least a second of the pad stays: speech that is cut off at the end is heard as something else.
_LIMITS = WindowLimits(longest=29.0, wanted=15.0)
#: Stretches are many and short. Ten seconds are a third of the work, and of a known neighbourhood sure enough.
_STRETCH_PADDED_SECONDS = 10
_STRETCH_LIMITS = WindowLimits(longest=9.0, wanted=5.0)
_SPEECH_PROBABILITY = 0.5
#: Between two stretches lie at least so many seconds without speech, and no stretch has less speech than this.
_PAUSE_SECONDS = 0.13
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
        padded = _STRETCH_PADDED_SECONDS if by_stretch else _PADDED_SECONDS
        found: list[LanguageWindow] = []
        for start, end in _frames(speech, by_stretch=by_stretch):
            part = slice(start * FRAME_SAMPLES, min(end * FRAME_SAMPLES, len(pcm)))
            found.append(
                LanguageWindow(
                    start=part.start / SAMPLE_RATE_HERTZ,
                    end=part.stop / SAMPLE_RATE_HERTZ,
                    speech=_speech_seconds(speech[start:end]),
                    probabilities=_known(self._model.languages(self._model.encode(pcm[part], padded))),
                )
            )
        return tuple(found)


def _frames(speech: NDArray[np.float32], *, by_stretch: bool) -> list[tuple[int, int]]:
    """Return what is listened to by itself, as pairs of frames."""
    limits = _STRETCH_LIMITS if by_stretch else _LIMITS
    windows = [
        (each.start // FRAME_SAMPLES, each.end // FRAME_SAMPLES)
        for each in cut_windows(speech, len(speech) * FRAME_SAMPLES, limits)
    ]
    if not by_stretch:
        return windows
    return [
        (first + start, first + end) for first, last in windows for start, end in _between_pauses(speech[first:last])
    ]


def _between_pauses(speech: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return the stretches of one window, as pairs of frames, that pauses divide.

    One with too little speech goes with a neighbour, over the shortest pause first: languages change at longer ones.
    """
    is_speech = speech >= _SPEECH_PROBABILITY
    loud = np.flatnonzero(is_speech).tolist()
    least = _PAUSE_SECONDS / FRAME_SECONDS
    pauses = {(one + other + 1) // 2: other - one for one, other in pairwise(loud) if other - one > least}
    while pauses:
        borders = [0, *sorted(pauses), len(speech)]
        short = [
            (start, end)
            for start, end in pairwise(borders)
            if is_speech[start:end].sum() * FRAME_SECONDS < _SHORTEST_STRETCH_SECONDS
        ]
        if not short:
            return list(pairwise(borders))
        del pauses[
            min((border for part in short for border in part if border in pauses), key=lambda each: pauses[each])
        ]
    return [(0, len(speech))]


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
