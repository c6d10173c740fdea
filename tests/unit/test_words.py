"""From timed pieces of text to words, marks and segments."""

from __future__ import annotations

import numpy as np
import pytest

from batchscribe.domain.transcript import ItemKind, Quality, running_text
from batchscribe.engines.skips import find_skips, has_room_for_skips
from batchscribe.engines.words import TimedText, items_of, moved, segments_of, within

SIGNS = Quality(average_log_probability=-0.2, compression_ratio=1.2, no_speech_probability=0.0)


def pieces(*texts: str) -> list[TimedText]:
    """Return pieces of half a second each, as the tokenizer would give them."""
    return [
        TimedText(text=text, start=number / 2, end=(number + 1) / 2, probability=0.9)
        for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([" And", " so", ",", " my", " fellow", " Americans", "."], ["And", "so", "my", "fellow", "Americans"]),
        ([" It's", " 3", ".5", " today", "!"], ["It's", "3.5", "today"]),
        ([" the", " U", ".S", ".", " army"], ["the", "U.S", "army"]),
        ([" twenty", "-one", " 5%", "?"], ["twenty-one", "5%"]),
        (["東京", "は", "晴れ", "でした", "。"], ["東京", "は", "晴れ", "でした"]),
        ([" ¿Cuál", " es", "?"], ["Cuál", "es"]),
        ([' "Tear', " down", '"', " he", " said"], ["Tear", "down", "he", "said"]),
    ],
)
def test_words_and_marks_are_apart_and_the_running_text_is_whole(texts: list[str], words: list[str]) -> None:
    """Items written out again are exactly the text that the model gave."""
    items = items_of(pieces(*texts))
    assert running_text(tuple(items)) == "".join(texts).strip()
    spoken = [item.content for item in items if item.kind is ItemKind.PRONUNCIATION]
    assert spoken == words


def test_marks_have_no_confidence_and_stand_where_their_word_ends() -> None:
    """A mark of punctuation is not said, so it takes no time."""
    items = within(items_of(pieces(" Yes", ".", " No", "!")), 2.0)
    marks = [item for item in items if item.kind is ItemKind.PUNCTUATION]
    assert [(mark.start, mark.end, mark.confidence) for mark in marks] == [(0.5, 0.5, None), (1.5, 1.5, None)]


def test_times_never_run_backwards_nor_out_of_the_window() -> None:
    """An alignment that overlaps itself is brought into order."""
    wild = [
        TimedText(text=" a", start=0.0, end=3.0, probability=1.0),
        TimedText(text=" b", start=1.0, end=2.0, probability=1.0),
        TimedText(text=" c", start=5.0, end=9.0, probability=1.0),
    ]
    items = within(items_of(wild), 4.0)
    times = [time for item in items for time in (item.start, item.end)]
    assert times == sorted(times)
    assert times[-1] <= 4.0


def test_segments_end_with_sentences_but_not_at_abbreviations() -> None:
    """Mister's full stop, and one inside a sentence, end nothing."""
    items = items_of(pieces(" Mr", ".", " Bell", " came", ".", " Good", "?", " the", " end"))
    texts = [segment.text for segment in segments_of(items, SIGNS)]
    assert texts == ["Mr. Bell came.", "Good? the end"]


def test_an_opening_mark_begins_the_segment_of_its_word() -> None:
    """Spanish questions begin with a mark, which the sentence before has nothing to do with."""
    items = items_of(pieces(" ¿Quién", " es", "?", " ¿Quién", " eres", "?"))
    first, second = segments_of(items, SIGNS)
    assert (first.text, second.text) == ("¿Quién es?", "¿Quién eres?")
    assert second.start == second.items[0].start == second.items[1].start == 1.5


def test_a_long_pause_ends_a_segment() -> None:
    """Subtitles do not stand through silence."""
    before, after = items_of(pieces(" one")), moved(items_of(pieces(" two")), 3.0)
    first, second = segments_of([*before, *after], SIGNS)
    assert (first.start, first.end, second.start) == (0.0, 0.5, 3.0)
    assert first.quality == SIGNS


def test_a_sentence_that_was_passed_over_is_found_by_its_speech() -> None:
    """One short word over three seconds of speech cannot be all."""
    items = items_of(
        [
            TimedText(text=" stay", start=0.0, end=0.5, probability=0.9),
            TimedText(text=" in", start=0.5, end=3.5, probability=0.9),
            TimedText(text=" modern", start=3.5, end=4.0, probability=0.9),
        ]
    )
    spoken = np.full(125, 0.9, dtype=np.float32)
    assert has_room_for_skips(items, 4.0)
    (skip,) = find_skips(items, spoken, 4.0)
    assert (skip.start, skip.end, skip.first_item, skip.last_item) == (0.5, 3.5, 1, 2)


def test_a_pause_within_a_word_is_no_skip() -> None:
    """The same stretch without speech is only silence."""
    items = items_of([TimedText(text=" in", start=0.0, end=3.5, probability=0.9)])
    assert find_skips(items, np.full(125, 0.05, dtype=np.float32), 4.0) == []


def test_a_number_may_last_long() -> None:
    """Four digits are many words."""
    items = items_of([TimedText(text=" 1462", start=0.0, end=1.8, probability=0.9)])
    assert not has_room_for_skips(items, 1.8)
