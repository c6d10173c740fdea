"""Vocabularies (words to favour) and vocabulary filters (words to mask, remove or tag): named lists of words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from batchscribe.errors import InvalidRequest

#: As AWS Transcribe has it: names of 1 to 200 such characters, 50 KB in all.
_NAME = re.compile(r"[0-9A-Za-z._-]{1,200}")
MOST_BYTES = 50 << 10
#: As AWS Transcribe has it for a phrase.
LONGEST_WORD = 256


class WordListKind(Enum):
    """What a list of words is for. The value is what people call it."""

    VOCABULARY = "vocabulary"
    VOCABULARY_FILTER = "vocabulary filter"


@dataclass(frozen=True, slots=True, kw_only=True)
class WordList:
    """A vocabulary or a vocabulary filter. Times are aware and in UTC."""

    kind: WordListKind
    name: str
    language_code: str
    #: Words or phrases, each once, in the order in which they were given.
    words: tuple[str, ...]
    updated_at: datetime


def check_list_name(name: str, field: str) -> None:
    """Raise InvalidRequest for what cannot be a list's name."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"Invalid {field}. Must be 1 to 200 of the characters 0-9 A-Z a-z . _ -")


def clean_words(words: Iterable[str]) -> tuple[str, ...]:
    """Return words with single spaces within and none around, each once. Raises InvalidRequest with a sentence."""
    cleaned = tuple(dict.fromkeys(unicodedata.normalize("NFC", " ".join(word.split())) for word in words))
    if not cleaned or "" in cleaned:
        raise InvalidRequest("The list must have at least one word, and no word may be empty.")
    if any(not word.isprintable() or not any(map(str.isalnum, word)) for word in cleaned):
        raise InvalidRequest("Every word must have a letter or a digit, and no control characters.")
    if any(len(word) > LONGEST_WORD for word in cleaned):
        raise InvalidRequest(f"No word may be longer than {LONGEST_WORD} characters.")
    if sum(len(word.encode()) + 1 for word in cleaned) > MOST_BYTES:
        raise InvalidRequest(f"The words may be no more than {MOST_BYTES} bytes in all.")
    return cleaned
