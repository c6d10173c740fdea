"""Subtitle layout: a transcript cut into cues that can be read while they are shown."""

# ruff: noqa: RUF001  The punctuation of other scripts looks like ours.
from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from batchscribe.domain.text_width import JOINER, columns, width
from batchscribe.domain.transcript import Item, ItemKind, Segment, is_opening

_SENTENCE_ENDS = frozenset(".!?…。！？．｡؟۔।॥։።")
_CLAUSE_ENDS = frozenset(",;:，、；：､،؛—–")
_CLOSING_CATEGORIES = frozenset({"Pe", "Pf"})
#: What no line of Japanese begins with (JIS X 4051): small kana, and marks that lengthen or repeat what is before them.
_NEVER_FIRST = frozenset("ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶーゝゞヽヾ々")
#: First and last letters of scripts of narrow letters that are written without spaces: Thai, Lao, Burmese and Khmer.
_UNSPACED_SCRIPTS = (("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CueLimits:
    """How large and how long a cue may be."""

    #: Columns of a line: a wide character (Chinese, Japanese, Korean) takes two, a combining mark none, any other one.
    line_columns: int = 42
    #: Lines of a cue: 1 or 2.
    lines: int = 2
    #: Seconds. A cue is shorter than the shortest only where the next one follows at once.
    shortest: float = 1.0
    longest: float = 7.0
    #: Seconds of silence over which no cue reaches.
    pause: float = 1.0
    #: Columns that can be read in a second: a cue stays long enough for that where the next one leaves room.
    columns_per_second: float = 17.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """One subtitle: one or two lines, shown from start to end (seconds, to the millisecond)."""

    start: float
    end: float
    lines: tuple[str, ...]
    #: The name of who speaks, where names were given.
    speaker: str | None = None


class _Break(IntEnum):
    """How good it is to break after a unit."""

    POSSIBLE = 0
    CLAUSE = 1
    SENTENCE = 2


@dataclass(slots=True, kw_only=True)
class _Unit:
    """What is never torn apart: a word with the punctuation that touches it."""

    text: str
    start: float
    end: float
    space_before: bool
    after: _Break = _Break.POSSIBLE
    speaker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A cue that has its place but not yet its end; times in milliseconds."""

    start: int
    end: int
    lines: tuple[str, ...]
    speaker: str | None

    @property
    def columns(self) -> int:
        return sum(map(columns, self.lines))


def lay_out_cues(
    segments: Iterable[Segment],
    limits: CueLimits | None = None,
    *,
    names: Mapping[str, str] | None = None,
    writes_names: bool = False,
) -> Iterator[Cue]:
    """Yield the cues of the segments, in order, never overlapping; every character but spaces is in one of them.

    Cues end at sentence ends, clause ends and pauses where they can. A word too long for a line is cut. ``names`` says
    who a speaker or channel label is: then each cue belongs to one speaker, and with ``writes_names`` the first cue of
    every turn begins with the name and a colon. Where two speak at once, the cues share the time in order, by the
    length of their text.
    """
    limits = limits or CueLimits()
    waiting: _Shown | None = None
    for group in _groups(_units(segments, limits, names or {}, writes_names=writes_names), limits):
        start, end = round(group[0].start * 1000), round(max(unit.end for unit in group) * 1000)
        shown = _Shown(start=max(start, 0), end=end, lines=_lines(group, limits) or (), speaker=group[0].speaker)
        if waiting is not None:
            start = max(shown.start, _shared_until(waiting, shown, limits))
            cue = _timed(waiting, next_start=start, limits=limits)
            yield cue
            shown = replace(shown, start=max(start, round(cue.end * 1000)))
        waiting = shown
    if waiting is not None:
        yield _timed(waiting, next_start=None, limits=limits)


def _shared_until(first: _Shown, second: _Shown, limits: CueLimits) -> int:
    """Return until when the first is shown of two cues whose times overlap; its own start where they do not.

    Their text shares the time out, but each has the shortest time of a cue, or half of theirs where it is too little.
    """
    if second.start >= first.end or second.speaker == first.speaker:
        return first.start
    whole = max(first.end, second.end) - first.start
    share = whole * first.columns // max(1, first.columns + second.columns)
    least = min(round(limits.shortest * 1000), whole // 2)
    return first.start + min(max(share, least), whole - least)


def ends_sentence(text: str) -> bool:
    """Whether the text ends with a mark that ends a sentence, in any script, inside or outside a closing quotation."""
    return _without_closing_marks(text)[-1:] in _SENTENCE_ENDS


def _timed(shown: _Shown, *, next_start: int | None, limits: CueLimits) -> Cue:
    """Make a cue: lengthened to the shortest and to be read where there is room, and never of no length."""
    reading = round(shown.columns / limits.columns_per_second * 1000)
    wanted = max(shown.end, shown.start + round(limits.shortest * 1000), shown.start + reading)
    end = wanted if next_start is None else min(wanted, next_start)
    end = max(min(end, shown.start + round(limits.longest * 1000)), shown.start + 1)
    return Cue(start=shown.start / 1000, end=end / 1000, lines=shown.lines, speaker=shown.speaker)


def _units(
    segments: Iterable[Segment], limits: CueLimits, names: Mapping[str, str], *, writes_names: bool
) -> Iterator[_Unit]:
    """Yield the units of all segments, each narrow enough for a line."""
    last_speaker: str | None = None
    for segment in segments:
        unit: _Unit | None = None
        speaker = names.get(segment.speaker_label or segment.channel_label or "")
        if writes_names and speaker and speaker != last_speaker and segment.items:
            start = segment.items[0].start
            name = _Unit(text=f"{speaker}:", start=start, end=start, space_before=True, speaker=speaker)
            for part in _finished(name, limits):
                part.after = _Break.POSSIBLE
                yield part
        last_speaker = speaker if segment.items else last_speaker
        for item in segment.items:
            text = " ".join(item.content.split())
            if not text:
                continue
            if unit is not None and _belongs_to(unit, item, text):
                unit.text += text
                unit.end = max(unit.end, item.end)
                continue
            if unit is not None:
                yield from _finished(unit, limits)
            unit = _Unit(text=text, start=item.start, end=item.end, space_before=item.space_before, speaker=speaker)
        if unit is not None:
            *parts, last = _finished(unit, limits)
            last.after = max(last.after, _Break.CLAUSE)
            yield from (*parts, last)


def _belongs_to(unit: _Unit, item: Item, text: str) -> bool:
    """Whether the item must stay on one line with the unit before it."""
    if is_opening(unit.text[-1]):
        return not item.space_before
    if item.space_before or is_opening(text[0]):
        return False
    if text[0] in _NEVER_FIRST or unit.text[-1] == JOINER or width(text[0]) == 0:
        return True
    return item.kind is ItemKind.PUNCTUATION or not (_is_unspaced(unit.text[-1]) or _is_unspaced(text[0]))


def _is_unspaced(character: str) -> bool:
    """Whether the character's script is written without spaces, so that a line may break beside it."""
    return columns(character) == 2 or any(first <= character <= last for first, last in _UNSPACED_SCRIPTS)


def _finished(unit: _Unit, limits: CueLimits) -> Iterator[_Unit]:
    """Yield the unit with its break, cut into parts of a line's width where it is wider; time is shared by width."""
    if ends_sentence(unit.text):
        unit.after = _Break.SENTENCE
    elif _without_closing_marks(unit.text)[-1:] in _CLAUSE_ENDS:
        unit.after = _Break.CLAUSE
    whole, seconds, done = columns(unit.text), unit.end - unit.start, 0
    if whole <= limits.line_columns:
        yield unit
        return
    parts = [""]
    for character in unit.text:
        if columns(parts[-1] + character) > limits.line_columns:
            parts.append("")
        parts[-1] += character
    for number, part in enumerate(parts):
        start, done = unit.start + seconds * done / whole, done + columns(part)
        yield _Unit(
            text=part.strip(),
            start=start,
            end=unit.start + seconds * done / whole,
            space_before=unit.space_before and number == 0,
            after=unit.after if number == len(parts) - 1 else _Break.POSSIBLE,
            speaker=unit.speaker,
        )


def _without_closing_marks(text: str) -> str:
    """Return the text without closing quotation marks and brackets at its end."""
    while text and (text[-1] in "\"'" or unicodedata.category(text[-1]) in _CLOSING_CATEGORIES):
        text = text[:-1]
    return text


def _groups(units: Iterable[_Unit], limits: CueLimits) -> Iterator[list[_Unit]]:
    """Yield the units of one cue after another."""
    pending: list[_Unit] = []
    for unit in units:
        if pending and (unit.start - pending[-1].end >= limits.pause or unit.speaker != pending[-1].speaker):
            yield pending
            pending = []
        while pending and not _fits([*pending, unit], limits):
            count = _best_break(pending, limits)
            yield pending[:count]
            pending = pending[count:]
        pending.append(unit)
        if unit.after is _Break.SENTENCE and columns(_text(pending)) >= limits.line_columns // 2:
            yield pending
            pending = []
    if pending:
        yield pending


def _fits(group: list[_Unit], limits: CueLimits) -> bool:
    """Whether the units fit into one cue."""
    return group[-1].end - group[0].start <= limits.longest and _lines(group, limits) is not None


def _best_break(group: list[_Unit], limits: CueLimits) -> int:
    """Return how many units to show first when not all of them and the next fit."""
    worth_showing = limits.line_columns // 3
    best = len(group)
    for count in range(1, len(group) + 1):
        quality, kept = group[count - 1].after, group[best - 1].after
        if quality > _Break.POSSIBLE and quality >= kept and columns(_text(group[:count])) >= worth_showing:
            best = count
    return best


def _lines(group: list[_Unit], limits: CueLimits) -> tuple[str, ...] | None:
    """Write the units as one line or two, or return None where they do not fit."""
    whole = _text(group)
    if columns(whole) <= limits.line_columns:
        return (whole,)
    if limits.lines < 2:
        return None
    best: tuple[int, tuple[str, ...]] | None = None
    for count in range(1, len(group)):
        pair = (_text(group[:count]), _text(group[count:]))
        upper, lower = columns(pair[0]), columns(pair[1])
        if max(upper, lower) > limits.line_columns:
            continue
        cost = abs(upper - lower) - 10 * group[count - 1].after
        if best is None or cost < best[0]:
            best = (cost, pair)
    return None if best is None else best[1]


def _text(group: list[_Unit]) -> str:
    """Write the units as running text."""
    return "".join((" " if unit.space_before else "") + unit.text for unit in group).strip()
