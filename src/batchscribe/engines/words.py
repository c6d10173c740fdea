"""From Whisper's tokens and their alignment to segments of timed words and punctuation."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace

from batchscribe.domain.transcript import Item, ItemKind, Quality, Segment, is_opening, take_openings

#: Marks of the Unicode punctuation category that are said, or that belong to the word they stand at.
_WORD_MARKS = frozenset("%&@#*/\\'\u2019_+")
#: Marks that join what stands on both sides into one word: 3.5, U.S., 10:30, twenty-one (with any of three hyphens).
_INNER_MARKS = frozenset(".,:-\u2010\u2011")
#: Western marks and the ellipsis; the full stop of Chinese and Japanese and their wide marks; danda; Arabic's mark.
_SENTENCE_ENDS = frozenset(".?!\u2026\u3002\uff1f\uff01\u0964\u061f")
_ABBREVIATIONS = frozenset({"mr", "mrs", "ms", "dr", "st", "jr", "sr", "prof", "vs", "etc", "no"})
#: A pause in seconds that always ends a segment.
_LONG_PAUSE_SECONDS = 1.0
#: From this length in seconds on, a segment also ends at a comma or a short pause.
_LONG_SEGMENT_SECONDS = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedText:
    """A piece of text as the tokenizer splits it, with its leading space, and when it was said (seconds)."""

    text: str
    start: float
    end: float
    probability: float


def items_of(pieces: list[TimedText]) -> list[Item]:
    """Split pieces into words and marks of punctuation, so that the items' running text is the pieces' text."""
    items: list[Item] = []
    for piece in pieces:
        content = piece.text.strip()
        if not content:
            continue
        space_before = piece.text[0].isspace()
        head, core, tail = _split(content)
        if core and head in _INNER_MARKS and not space_before and items and items[-1].kind is ItemKind.PRONUNCIATION:
            before = items.pop()
            confidence = min(before.confidence or 0.0, piece.probability)
            items.append(replace(before, content=before.content + head + core, end=piece.end, confidence=confidence))
        else:
            for mark in head:
                items.append(_mark(mark, items[-1].end if items else piece.start, space_before=space_before))
                space_before = False
            if core:
                items.append(
                    Item(
                        kind=ItemKind.PRONUNCIATION,
                        content=core,
                        start=piece.start,
                        end=piece.end,
                        confidence=piece.probability,
                        space_before=space_before,
                    )
                )
        items.extend(_mark(mark, items[-1].end, space_before=False) for mark in tail)
    return items


def _split(content: str) -> tuple[str, str, str]:
    """Split a piece into the marks before its word, the word, and the marks after it."""
    start, end = 0, len(content)
    while start < end and _is_mark(content[start]):
        start += 1
    while end > start and _is_mark(content[end - 1]):
        end -= 1
    return content[:start], content[start:end], content[end:]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("P") and character not in _WORD_MARKS


def _mark(content: str, time: float, *, space_before: bool) -> Item:
    return Item(kind=ItemKind.PUNCTUATION, content=content, start=time, end=time, space_before=space_before)


def segments_of(items: list[Item], quality: Quality) -> list[Segment]:
    """Group a window's items into segments: at sentence ends and long pauses, sooner where a segment grows long."""
    groups: list[list[Item]] = []
    for item in items:
        if not groups or (item.kind is ItemKind.PRONUNCIATION and _is_boundary(groups[-1], item)):
            groups.append(take_openings(groups[-1], item) if groups else [])
        groups[-1].append(item)
    return [
        Segment(start=group[0].start, end=max(item.end for item in group), items=tuple(group), quality=quality)
        for group in groups
    ]


def _is_boundary(group: list[Item], following: Item) -> bool:
    """Whether a segment ends before the next word."""
    last_word = next((item for item in reversed(group) if item.kind is ItemKind.PRONUNCIATION), None)
    if last_word is None:
        return False
    # Marks that belong to the next word say nothing of how this one ends.
    last = next(item for item in reversed(group) if item is last_word or not is_opening(item.content[-1]))
    mark = "" if last is last_word else last.content
    pause = following.start - last_word.end
    if pause >= _LONG_PAUSE_SECONDS:
        return True
    if mark in _SENTENCE_ENDS:
        return last_word.content.lower() not in _ABBREVIATIONS and not following.content[0].islower()
    return last_word.end - group[0].start >= _LONG_SEGMENT_SECONDS and (bool(mark) or pause >= 0.3)


def moved(items: list[Item], seconds: float) -> list[Item]:
    """Move items later by this many seconds."""
    return [replace(item, start=item.start + seconds, end=item.end + seconds) for item in items]


def within(items: list[Item], duration: float) -> list[Item]:
    """Bring times into order and into the window, 0 to ``duration`` seconds; marks stand where their word ends."""
    floor, result = 0.0, []
    for item in items:
        start = min(max(item.start, floor), duration)
        end = min(max(item.end, start), duration)
        if item.kind is ItemKind.PUNCTUATION:
            start = end = floor
        floor = end
        result.append(replace(item, start=start, end=end))
    return result
