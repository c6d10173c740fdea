"""The chunk plan: where a recording is cut into the stretches that are recognised as tasks of their own."""

from __future__ import annotations

from dataclasses import dataclass

#: How long chunks are where nobody says otherwise.
DEFAULT_CHUNK_SECONDS = 120.0

#: Seconds of audio that one level stands for.
FRAME_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkLimits:
    """How long a chunk may be, in seconds. A recording's last chunk may be shorter."""

    shortest: float = 90.0
    longest: float = 150.0
    #: A cut is made in the middle of the quietest stretch of this length.
    pause: float = 0.4

    @classmethod
    def around(cls, seconds: float) -> ChunkLimits:
        """Return the limits of chunks of about so many seconds: a quarter more or less."""
        return cls(shortest=0.75 * seconds, longest=1.25 * seconds)


def quietest_cut(levels: list[int], limits: ChunkLimits) -> int:
    """Return after which frame to cut, given the levels of a chunk's :attr:`ChunkLimits.longest` seconds of frames.

    ``levels`` holds one loudness a frame of :data:`FRAME_SECONDS`, on any scale that grows with loudness. The answer
    lies between the shortest and the longest length; among stretches equally quiet the latest wins, so chunks are long.
    """
    first = round(limits.shortest / FRAME_SECONDS)
    width = max(1, min(round(limits.pause / FRAME_SECONDS), len(levels) - first))
    window = sum(levels[first : first + width])
    best_sum, best_start = window, first
    for start in range(first + 1, len(levels) - width + 1):
        window += levels[start + width - 1] - levels[start - 1]
        if window <= best_sum:
            best_sum, best_start = window, start
    return best_start + width // 2
