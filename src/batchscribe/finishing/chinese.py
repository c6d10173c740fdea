"""Chinese in the script that its language code asks for; Whisper writes now one, now the other."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from batchscribe.domain.transcript import Alternatives, Item, Segment

if TYPE_CHECKING:
    from opencc import OpenCC

#: OpenCC's conversions. Those to Traditional take the text to Simplified first, so that mixed text comes out whole.
_CONVERSIONS = {
    "zh-CN": ("tw2s",),
    "zh-TW": ("tw2s", "s2tw"),
    "zh-HK": ("tw2s", "s2hk"),
}


def in_script_of(language_code: str, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """Return the segments in the script of the code: Simplified for zh-CN, Traditional for zh-TW and zh-HK.

    A bare ``zh``, and any other language, stays as it is. A segment or an item with a language of its own is converted
    by that.
    """
    return tuple(_converted(segment, segment.language_code or language_code) for segment in segments)


def alternatives_in_script_of(language_code: str, alternatives: tuple[Alternatives, ...]) -> tuple[Alternatives, ...]:
    """Return the readings of each stretch in the script of the code."""
    return tuple(
        replace(
            each,
            readings=tuple(
                replace(reading, items=_items_converted(reading.items, language_code)) for reading in each.readings
            ),
        )
        for each in alternatives
    )


def _converted(segment: Segment, language_code: str) -> Segment:
    items = _items_converted(segment.items, language_code)
    return segment if items is segment.items else replace(segment, items=items)


def _items_converted(items: tuple[Item, ...], language_code: str) -> tuple[Item, ...]:
    if language_code not in _CONVERSIONS:
        return items
    whole = "".join(item.content for item in items)
    converted = _convert(whole, language_code)
    return items if converted == whole else tuple(_shared_out(items, converted, language_code))


def _shared_out(items: tuple[Item, ...], converted: str, language_code: str) -> list[Item]:
    """Give each item its stretch of the converted text; where lengths differ, each is converted by itself.

    The whole is converted at once because the right character follows from its neighbours.
    """
    if len(converted) != sum(len(item.content) for item in items):
        return [replace(item, content=_convert(item.content, language_code)) for item in items]
    result, start = [], 0
    for item in items:
        end = start + len(item.content)
        result.append(replace(item, content=converted[start:end]))
        start = end
    return result


def _convert(text: str, language_code: str) -> str:
    for name in _CONVERSIONS[language_code]:
        text = _converter(name).convert(text)
    return text


@cache
def _converter(name: str) -> OpenCC:
    """Load a conversion's tables, once."""
    from opencc import OpenCC

    return OpenCC(name)
