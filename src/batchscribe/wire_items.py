"""The JSON shape of a transcript's items, and of the readings that are made of them.

An item is a word, or with ``kind`` a mark of punctuation::

    {"content": "Hello", "start": 0.31, "end": 0.62, "confidence": 0.9814}
    {"kind": "punctuation", "content": ",", "start": 0.62, "end": 0.62}

To keep transcripts small, an item leaves out what is usual: ``kind`` for a word, ``confidence`` where there is none,
and ``space_before`` where a word has a space before it or a mark of punctuation has none. ``language_code``,
``redaction`` and ``is_filter_match`` stand only where there is something to say.

The readings of a stretch, where an engine gave several, the likeliest first::

    {"start": 0.31, "end": 2.08, "readings": [{"items": [ITEM, ...]}, ...]}

Times are seconds to the millisecond; a confidence has four digits after the point, as many as AWS gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchscribe.domain.transcript import Alternatives, Item, ItemKind, Reading

_DIGITS, _CONFIDENCE_DIGITS = 3, 4


def given(**values: str | float | None) -> dict[str, Any]:
    """Return what is not None."""
    return {name: value for name, value in values.items() if value is not None}


def item_to_json(item: Item) -> dict[str, Any]:
    """Return one item, without what is usual for its kind."""
    data: dict[str, Any] = {} if item.kind is ItemKind.PRONUNCIATION else {"kind": item.kind.value}
    data |= {"content": item.content, "start": round(item.start, _DIGITS), "end": round(item.end, _DIGITS)}
    if item.confidence is not None:
        data["confidence"] = round(item.confidence, _CONFIDENCE_DIGITS)
    if item.space_before is not _usual_space_before(item.kind):
        data["space_before"] = item.space_before
    if item.is_filter_match:
        data["is_filter_match"] = True
    return data | given(language_code=item.language_code, redaction=item.redaction)


def item_from_json(data: Mapping[str, Any]) -> Item:
    """Return one item, with what is usual for its kind filled in."""
    kind = ItemKind(data.get("kind", ItemKind.PRONUNCIATION.value))
    confidence = data.get("confidence")
    return Item(
        kind=kind,
        content=data["content"],
        start=float(data["start"]),
        end=float(data["end"]),
        confidence=None if confidence is None else float(confidence),
        space_before=bool(data.get("space_before", _usual_space_before(kind))),
        language_code=data.get("language_code"),
        redaction=data.get("redaction"),
        is_filter_match=bool(data.get("is_filter_match", False)),
    )


def _usual_space_before(kind: ItemKind) -> bool:
    """Whether an item of this kind usually has a space before it."""
    return kind is ItemKind.PRONUNCIATION


def alternatives_to_json(alternatives: Alternatives) -> dict[str, Any]:
    """Return the readings of a stretch as values that :mod:`json` can write."""
    return {
        "start": round(alternatives.start, _DIGITS),
        "end": round(alternatives.end, _DIGITS),
        "readings": [{"items": [item_to_json(item) for item in each.items]} for each in alternatives.readings],
    }


def alternatives_from_json(data: Mapping[str, Any]) -> Alternatives:
    """Return what :func:`alternatives_to_json` wrote. Raises KeyError where a field is missing."""
    return Alternatives(
        start=float(data["start"]),
        end=float(data["end"]),
        readings=tuple(
            Reading(items=tuple(item_from_json(item) for item in each["items"])) for each in data["readings"]
        ),
    )
