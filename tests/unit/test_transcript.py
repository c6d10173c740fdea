"""The master transcript."""

from __future__ import annotations

from batchscribe.domain.transcript import (
    Fragment,
    Item,
    ItemKind,
    Segment,
    Transcript,
    join_fragments,
    running_text,
    shift_segment,
)


def word(content: str, start: float, *, space_before: bool = True) -> Item:
    """Return a word of a fifth of a second."""
    return Item(
        kind=ItemKind.PRONUNCIATION,
        content=content,
        start=start,
        end=start + 0.2,
        confidence=0.9,
        space_before=space_before,
    )


def mark(content: str, at: float) -> Item:
    """Return a mark of punctuation."""
    return Item(kind=ItemKind.PUNCTUATION, content=content, start=at, end=at, space_before=False)


def segment(*items: Item) -> Segment:
    """Return the segment of these items."""
    return Segment(start=items[0].start, end=items[-1].end, items=items)


def test_running_text_has_spaces_between_words_and_none_before_punctuation() -> None:
    """Text reads as it would be written."""
    assert running_text((word("Hello", 0.0), mark(",", 0.2), word("world", 0.5), mark(".", 0.7))) == "Hello, world."


def test_running_text_of_a_language_without_spaces_has_none() -> None:
    """The engine says where a space stands, and nothing else adds one."""
    items = (word("今日", 0.0, space_before=False), word("は", 0.3, space_before=False), mark("。", 0.5))
    assert running_text(items) == "今日は。"


def test_running_text_of_nothing_is_empty() -> None:
    """Silence has no text."""
    assert running_text(()) == ""
    assert Transcript(language_code="en-US", duration=1.0, segments=()).text == ""


def test_the_text_of_a_transcript_joins_its_segments() -> None:
    """Segments are joined by a space where their first word has one."""
    transcript = Transcript(
        language_code="en-US", duration=2.0, segments=(segment(word("Hello", 0.0)), segment(word("again", 1.0)))
    )
    assert [each.text for each in transcript.segments] == ["Hello", "again"]
    assert transcript.text == "Hello again"


def test_a_shifted_segment_moves_with_all_its_items() -> None:
    """Times are moved together, and nothing else changes."""
    moved = shift_segment(segment(word("Hello", 0.5), mark(".", 0.75)), 100.0)
    assert (moved.start, moved.end) == (100.5, 100.75)
    assert [(item.start, item.end) for item in moved.items] == [(100.5, 100.7), (100.75, 100.75)]
    assert moved.text == "Hello."


def test_fragments_are_joined_in_the_order_of_their_chunks() -> None:
    """It does not matter which chunk was recognised first."""
    first = Fragment(index=0, segments=(segment(word("one", 0.0)), segment(word("two", 1.0))))
    silent = Fragment(index=1, segments=())
    last = Fragment(index=2, segments=(segment(word("three", 200.0)),))
    joined = join_fragments([last, silent, first], language_code="en-GB", duration=201.0)
    assert joined.text == "one two three"
    assert (joined.language_code, joined.duration) == ("en-GB", 201.0)
