"""Where a recording is cut."""

from __future__ import annotations

import pytest

from batchscribe.domain.chunks import FRAME_SECONDS, ChunkLimits, best_cut

LIMITS = ChunkLimits()
FRAMES = round(LIMITS.longest / FRAME_SECONDS)


def loud_but(*pauses: tuple[float, float], level: int = 0) -> list[int]:
    """Return the levels of the longest chunk: loud, but at this level between these seconds."""
    levels = [1000] * FRAMES
    for start, end in pauses:
        first, last = round(start / FRAME_SECONDS), round(end / FRAME_SECONDS)
        levels[first:last] = [level] * (last - first)
    return levels


def test_the_cut_lies_in_the_middle_of_the_pause() -> None:
    """A word is never cut where there is a pause to cut in."""
    assert best_cut(loud_but((120.0, 120.4)), LIMITS) * FRAME_SECONDS == 120.2


def test_a_pause_before_the_shortest_length_is_passed_over() -> None:
    """A chunk is never shorter than the limit, however quiet the audio before it."""
    cut = best_cut(loud_but((10.0, 89.0), (100.0, 100.4)), LIMITS)
    assert cut * FRAME_SECONDS == 100.2


def test_the_latest_of_equal_pauses_wins() -> None:
    """Chunks are as long as they can be."""
    assert best_cut(loud_but((95.0, 96.0), (140.0, 141.0)), LIMITS) * FRAME_SECONDS == 140.5


def test_the_longer_pause_wins_over_the_later_one() -> None:
    """Silence on both sides counts before length of chunk."""
    cut = best_cut(loud_but((100.0, 101.2), (140.0, 140.6), level=2), LIMITS)
    assert cut * FRAME_SECONDS == pytest.approx(100.6)


def test_a_pause_longer_than_any_word_needs_is_no_better() -> None:
    """Of two long pauses the later wins, and a silence of a minute is cut near its end."""
    cut = best_cut(loud_but((95.0, 105.0), (120.0, 123.0)), LIMITS)
    assert cut * FRAME_SECONDS == pytest.approx(123.0 - LIMITS.long_pause / 2)
    cut = best_cut(loud_but((95.0, 145.0)), LIMITS)
    assert cut * FRAME_SECONDS == pytest.approx(145.0 - LIMITS.long_pause / 2)


def test_a_soft_speaker_is_no_pause() -> None:
    """Somebody who speaks at a tenth of the loudness of the one before is not taken for silence."""
    levels = loud_but((100.0, 150.0), level=10)
    levels[round(130 / FRAME_SECONDS) : round(130.5 / FRAME_SECONDS)] = [0] * round(0.5 / FRAME_SECONDS)
    assert 130.0 < best_cut(levels, LIMITS) * FRAME_SECONDS < 130.5


def test_pauses_are_found_above_noise() -> None:
    """Where nothing is silent, what is near the quietest is a pause."""
    cut = best_cut(loud_but((10.0, 30.0), (110.0, 111.0), level=25), LIMITS)
    assert cut * FRAME_SECONDS == pytest.approx(110.5)


def test_steady_sound_is_cut_near_the_longest_length() -> None:
    """Where no moment is quieter than another, the chunk is long."""
    cut_seconds = best_cut([7] * FRAMES, LIMITS) * FRAME_SECONDS
    assert LIMITS.longest - LIMITS.pause <= cut_seconds <= LIMITS.longest
