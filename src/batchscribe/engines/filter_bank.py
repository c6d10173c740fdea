"""Kaldi's filter bank features, which the model of voices was trained on, in numpy.

Formula and constants: Kaldi's ``compute-fbank-feats`` with 80 bins, 25 ms frames every 10 ms, no dither, whole frames
only; checked against kaldi-native-fbank 1.23.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 80
FRAME_SAMPLES = 400
STEP_SAMPLES = 160
_FFT_SAMPLES = 512
_PREEMPHASIS = 0.97
_LOWEST_HERTZ = 20.0
#: The smallest energy that has a logarithm: float32's epsilon.
_FLOOR = 1.1920929e-07


def filter_bank(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features (frames, 80), with each bin's mean taken away, of 16 kHz samples (-1 to 1).

    There must be :data:`FRAME_SAMPLES` samples at least.
    """
    frames = np.lib.stride_tricks.sliding_window_view(audio, FRAME_SAMPLES)[::STEP_SAMPLES]
    centred = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([centred[:, :1], centred[:, :-1]], axis=1)
    windowed = (centred - _PREEMPHASIS * before) * _povey_window()
    spectrum = np.fft.rfft(windowed, _FFT_SAMPLES)[:, : _FFT_SAMPLES // 2]
    power = spectrum.real**2 + spectrum.imag**2
    features = np.log(np.maximum(power @ _mel_weights(), _FLOOR))
    return np.asarray(features - features.mean(axis=0), dtype=np.float32)


@cache
def _povey_window() -> NDArray[np.float32]:
    """Return Kaldi's window: a Hann window to the power of 0.85."""
    steps = 2.0 * np.pi * np.arange(FRAME_SAMPLES) / (FRAME_SAMPLES - 1)
    return np.asarray((0.5 - 0.5 * np.cos(steps)) ** 0.85, dtype=np.float32)


@cache
def _mel_weights() -> NDArray[np.float32]:
    """Return the triangles of the bins, (256, 80), even in mel from 20 Hz to half the sample rate."""
    lowest, highest = _mel(np.array([_LOWEST_HERTZ, SAMPLE_RATE_HERTZ / 2]))
    edges = np.linspace(lowest, highest, BINS + 2)
    at = _mel(np.arange(_FFT_SAMPLES // 2) * SAMPLE_RATE_HERTZ / _FFT_SAMPLES)[:, None]
    rising = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)), dtype=np.float32)


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log(1.0 + hertz / 700.0))
