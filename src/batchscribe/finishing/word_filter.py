"""Vocabulary filters: words of a list are masked, removed or tagged, whole and whatever their capitals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from batchscribe.domain.transcript import Item, ItemKind, Segment
from batchscribe.finishing.spans import ItemText, Span, texts_of, with_spans_replaced

#: What AWS writes in the place of a word that is masked.
MASK = "***"

#: Marks that make one word of what stands on both their sides, as AWS's items have it; but a genitive is its word.
_JOINING_MARKS = frozenset("-\u2010\u2011'\u2019.,:@_&+/")
_GENITIVE = re.compile(r"['\u2019]s(?!\w)")

#: First and last letters of scripts that are written without spaces: Thai and Lao, Burmese, Khmer, kana and Han.
_UNSPACED = (
    ("\u0e00", "\u0eff"),
    ("\u1000", "\u109f"),
    ("\u1780", "\u17ff"),
    ("\u3040", "\u30ff"),
    ("\u3400", "\u9fff"),
)


def filtered(segments: tuple[Segment, ...], words: Sequence[str], method: str) -> tuple[Segment, ...]:
    """Return the segments with the words masked (``***``, one for each word or phrase), removed or tagged.

    A word counts only whole: ``sea`` is not found in ``season``, nor ``law`` in ``mother-in-law``, but in ``sea's``; in
    scripts without spaces it is found wherever it stands. Phrases are found across items. A mask has the time of what
    it covers.
    """
    wanted = {_folded(word) for word in words}
    lengths = sorted({len(word) for word in wanted}, reverse=True)

    def rewrite(_span: Span, items: list[Item]) -> list[Item]:
        if method == "remove":
            return []
        if method == "tag":
            return [replace(item, is_filter_match=True) for item in items]
        first, last = items[0], items[-1]
        kind = ItemKind.PRONUNCIATION
        return [replace(first, kind=kind, content=MASK, end=max(first.end, last.end), redaction=None)]

    found = [(text, span) for text in texts_of(segments) for span in _matches(text, wanted, lengths)]
    return with_spans_replaced(segments, found, rewrite)


def _matches(text: ItemText, wanted: set[str], lengths: list[int]) -> Iterator[Span]:
    """Yield where the words stand, the longest of those that begin at one place, none within another."""
    folded = _folded(text.text)
    position = 0
    while position < len(folded):
        length = _match_at(folded, position, wanted, lengths) if _is_edge(folded, position) else 0
        if length:
            yield Span(start=position, end=position + length, kind="word")
        position += max(1, length)


def _match_at(folded: str, position: int, wanted: set[str], lengths: list[int]) -> int:
    for length in lengths:
        end = position + length
        if folded[position:end] in wanted and _is_edge(folded, end):
            return length
    return 0


def _is_edge(text: str, position: int) -> bool:
    """Whether a word may begin or end here."""
    if position in {0, len(text)} or position > len(text):
        return position <= len(text)
    before, after = text[position - 1], text[position]
    if _is_unspaced(before) or _is_unspaced(after):
        return True
    if before.isalnum():
        is_within = _joins(text, position) and not _GENITIVE.match(text, position)
    else:
        is_within = after.isalnum() and _joins(text, position - 1)
    return not (is_within or (before.isalnum() and after.isalnum()))


def _joins(text: str, position: int) -> bool:
    """Whether the mark here makes one word of what stands on both its sides: mother-in-law, 10:30, ann@example.com."""
    around = text[max(0, position - 1) : position + 2]
    return len(around) == 3 and around[0].isalnum() and around[1] in _JOINING_MARKS and around[2].isalnum()


def _is_unspaced(character: str) -> bool:
    return any(first <= character <= last for first, last in _UNSPACED)


def _folded(text: str) -> str:
    """Return the text without the difference of capitals, character for character."""
    return "".join(small if len(small := character.casefold()) == 1 else character for character in text)
