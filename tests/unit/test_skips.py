"""Sentences that were passed over: found by their speech, and put in once."""

from __future__ import annotations

import numpy as np
import pytest

from batchscribe.domain.transcript import Item, ItemKind, running_text
from batchscribe.engines.skips import Skip, find_skips, has_room_for_skips, put_in
from batchscribe.engines.words import TimedText, items_of


def heard(*words: tuple[str, float, float]) -> list[Item]:
    """Return the items of words at these times."""
    return items_of([TimedText(text=f" {text}", start=start, end=end, probability=0.9) for text, start, end in words])


def text_of(items: list[Item]) -> str:
    """Return the running text."""
    return running_text(tuple(items))


#: "stay in" is heard, then nothing until "modern."
WINDOW = heard(("we", 0.0, 0.3), ("stay", 0.3, 0.6), ("in", 0.6, 4.0), ("modern.", 4.0, 4.5))
SKIP = Skip(start=0.6, end=4.0, first_item=2, last_item=3)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        # The word that was known is among those found.
        (heard(("in", 0.6, 0.8), ("the", 0.8, 1.0), ("house", 1.0, 4.0)), "we stay in the house modern."),
        # It was heard a little differently.
        (heard(("inn", 0.6, 0.8), ("the", 0.8, 1.0), ("house", 1.0, 4.0)), "we stay inn the house modern."),
        # Found words begin later, and leave it room.
        (heard(("the", 1.0, 1.2), ("house", 1.2, 3.9)), "we stay in the house modern."),
        # They leave it room behind them only.
        (heard(("the", 0.6, 0.9), ("house", 0.9, 3.0)), "we stay the house in modern."),
        # No room: the stretch, heard by itself, is what was said.
        (heard(("the", 0.6, 0.9), ("house", 0.9, 3.95)), "we stay the house modern."),
        # Words of the neighbours are heard once more.
        (
            heard(("stay", 0.6, 0.7), ("in", 0.7, 0.8), ("the", 0.8, 1.0), ("house", 1.0, 3.5), ("modern", 3.5, 4.0)),
            "we stay in the house modern.",
        ),
        # Nothing new is found.
        (heard(("in", 0.6, 0.8)), "we stay in modern."),
        ([], "we stay in modern."),
    ],
)
def test_what_was_found_is_put_in_once(found: list[Item], text: str) -> None:
    """Neither the word that was known nor its neighbours are said twice, and none is lost."""
    assert text_of(put_in(WINDOW, SKIP, found)) == text


def test_a_stretch_at_the_windows_end_takes_what_follows() -> None:
    """Behind the last word there are no neighbours."""
    items = heard(("we", 0.0, 0.3), ("stay", 0.3, 4.0))
    skip = Skip(start=0.3, end=4.0, first_item=1, last_item=2)
    assert text_of(put_in(items, skip, heard(("stay", 0.3, 0.6), ("home.", 0.6, 1.0)))) == "we stay home."


def test_speech_before_the_first_word_and_behind_the_last_is_looked_at_too() -> None:
    """A sentence may be passed over at either edge of a window."""
    spoken = np.full(200, 0.9, dtype=np.float32)
    early, late = heard(("go", 3.0, 3.3)), heard(("go", 0.0, 0.3))
    for items in (early, late):
        assert has_room_for_skips(items, 3.4)
        assert len(find_skips(items, spoken, 3.4)) == 1


def test_items_are_of_words_and_marks() -> None:
    """What is put in keeps its marks."""
    found = heard(("in", 0.6, 0.8), ("there,", 0.8, 4.0))
    marks = [item.content for item in put_in(WINDOW, SKIP, found) if item.kind is ItemKind.PUNCTUATION]
    assert marks == [",", "."]
