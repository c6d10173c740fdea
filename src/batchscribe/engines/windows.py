"""Where a chunk is cut into windows: stretches of speech short enough for the model, cut at pauses."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.engines.voice_activity import FRAME_SAMPLES, FRAME_SECONDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Padded lengths in seconds. Below ten the model mishears more, below eight it says a short phrase again and again.
#: A window is decoded beside others of its bucket only, so its words depend on itself alone.
BUCKETS = (10, 13, 17, 21, 25, 30)
#: Silence after the speech that a window must have room for in its bucket, in seconds: without it the model loops.
PAD_SECONDS = 1.0

#: A stretch holds frames above the lower probability, and at least one above the higher: music and noise seldom do.
_SPEECH_PROBABILITY = 0.2
_SURE_SPEECH_PROBABILITY = 0.6
_KEPT_SILENCE_SECONDS = 0.4
_LONGEST_INNER_SILENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of a chunk that is recognised at once: samples ``start`` to ``end`` within the chunk."""

    start: int
    end: int
    #: Seconds that the window is padded to, one of :data:`BUCKETS`; follows from the window's own length alone.
    bucket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLimits:
    """How windows are cut, in seconds."""

    longest: float
    #: Windows shorter than this lose the context that the model needs; they are avoided, not forbidden.
    wanted: float


def bucket_for(samples: int) -> int:
    """Return the bucket of a window of this many samples. Raises ValueError for one that fits no bucket."""
    seconds = samples / SAMPLE_RATE_HERTZ + PAD_SECONDS
    for bucket in BUCKETS:
        if seconds <= bucket:
            return bucket
    raise ValueError(f"A window of {samples} samples is longer than any bucket.")


def cut_windows(probabilities: NDArray[np.float32], samples: int, limits: WindowLimits) -> list[Window]:
    """Cut a chunk of this many samples, given its frames' probabilities of speech, into windows in order.

    Stretches of more than two seconds without speech belong to no window.
    """
    windows = []
    for first, last in _stretches(probabilities):
        for start, end in _cut(probabilities[first:last], limits):
            begin, stop = (first + start) * FRAME_SAMPLES, min(samples, (first + end) * FRAME_SAMPLES)
            windows.append(Window(start=begin, end=stop, bucket=bucket_for(stop - begin)))
    return windows


def _stretches(probabilities: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return the stretches of speech as pairs of frames, padded, with short silences kept inside."""
    kept, inner = round(_KEPT_SILENCE_SECONDS / FRAME_SECONDS), round(_LONGEST_INNER_SILENCE_SECONDS / FRAME_SECONDS)
    stretches: list[tuple[int, int]] = []
    for frame in np.flatnonzero(probabilities >= _SPEECH_PROBABILITY).tolist():
        start, end = max(0, frame - kept), min(len(probabilities), frame + 1 + kept)
        if stretches and start - stretches[-1][1] <= inner - 2 * kept:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    return [(start, end) for start, end in stretches if probabilities[start:end].max() >= _SURE_SPEECH_PROBABILITY]


def _cut(probabilities: NDArray[np.float32], limits: WindowLimits) -> list[tuple[int, int]]:
    """Return the cheapest way to cut one stretch into windows: few cuts, in long pauses, with no window too short."""
    frames = len(probabilities)
    longest, wanted = int(limits.longest / FRAME_SECONDS), limits.wanted / FRAME_SECONDS
    if frames <= longest:
        return [(0, frames)]
    badness = _cut_badness(probabilities)
    best = np.full(frames + 1, np.inf)
    came_from = np.zeros(frames + 1, dtype=np.int64)
    best[0] = 0.0
    for end in range(1, frames + 1):
        starts = np.arange(max(0, end - longest), end)
        shortness = np.maximum(0.0, 1.0 - (end - starts) / wanted)
        costs = best[starts] + 3.0 * shortness**2
        choice = int(np.argmin(costs))
        best[end] = costs[choice] + (badness[end] if end < frames else 0.0)
        came_from[end] = starts[choice]
    cuts = [frames]
    while cuts[-1] > 0:
        cuts.append(int(came_from[cuts[-1]]))
    cuts.reverse()
    return list(pairwise(cuts))


def _cut_badness(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how bad a cut before each frame is: near 0 in the middle of a long pause, 4 and more within speech."""
    silent = probabilities < _SPEECH_PROBABILITY
    reach = np.zeros(len(probabilities) + 1)
    run = 0
    for frame, is_silent in enumerate(silent.tolist()):
        run = run + 1 if is_silent else 0
        reach[frame + 1] = run
    run = 0
    for frame in range(len(probabilities) - 1, -1, -1):
        run = run + 1 if silent[frame] else 0
        reach[frame] = min(reach[frame], run)
    pause_seconds = 2 * reach * FRAME_SECONDS
    loudness = np.convolve(np.pad(probabilities, 3, mode="edge"), np.ones(6) / 6, mode="valid")[
        : len(probabilities) + 1
    ]
    return np.asarray(0.05 + np.exp(-4.0 * pause_seconds) * (1.0 + 4.0 * loudness), dtype=np.float64)
