"""A table (``.csv``, RFC 4180) for spreadsheets: a row a segment, or a row an item.

It begins with a byte order mark, without which Excel takes UTF-8 for something else. A cell of text that a spreadsheet
would take for a formula has an apostrophe before it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from statistics import fmean

from batchscribe.domain.transcript import Item, ItemKind, Segment, Transcript
from batchscribe.exports.rendering import RenderOptions, display_names

SEGMENT_COLUMNS = ("start", "end", "speaker", "channel", "language", "confidence", "text", "suspect")
WORD_COLUMNS = ("start", "end", "speaker", "channel", "language", "confidence", "text", "kind")

#: What begins a formula (OWASP, "CSV Injection"), also in the wide forms that Japanese spreadsheets take.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def render(transcript: Transcript, options: RenderOptions) -> Iterator[str]:
    """Yield the header, then the rows of a segment at a time."""
    names = display_names(transcript)
    by_word = options.csv_rows == "word"
    yield "\ufeff" + _lines([WORD_COLUMNS if by_word else SEGMENT_COLUMNS])
    for segment in transcript.segments:
        speaker = names.get(segment.speaker_label or "", "")
        channel = names.get(segment.channel_label or "", "")
        language = segment.language_code or transcript.language_code
        if by_word:
            yield _lines([_word_row(item, speaker, channel, item.language_code or language) for item in segment.items])
        elif segment.items:
            yield _lines([_segment_row(segment, speaker, channel, language)])


def _segment_row(segment: Segment, speaker: str, channel: str, language: str) -> tuple[str, ...]:
    known = [item.confidence for item in segment.items if item.confidence is not None]
    confidence = f"{fmean(known):.3f}" if known else ""
    return (
        f"{segment.start:.3f}",
        f"{segment.end:.3f}",
        _harmless(speaker),
        _harmless(channel),
        language,
        confidence,
        _harmless(segment.text),
        segment.suspect or "",
    )


def _word_row(item: Item, speaker: str, channel: str, language: str) -> tuple[str, ...]:
    return (
        f"{item.start:.3f}",
        f"{item.end:.3f}",
        _harmless(speaker),
        _harmless(channel),
        language,
        "" if item.confidence is None else f"{item.confidence:.3f}",
        # A mark alone is no formula, and a hyphen is to be read as one.
        item.content if item.kind is ItemKind.PUNCTUATION and len(item.content) == 1 else _harmless(item.content),
        item.kind.value,
    )


def _harmless(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _lines(rows: Sequence[Sequence[str]]) -> str:
    """Write rows, with line ends as the standard has them."""
    written = io.StringIO(newline="")
    csv.writer(written).writerows(rows)
    return written.getvalue()
