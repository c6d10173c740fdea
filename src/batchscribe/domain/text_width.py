"""How wide text is where it is shown in a typeface of fixed width: subtitles are measured in columns."""

from __future__ import annotations

import unicodedata
from functools import cache

#: What joins the emoji before and after it to one.
JOINER = "\u200d"
#: Characters of no width: combining marks, and joiners and directions that only say how others are shown.
_ZERO_WIDTH_CATEGORIES = frozenset({"Mn", "Me", "Cf"})


def columns(text: str) -> int:
    """Return how wide the text is: two for a wide character (Unicode Standard Annex 11), one for any other.

    What is shown on or within another character has no width: combining marks, skin colours and joined emoji.
    """
    if text.isascii():
        return len(text)
    whole, previous = 0, ""
    for character in text:
        whole += 0 if previous == JOINER else width(character)
        previous = character
    return whole


@cache
def width(character: str) -> int:
    """Return the columns of one character that stands alone: 0, 1 or 2."""
    is_colour = "\U0001f3fb" <= character <= "\U0001f3ff"
    if is_colour or unicodedata.category(character) in _ZERO_WIDTH_CATEGORIES:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
