"""Numbers that are said digit by digit: runs of digits in a text, however they are written, and phone numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from batchscribe.finishing.spans import Span

#: A run is no longer, so that somebody who counts to a thousand costs no more than anybody else.
_LONGEST_RUN = 64
_WORDS = {
    "zero": "0",
    "oh": "0",
    "o": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
}
_TIMES = {"double": 2, "triple": 3}
#: A group of digits, or in English a digit as a word; what may stand between two of a run.
_GROUP = r"\d+"
_ENGLISH_GROUP = rf"\d+|\b(?:(?:{'|'.join(_TIMES)})[ -])?(?:{'|'.join(_WORDS)})\b"
_BETWEEN = re.compile(r"[\s,.()/+\u2010-\u2015-]{0,3}")


@dataclass(frozen=True, slots=True)
class DigitRun:
    """Digits that follow one another, each with the group that it stands in."""

    digits: str
    #: For each digit: its group's first character in the text and the one after its last.
    groups: tuple[tuple[int, int], ...]

    def find(self, kind: str, lengths: Iterable[int], is_valid: Callable[[str], bool]) -> Iterator[Span]:
        """Yield the longest numbers that are valid, made of whole groups, none within another."""
        position = 0
        while position < len(self.digits):
            length = next((each for each in lengths if self._is_number(position, each, is_valid)), 0)
            if length:
                yield Span(start=self.groups[position][0], end=self.groups[position + length - 1][1], kind=kind)
            position += max(1, length)

    def _is_number(self, position: int, length: int, is_valid: Callable[[str], bool]) -> bool:
        end = position + length
        if end > len(self.digits):
            return False
        is_whole_before = position == 0 or self.groups[position] != self.groups[position - 1]
        is_whole_after = end == len(self.digits) or self.groups[end] != self.groups[end - 1]
        return is_whole_before and is_whole_after and is_valid(self.digits[position:end])


def digit_runs(text: str, language_code: str) -> Iterator[DigitRun]:
    """Yield the runs of digits of a text; in English, digits may be words."""
    pattern = _ENGLISH_GROUP if language_code.startswith("en") else _GROUP
    digits = ""
    groups: list[tuple[int, int]] = []
    for match in re.finditer(pattern, text, re.IGNORECASE):
        # Digits of other scripts are numbers too, but none of a class that is looked for.
        if not match.group().isascii():
            continue
        if groups and not _BETWEEN.fullmatch(text, groups[-1][1], match.start()):
            yield DigitRun(digits, tuple(groups))
            digits, groups = "", []
        said = _digits_of(match.group().casefold())
        if len(digits) + len(said) > _LONGEST_RUN:
            yield DigitRun(digits, tuple(groups))
            digits, groups = "", []
        digits += said
        groups += [match.span()] * len(said)
    yield DigitRun(digits, tuple(groups))


def phones(text: str, language_code: str) -> Iterator[Span]:
    """Yield phone numbers that the numbering plan of their country knows.

    The country is the one of the language code; numbers with ``+`` and a country's own prefix are found with any.
    """
    import phonenumbers

    region = language_code.partition("-")[2] or None
    for match in phonenumbers.PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.VALID):
        yield Span(start=match.start, end=match.end, kind="PHONE")

    def is_valid(digits: str) -> bool:
        try:
            return phonenumbers.is_valid_number(phonenumbers.parse(digits, region))
        except phonenumbers.NumberParseException:
            return False

    if region is None:
        return
    for run in digit_runs(text, language_code):
        # Shorter ones are local numbers in few plans, and years, prices and rooms everywhere.
        yield from run.find("PHONE", range(13, 8, -1), is_valid)


def _digits_of(said: str) -> str:
    if said.isdecimal():
        return said
    *times, word = re.split("[ -]", said)
    return _WORDS[word] * (_TIMES[times[0]] if times else 1)
