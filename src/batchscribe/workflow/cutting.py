"""Cuts a recording into chunks while it is decoded, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from batchscribe.domain.chunks import FRAME_SECONDS, ChunkLimits, best_cut
from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ

_FRAME_SAMPLES = round(FRAME_SECONDS * SAMPLE_RATE_HERTZ)
_FRAME_BYTES = _FRAME_SAMPLES * BYTES_PER_SAMPLE


def cut(blocks: Iterable[bytes], limits: ChunkLimits | None = None, *, channels: int = 1) -> Iterator[bytes]:
    """Yield the PCM of one chunk after the other; together they are the blocks, byte for byte.

    The same samples are cut at the same places whatever the blocks' sizes, so a plan that was interrupted can be made
    again. Holds little more than one chunk of the longest length. The samples of several ``channels`` are interleaved;
    all are cut at the same places.
    """
    limits = limits or ChunkLimits()
    frame_bytes = _FRAME_BYTES * channels
    longest_bytes = round(limits.longest / FRAME_SECONDS) * frame_bytes
    waiting = bytearray()
    for block in blocks:
        waiting += block
        # More than the longest: what follows a cut is never empty.
        while len(waiting) > longest_bytes:
            end = best_cut(_levels(waiting, longest_bytes, channels), limits) * frame_bytes
            yield bytes(waiting[:end])
            del waiting[:end]
    if waiting:
        yield bytes(waiting)


def _levels(pcm: bytearray, size_bytes: int, channels: int) -> list[int]:
    """Return one loudness a frame: the mean square of its samples."""
    samples = np.frombuffer(pcm, dtype="<i2", count=size_bytes // BYTES_PER_SAMPLE)
    samples = samples.reshape(-1, _FRAME_SAMPLES * channels)
    squares: list[int] = np.square(samples, dtype=np.int64).mean(axis=1).astype(np.int64).tolist()
    return squares
