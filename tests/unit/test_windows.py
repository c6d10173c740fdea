"""Where a chunk is cut into windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from batchscribe.engines.voice_activity import FRAME_SAMPLES, FRAME_SECONDS, VoiceActivity, even_loudness
from batchscribe.engines.windows import BUCKETS, WindowLimits, bucket_for, cut_windows

LIMITS = WindowLimits(longest=20.0, wanted=12.0)


def speech(*stretches: tuple[float, float]) -> NDArray[np.float32]:
    """Return frame probabilities for stretches of (seconds, probability)."""
    parts = [np.full(round(seconds / FRAME_SECONDS), probability) for seconds, probability in stretches]
    return np.concatenate(parts).astype(np.float32)


def test_silence_gives_no_window() -> None:
    """Frames without speech belong to no window."""
    assert cut_windows(speech((30, 0.01)), 30 * 16_000, LIMITS) == []


def test_sound_that_is_never_surely_speech_gives_no_window() -> None:
    """Music raises the probability a little, never far."""
    assert cut_windows(speech((5, 0.01), (4, 0.4), (5, 0.01)), 14 * 16_000, LIMITS) == []


def test_long_silence_is_left_out_and_a_little_of_it_kept_at_the_edges() -> None:
    """Speech before and after ten silent seconds is two windows with 0.4 s around each."""
    probabilities = speech((3, 0.9), (10, 0.01), (3, 0.9))
    first, second = cut_windows(probabilities, len(probabilities) * FRAME_SAMPLES, LIMITS)
    assert first.start == 0
    assert first.end / 16_000 == pytest.approx(3.4, abs=0.05)
    assert second.start / 16_000 == pytest.approx(12.6, abs=0.05)


def test_long_speech_is_cut_in_its_longest_pauses() -> None:
    """Fifty seconds with one good pause every fifteen are cut exactly there."""
    sentence, pause = (14.2, 0.95), (0.8, 0.02)
    probabilities = speech(sentence, pause, sentence, pause, sentence)
    windows = cut_windows(probabilities, len(probabilities) * FRAME_SAMPLES, LIMITS)
    assert [each.end / 16_000 for each in windows[:2]] == pytest.approx([14.6, 29.6], abs=0.15)


def test_speech_without_any_pause_is_cut_all_the_same() -> None:
    """A minute of speech without a breath still fits the model."""
    probabilities = speech((60, 0.99))
    windows = cut_windows(probabilities, len(probabilities) * FRAME_SAMPLES, LIMITS)
    assert max(each.end - each.start for each in windows) <= 20 * 16_000
    assert min(each.end - each.start for each in windows) >= 10 * 16_000


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 12), st.floats(0, 1)), min_size=1, max_size=10))
def test_windows_come_in_order_without_overlap_and_cover_all_sure_speech(stretches: list[tuple[float, float]]) -> None:
    """Whatever the probabilities, no frame of sure speech is lost and no sample belongs to two windows."""
    probabilities = speech((0.1, 0.0), *stretches)
    samples = len(probabilities) * FRAME_SAMPLES - 100
    windows = cut_windows(probabilities, samples, LIMITS)
    edges = [edge for each in windows for edge in (each.start, each.end)]
    assert edges == sorted(edges)
    assert all(each.end > each.start and each.bucket == bucket_for(each.end - each.start) for each in windows)
    assert all(each.end <= samples for each in windows)
    covered = np.zeros(len(probabilities) * FRAME_SAMPLES, dtype=bool)
    for each in windows:
        covered[each.start : each.end] = True
    sure = np.repeat(probabilities >= 0.6, FRAME_SAMPLES)[:samples]
    assert covered[:samples][sure].all()


def test_a_bucket_leaves_room_for_a_second_of_silence() -> None:
    """A window never fills its bucket, for then the model loops."""
    for samples in range(1, 29 * 16_000, 4_321):
        bucket = bucket_for(samples)
        assert bucket in BUCKETS
        assert bucket - samples / 16_000 >= 1.0


def test_a_window_that_fits_no_bucket_is_refused() -> None:
    """Thirty seconds of speech leave no room for the pad."""
    with pytest.raises(ValueError, match="longer than any bucket"):
        bucket_for(30 * 16_000)


def test_probabilities_cover_every_sample_and_silence_is_not_speech() -> None:
    """A chunk of any length gets a probability for each of its frames, empty ones too."""
    model = VoiceActivity()
    assert model.probabilities(np.zeros(0, dtype=np.int16)).shape == (0,)
    assert model.probabilities(np.zeros(1, dtype=np.int16)).shape == (1,)
    assert model.probabilities(np.zeros(16_000, dtype=np.int16)).max() < 0.2


def test_quiet_blocks_are_raised_and_loud_ones_left_alone() -> None:
    """Loudness is evened out in blocks of ten seconds."""
    tone = np.sin(np.arange(160_000) / 5)
    pcm = np.concatenate([tone * 200, tone * 30_000, tone * 0]).astype(np.int16)
    audio = even_loudness(pcm)
    assert np.abs(audio[:160_000]).max() == pytest.approx(0.6, rel=0.05)
    assert np.abs(audio[160_000:320_000]).max() == pytest.approx(30_000 / 32_768, rel=0.01)
    assert not audio[320_000:].any()
