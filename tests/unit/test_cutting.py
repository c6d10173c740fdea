"""Cutting a recording into chunks while it is decoded."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscribe.domain.chunks import ChunkLimits
from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ
from batchscribe.workflow.cutting import cut

SECOND_BYTES = SAMPLE_RATE_HERTZ * BYTES_PER_SAMPLE
#: Short, so that a test needs little audio.
LIMITS = ChunkLimits(shortest=0.9, longest=1.5, pause=0.1, long_pause=0.2)


def noise(seconds: float, *, seed: int = 1) -> bytes:
    """Return noise in which no stretch is as quiet as another."""
    samples = np.random.default_rng(seed).integers(-8000, 8000, round(seconds * SAMPLE_RATE_HERTZ))
    return samples.astype("<i2").tobytes()


def blocks_of(pcm: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    """Hand out PCM in blocks of these many samples."""
    position = 0
    while position < len(pcm):
        size = next(sizes) * BYTES_PER_SAMPLE
        yield pcm[position : position + size]
        position += size


@settings(max_examples=50, deadline=None)
@given(seconds=st.floats(0.0, 8.0), seed=st.integers(0, 2**32 - 1), longest_block=st.integers(1, 40_000))
def test_the_same_samples_are_cut_at_the_same_places_whatever_the_blocks(
    seconds: float, seed: int, longest_block: int
) -> None:
    """A plan that was interrupted can be made again: chunks are the recording, byte for byte, wherever blocks end."""
    pcm = noise(seconds, seed=seed)
    in_one = list(cut([pcm], LIMITS))
    sizes = random.Random(seed)  # noqa: S311 - sizes of blocks
    in_many = list(cut(blocks_of(pcm, iter(lambda: sizes.randint(1, longest_block), 0)), LIMITS))
    assert in_many == in_one
    assert b"".join(in_one) == pcm
    assert all(in_one)
    for chunk in in_one[:-1]:
        assert LIMITS.shortest <= len(chunk) / SECOND_BYTES <= LIMITS.longest
    assert all(len(chunk) <= LIMITS.longest * SECOND_BYTES for chunk in in_one)


def test_the_cut_lies_in_the_pause() -> None:
    """Where there is silence between the shortest and the longest length, no word is cut."""
    pause_start, pause_end = 1.2, 1.3
    pcm = noise(pause_start) + bytes(round((pause_end - pause_start) * SECOND_BYTES)) + noise(1.0)
    first, _ = cut([pcm], LIMITS)
    assert pause_start <= len(first) / SECOND_BYTES <= pause_end


def test_silence_is_cut_as_late_as_possible() -> None:
    """Where everything is equally quiet chunks are long."""
    first, *_ = cut([bytes(round(3 * SECOND_BYTES))], LIMITS)
    assert len(first) / SECOND_BYTES == pytest.approx(LIMITS.longest - LIMITS.long_pause / 2, abs=0.03)


def test_full_scale_samples_do_not_overflow() -> None:
    """The loudest sample there is is louder than any other."""
    loud = np.full(SAMPLE_RATE_HERTZ, -32768, dtype="<i2").tobytes()
    quiet = noise(0.3)
    first, _ = cut([loud + quiet + loud], LIMITS)
    assert 1.0 <= len(first) / SECOND_BYTES <= 1.3


@pytest.mark.parametrize("samples", [0, 1, SAMPLE_RATE_HERTZ * 150])
def test_a_recording_up_to_the_longest_length_is_one_chunk_at_most(samples: int) -> None:
    """Nothing gives nothing, and exactly the longest length is not cut."""
    chunks = list(cut([bytes(samples * BYTES_PER_SAMPLE)]))
    assert [len(chunk) for chunk in chunks] == ([samples * BYTES_PER_SAMPLE] if samples else [])


def test_memory_does_not_grow_with_the_recording() -> None:
    """An hour takes no more memory than a few chunks do."""
    block = bytes(1 << 20)
    tracemalloc.start()
    try:
        for _ in cut(itertools.repeat(block, 110)):
            pass
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    longest_bytes = ChunkLimits().longest * SECOND_BYTES
    # The buffer, one chunk handed out, and the levels, whose squares are four times the chunk's size.
    assert peak_bytes < 8 * longest_bytes
