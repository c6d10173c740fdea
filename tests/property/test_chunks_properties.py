"""Laws of the cut, for any levels."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from strategies import PATIENT

from batchscribe.domain.chunks import FRAME_SECONDS, ChunkLimits, best_cut, quietest_cut


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[int], ChunkLimits]:
    """Return limits, and the levels of a chunk of the longest length."""
    shortest, more = draw(st.integers(1, 40)), draw(st.integers(1, 60))
    limits = ChunkLimits(
        shortest=shortest * FRAME_SECONDS,
        longest=(shortest + more) * FRAME_SECONDS,
        pause=draw(st.integers(1, 80)) * FRAME_SECONDS,
    )
    frames = shortest + more
    return draw(st.lists(st.integers(0, 9), min_size=frames, max_size=frames)), limits


@PATIENT
@given(drawn=cuts())
def test_the_cut_is_always_within_the_limits(drawn: tuple[list[int], ChunkLimits]) -> None:
    """A chunk is never empty, too short, or longer than its audio."""
    levels, limits = drawn
    for cut in (best_cut(levels, limits), quietest_cut(levels, limits)):
        assert round(limits.shortest / FRAME_SECONDS) <= cut <= round(limits.longest / FRAME_SECONDS)


@PATIENT
@given(drawn=cuts())
def test_no_stretch_within_the_limits_is_quieter_than_the_one_that_is_cut(
    drawn: tuple[list[int], ChunkLimits],
) -> None:
    """The cut lies in the middle of the quietest stretch, the latest among equals."""
    levels, limits = drawn
    first = round(limits.shortest / FRAME_SECONDS)
    width = min(round(limits.pause / FRAME_SECONDS), len(levels) - first)
    quietest = min(sum(levels[start : start + width]) for start in range(first, len(levels) - width + 1))
    latest = max(
        start for start in range(first, len(levels) - width + 1) if sum(levels[start : start + width]) == quietest
    )
    assert quietest_cut(levels, limits) == latest + width // 2


@PATIENT
@given(drawn=cuts(), words=st.data())
def test_no_word_is_cut_where_there_is_a_pause(drawn: tuple[list[int], ChunkLimits], words: st.DataObject) -> None:
    """Wherever a long enough silence begins within the limits, the cut lies in silence."""
    levels, limits = drawn
    first, width = round(limits.shortest / FRAME_SECONDS), max(1, round(limits.pause / FRAME_SECONDS / 2))
    levels = [1_000 + level for level in levels]
    if len(levels) - first >= width:
        start = words.draw(st.integers(first, len(levels) - width))
        levels[start : start + width] = [0] * width
        assert start <= best_cut(levels, limits) <= start + width
