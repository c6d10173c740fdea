"""Where a recording is cut."""

from __future__ import annotations

from batchscribe.domain.chunks import FRAME_SECONDS, ChunkLimits, quietest_cut

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
    assert quietest_cut(loud_but((120.0, 120.4)), LIMITS) * FRAME_SECONDS == 120.2


def test_a_pause_before_the_shortest_length_is_passed_over() -> None:
    """A chunk is never shorter than the limit, however quiet the audio before it."""
    cut = quietest_cut(loud_but((10.0, 89.0), (100.0, 100.4)), LIMITS)
    assert cut * FRAME_SECONDS == 100.2


def test_the_latest_of_equal_pauses_wins() -> None:
    """Chunks are as long as they can be."""
    assert quietest_cut(loud_but((95.0, 96.0), (140.0, 141.0)), LIMITS) * FRAME_SECONDS == 140.8


def test_the_quieter_pause_wins_over_the_later_one() -> None:
    """Depth of silence counts before length of chunk."""
    levels = loud_but((140.0, 141.0), level=5)
    levels[round(100 / FRAME_SECONDS) : round(101 / FRAME_SECONDS)] = [0] * round(1 / FRAME_SECONDS)
    assert 100.0 < quietest_cut(levels, LIMITS) * FRAME_SECONDS < 101.0


def test_steady_sound_is_cut_near_the_longest_length() -> None:
    """Where no moment is quieter than another, the chunk is long."""
    cut_seconds = quietest_cut([7] * FRAMES, LIMITS) * FRAME_SECONDS
    assert LIMITS.longest - LIMITS.pause <= cut_seconds <= LIMITS.longest
