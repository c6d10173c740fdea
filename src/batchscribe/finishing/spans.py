"""The running text of items, and the way back from a stretch of it to the items that it touches."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from batchscribe.domain.transcript import Item, Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of a text by its characters, and what is found there."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class ItemText:
    """Running text over segments in order, as far as one voice goes; every character knows its item."""

    text: str
    #: Where each item's content begins, ascending, and the item's place: segment, item.
    starts: tuple[int, ...]
    places: tuple[tuple[int, int], ...]

    def places_of(self, span: Span) -> tuple[tuple[int, int], ...]:
        """Return the places of the items that a span touches."""
        first = max(0, bisect_right(self.starts, span.start) - 1)
        last = bisect_right(self.starts, span.end - 1)
        return self.places[first:last]


def texts_of(segments: tuple[Segment, ...]) -> list[ItemText]:
    """Return the text of each channel; without channels there is one text.

    What one speaker begins another may finish (a number that is read back), so speakers are not kept apart.
    """
    by_channel: dict[str | None, list[int]] = {}
    for number, segment in enumerate(segments):
        by_channel.setdefault(segment.channel_label, []).append(number)
    return [_text_of(segments, numbers) for numbers in by_channel.values()]


def _text_of(segments: tuple[Segment, ...], numbers: Iterable[int]) -> ItemText:
    pieces: list[str] = []
    starts: list[int] = []
    places: list[tuple[int, int]] = []
    length = 0
    for number in numbers:
        for index, item in enumerate(segments[number].items):
            gap = " " if item.space_before and length else ""
            starts.append(length + len(gap))
            places.append((number, index))
            pieces.append(gap + item.content)
            length += len(gap) + len(item.content)
    return ItemText("".join(pieces), tuple(starts), tuple(places))


def with_spans_replaced(
    segments: tuple[Segment, ...],
    found: Iterable[tuple[ItemText, Span]],
    rewrite: Callable[[Span, list[Item]], list[Item]],
) -> tuple[Segment, ...]:
    """Return the segments with the items of each span rewritten; the new ones stand where the span's first item was.

    An item that an earlier span has touched is that span's. ``rewrite`` is given the span and its items.
    """
    changed: dict[tuple[int, int], list[Item]] = {}
    for text, span in found:
        places = [place for place in text.places_of(span) if place not in changed]
        if not places:
            continue
        items = [segments[number].items[index] for number, index in places]
        changed |= {place: [] for place in places}
        changed[places[0]] = rewrite(span, items)
    if not changed:
        return segments
    touched = {number for number, _ in changed}
    return tuple(
        _with_items(segment, number, changed) if number in touched else segment
        for number, segment in enumerate(segments)
    )


def _with_items(segment: Segment, number: int, changed: dict[tuple[int, int], list[Item]]) -> Segment:
    items: list[Item] = []
    for index, item in enumerate(segment.items):
        items.extend(changed.get((number, index), [item]))
    return replace(segment, items=tuple(items))
