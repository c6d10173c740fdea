"""Loops are cut, and what people do say again is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscribe.engines.loops import without_loops


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([1, *[7] * 30, 2], [1, 7, 2]),
        ([1, *[7, 8] * 12, 7], [1, 7, 8]),
        ([1, 2, *[3, 4, 5, 6, 7] * 3, 3, 4], [1, 2, 3, 4, 5, 6, 7]),
        ([7, 7, 7, 7], [7, 7, 7, 7]),
        ([1, 2, 3, 1, 2, 3], [1, 2, 3, 1, 2, 3]),
        ([], []),
    ],
)
def test_a_phrase_that_loops_is_kept_once(tokens: list[int], kept: list[int]) -> None:
    """Whatever its length, wherever it stands, and where the search was cut off within it."""
    assert without_loops(tokens) == kept


@given(st.lists(st.integers(0, 3), max_size=60))
def test_cutting_only_leaves_out(tokens: list[int]) -> None:
    """What is kept is there in the same order, and nothing that was said is lost altogether."""
    kept = without_loops(tokens)
    rest = iter(tokens)
    assert all(token in rest for token in kept)
    assert set(kept) == set(tokens)
