"""Redaction of what can be found by its form: numbers with a checksum or a plan, addresses of the net.

Found are the classes of ``domain/options.py:PATTERN_TYPES``, under AWS's names. The words of a class are replaced by
one item such as ``[EMAIL]`` that has their time. Items are looked at together, so a number may be spread over many of
them, with spaces, dashes, commas or dots between its digits; in English its digits may be words (``four one one``,
``oh``, ``double five``), and an e-mail or web address may be spoken (``ann at example dot com``). Numbers said as
numbers (``twenty-three``, ``four hundred``) are not put together; nor is anything found whose checksum fails because
the recogniser has misheard it. It is no substitute for reading where a leak would matter.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator

from batchscribe.domain.transcript import Item, ItemKind, Segment
from batchscribe.finishing.numbers import digit_runs, phones
from batchscribe.finishing.spans import Span, texts_of, with_spans_replaced

#: Top-level domains that are written without ``http://`` and still are addresses, most used first.
_DOMAINS = (
    "com|org|net|edu|gov|io|ai|app|dev|info|biz|co|me|tv|eu|de|uk|fr|es|it|nl|ch|at|be|pl|ru|cn|jp|kr|in|br|au|ca|us"
)
_EMAIL = re.compile(r"[\w.+%-]{1,64} ?@ ?(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}")
_SPOKEN_EMAIL = re.compile(
    rf"\b[\w+-]+(?: (?:dot|underscore|dash|hyphen) [\w+-]+){{0,4}} at (?:[\w-]+ dot ){{1,4}}(?:{_DOMAINS})\b",
    re.IGNORECASE,
)
_URL = re.compile(
    rf"\bhttps?://[^\s,;]+|\bwww\.[^\s,;]+|\b(?:[\w-]{{1,63}}\.){{1,8}}(?:{_DOMAINS})\b(?:/[^\s,;]*)?", re.IGNORECASE
)
_SPOKEN_URL = re.compile(rf"\b(?:[\w-]+ dot ){{1,4}}(?:{_DOMAINS})\b", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]?\d)")
_IPV6 = re.compile(r"(?<![\w:])[0-9A-Fa-f:]{2,39}(?![\w:])")
_MAC = re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}(?![\w:-])")
#: How cards' numbers begin and how long they are (ISO/IEC 7812, the networks' own pages): Visa, Mastercard, American
#: Express, Diners Club, JCB, then Maestro, Discover and UnionPay. Luhn alone is right for every tenth long number.
_CARD = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3[0689]\d{12}|35\d{14}|(?:5[06-8]|6\d)\d{10,17}"
)
_SSN = re.compile(r"(?<![\w-])\d{3}[ -]\d{2}[ -]\d{4}(?![\w-])")
_SSN_DIGITS = 9
_IBAN = re.compile(r"\b[A-Za-z]{2}[ -]?\d{2}(?:[ -]?[A-Za-z0-9]){11,30}\b")

Finder = Callable[[str, str], Iterator[Span]]


def redacted(segments: tuple[Segment, ...], types: tuple[str, ...], *, language_code: str) -> tuple[Segment, ...]:
    """Return the segments without what these classes name; a class that is not found by its form is passed over."""
    found = [
        (text, span)
        for text in texts_of(segments)
        for kind, finder in _FINDERS.items()
        if kind in types
        for span in finder(text.text, language_code)
    ]
    return with_spans_replaced(segments, found, _replaced)


def _replaced(span: Span, items: list[Item]) -> list[Item]:
    """Put one item in the place of several."""
    first = items[0]
    known = [item.confidence for item in items if item.confidence is not None]
    return [
        Item(
            kind=ItemKind.PRONUNCIATION,
            content=f"[{span.kind}]",
            start=first.start,
            end=max(item.end for item in items),
            confidence=min(known, default=None),
            space_before=first.space_before,
            language_code=first.language_code,
            redaction=span.kind,
        )
    ]


def _spans(kind: str, *patterns: re.Pattern[str]) -> Finder:
    """Return a finder of everything that one of the patterns finds; those of spoken addresses look at English alone."""

    def find(text: str, language_code: str) -> Iterator[Span]:
        for pattern in patterns:
            if pattern in {_SPOKEN_EMAIL, _SPOKEN_URL} and not language_code.startswith("en"):
                continue
            for match in pattern.finditer(text):
                # A full stop that ends the sentence is not the address's.
                end = match.start() + len(match.group().rstrip(".?!:'\")"))
                yield Span(start=match.start(), end=end, kind=kind)

    return find


def _find_ip(text: str, _language_code: str) -> Iterator[Span]:
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            candidate = (
                match.group().rstrip(":") if pattern is _IPV6 and not match.group().endswith("::") else match.group()
            )
            try:
                ipaddress.ip_address(candidate)
            except ValueError:
                continue
            # "::" is an address, and more likely a mark.
            if any(map(str.isalnum, candidate)):
                yield Span(start=match.start(), end=match.start() + len(candidate), kind="IP_ADDRESS")


def _find_iban(text: str, _language_code: str) -> Iterator[Span]:
    from stdnum import iban

    for match in _IBAN.finditer(text):
        candidate = match.group()
        # What follows an account number may look like more of it.
        while len(candidate) >= 15:
            if iban.is_valid(candidate):
                yield Span(
                    start=match.start(), end=match.start() + len(candidate), kind="INTERNATIONAL_BANK_ACCOUNT_NUMBER"
                )
                break
            candidate = candidate[:-1].rstrip(" -")


def _find_card(text: str, language_code: str) -> Iterator[Span]:
    from stdnum import luhn

    for run in digit_runs(text, language_code):
        yield from run.find(
            "CREDIT_DEBIT_NUMBER",
            range(19, 11, -1),
            lambda digits: _CARD.fullmatch(digits) is not None and luhn.is_valid(digits),
        )


def _find_ssn(text: str, language_code: str) -> Iterator[Span]:
    from stdnum.us import ssn

    for match in _SSN.finditer(text):
        if ssn.is_valid(match.group().replace(" ", "")):
            yield Span(start=match.start(), end=match.end(), kind="SSN")
    for run in digit_runs(text, language_code):
        # Nine of more digits would be found in every long number.
        if len(run.digits) == _SSN_DIGITS:
            yield from run.find("SSN", (_SSN_DIGITS,), ssn.is_valid)


#: Longer and surer ones first: what one has taken, a later one cannot split.
_FINDERS: dict[str, Finder] = {
    "EMAIL": _spans("EMAIL", _EMAIL, _SPOKEN_EMAIL),
    "INTERNATIONAL_BANK_ACCOUNT_NUMBER": _find_iban,
    "CREDIT_DEBIT_NUMBER": _find_card,
    "MAC_ADDRESS": _spans("MAC_ADDRESS", _MAC),
    "IP_ADDRESS": _find_ip,
    "PHONE": phones,
    "SSN": _find_ssn,
    "URL": _spans("URL", _URL, _SPOKEN_URL),
}
