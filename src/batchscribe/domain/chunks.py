"""The chunk plan: where a recording is cut into the stretches that are recognised as tasks of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

#: How long chunks are where nobody says otherwise.
DEFAULT_CHUNK_SECONDS = 120.0

#: Seconds of audio that one level stands for.
FRAME_SECONDS = 0.02

#: Levels are mean squares. A frame is quiet below the first share of what is loud around it (24 dB); where there is
#: noise, below so many times what is quietest, up to the second share.
_QUIET_SHARE = 0.004
_NOISE_FACTOR = 4.0
_NOISY_QUIET_SHARE = 0.04
#: What is loud is looked for in blocks of so many seconds, for one speaker may be much softer than another; but a
#: block in which nothing comes near the recording's loud frames (20 dB) has no speech to be measured by.
_BLOCK_SECONDS = 10.0
_SPEECH_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkLimits:
    """How long a chunk may be, in seconds. A recording's last chunk may be shorter."""

    shortest: float = 90.0
    longest: float = 150.0
    #: Where there is no pause, the cut is made in the middle of the quietest stretch of this length.
    pause: float = 0.4
    #: No longer pause is any better than one of this length: words on neither side need more silence.
    long_pause: float = 2.4

    @classmethod
    def around(cls, seconds: float) -> ChunkLimits:
        """Return the limits of chunks of about so many seconds: a quarter more or less."""
        return cls(shortest=0.75 * seconds, longest=1.25 * seconds)


def best_cut(levels: list[int], limits: ChunkLimits) -> int:
    """Return after which frame to cut, given the levels of a chunk's :attr:`ChunkLimits.longest` seconds of frames.

    ``levels`` holds one loudness a frame of :data:`FRAME_SECONDS`, the mean square of its samples. The answer lies
    between the shortest and the longest length: in the longest pause there is, for the recogniser hears both sides best
    with silence around; the latest among equals, so chunks are long. Without any pause it is the quietest moment.
    """
    first = round(limits.shortest / FRAME_SECONDS)
    enough = max(1, round(limits.long_pause / FRAME_SECONDS))
    longest, cut = round(limits.pause / FRAME_SECONDS / 2), None
    for start, end in _pauses(levels):
        if end <= first:
            continue
        length = min(end - start, enough)
        if length >= longest:
            # A silence of minutes is cut near its end, so that chunks are long.
            middle = max((start + end) // 2, end - enough // 2)
            longest, cut = length, min(max(middle, first), len(levels))
    return quietest_cut(levels, limits) if cut is None else cut


def quietest_cut(levels: list[int], limits: ChunkLimits) -> int:
    """Return the middle of the quietest stretch, the latest among equals; otherwise as :func:`best_cut`."""
    first = round(limits.shortest / FRAME_SECONDS)
    width = max(1, min(round(limits.pause / FRAME_SECONDS), len(levels) - first))
    window = sum(levels[first : first + width])
    best_sum, best_start = window, first
    for start in range(first + 1, len(levels) - width + 1):
        window += levels[start + width - 1] - levels[start - 1]
        if window <= best_sum:
            best_sum, best_start = window, start
    return best_start + width // 2


def _pauses(levels: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the runs of quiet frames in order: the first frame, and the first after it."""
    floor = _loud(levels) * _SPEECH_SHARE
    noise = _NOISE_FACTOR * sorted(levels)[len(levels) // 20]
    block = round(_BLOCK_SECONDS / FRAME_SECONDS)
    begun = None
    for first in range(0, len(levels), block):
        part = levels[first : first + block]
        loud = max(_loud(part), floor)
        limit = max(_QUIET_SHARE * loud, min(noise, _NOISY_QUIET_SHARE * loud))
        for frame, level in enumerate(part, start=first):
            if level <= limit:
                begun = frame if begun is None else begun
            elif begun is not None:
                yield begun, frame
                begun = None
    if begun is not None:
        yield begun, len(levels)


def _loud(levels: list[int]) -> int:
    """Return the level that one frame in twenty is above."""
    return sorted(levels)[(len(levels) - 1) * 19 // 20]
