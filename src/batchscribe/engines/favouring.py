"""Favours the phrases of a vocabulary: what was recognised gives way to a phrase that the model finds plausible.

Stretches of recognised words that sound or are spelt like a phrase are found first (``phrase_index.py``). The model
then says how probable the window's text is with the phrase in their place and how probable it is as it stands. A phrase
that makes it less probable by no more than its bonus is taken.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from batchscribe.engines.phrase_index import PhraseIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: How alike a stretch must be for the model to be asked, and from which likeness on there is a bonus: what is less
#: alike the model refuses, and each answer costs a twentieth of a window's time or more.
_LEAST_LIKENESS = 0.75
_BONUS_FROM = 0.65
#: Nats of bonus for a phrase that is wholly alike, by its tokens up to a limit: what the model writes with one token it
#: knows well, and would mostly have written by itself.
_BONUS_A_TOKEN = 5.0
_MOST_BONUS = 14.0
#: A phrase may cover so many words more than it has itself: one rare word is heard as several.
_WORDS_MORE = 3
#: How many readings the model is asked about for each word that may be replaced, and in a window.
_ASKED_A_WORD = 3
_MOST_ASKED = 8
#: How many vocabularies a process keeps indexed.
_INDEXES_KEPT = 4
_MARKS_AROUND = re.compile(r"^(\W*)(.*?)((?:['\u2019]s)?\W*)$", re.DOTALL)
_WORD = re.compile(r"\w+")
_GENITIVE = re.compile(r"['\u2019]s$")
_GENITIVE_AT_START = re.compile(r"^['\u2019]s")
_SENTENCE_END = re.compile(r"[.?!\u2026\u3002\uff1f\uff01\u0964\u061f]['\"\u201d\u2019)]*$")


class TextModel(Protocol):
    """What the model must do here; one window of one language is meant."""

    def words_of(self, tokens: list[int]) -> list[tuple[str, list[int]]]:
        """Split tokens into words with their leading spaces and marks; in scripts without spaces into signs."""

    def tokens_of(self, text: str) -> list[int]:
        """Return the tokens of a text."""

    def log_probabilities(self, texts: Sequence[list[int]]) -> list[list[float]]:
        """Return of each text's tokens how probable the model finds them, each after those before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A stretch of words, and the phrase that may stand in their place."""

    first: int
    #: The place after the last word.
    last: int
    #: The phrase by its number.
    phrase: int
    #: The phrase as it is shown here, and what stands in the words' place, with the space and the marks around it.
    shown: str
    text: str
    likeness: float

    def overlaps(self, other: Reading) -> bool:
        """Whether two readings are of one word at least."""
        return self.first < other.last and other.first < self.last


def favour(tokens: list[int], phrases: tuple[str, ...], model: TextModel) -> list[int]:
    """Return the tokens of a window's text with phrases where they are plausible; they follow from the window alone."""
    words = model.words_of(tokens)
    readings = _worth_asking(find_readings([text for text, _ in words], index_of(phrases)))
    if not readings:
        return tokens
    replaced = {reading: _with(words, [reading], model.tokens_of) for reading in readings}
    before, *after = model.log_probabilities([tokens, *replaced.values()])
    gains = {
        reading: sum(probable) - sum(before) + _bonus(reading, model.tokens_of)
        for reading, probable in zip(readings, after, strict=True)
    }
    taken: list[Reading] = []
    for reading in sorted(readings, key=lambda each: (-gains[each], each.first, each.text)):
        if gains[reading] > 0 and not any(reading.overlaps(other) for other in taken):
            taken.append(reading)
    return _with(words, taken, model.tokens_of)


@lru_cache(maxsize=_INDEXES_KEPT)
def index_of(phrases: tuple[str, ...]) -> PhraseIndex:
    """Return the index of a vocabulary, made once."""
    return PhraseIndex(phrases)


def find_readings(words: list[str], index: PhraseIndex) -> list[Reading]:
    """Return every stretch that is alike to a phrase, without those that say the phrase already."""
    found: list[Reading] = []
    said: list[tuple[int, int, str]] = []
    for first in range(len(words)):
        text = ""
        for last in range(first + 1, len(words) + 1):
            if text and _SENTENCE_END.search(text):
                break
            text += words[last - 1]
            head, core, tail = _parts(text)
            if len(core) > 2 * index.longest:
                break
            if not core or not any(map(str.isalnum, words[first])) or not any(map(str.isalnum, words[last - 1])):
                continue
            starts_sentence = first == 0 or bool(_SENTENCE_END.search(words[first - 1].rstrip()))
            for alike in index.alike(core, least=_LEAST_LIKENESS):
                phrase = index.phrases[alike.phrase]
                if core.count(" ") > phrase.count(" ") + _WORDS_MORE:
                    continue
                shown = _shown(phrase, core, starts_sentence=starts_sentence)
                new = head + shown + (tail if not _GENITIVE.search(phrase) else _GENITIVE_AT_START.sub("", tail))
                if new == text:
                    said.append((first, last, phrase))
                    continue
                found.append(
                    Reading(first=first, last=last, phrase=alike.phrase, shown=shown, text=new, likeness=alike.likeness)
                )
    return [each for each in found if not any(_spoils(each, start, end, phrase) for start, end, phrase in said)]


def _spoils(reading: Reading, start: int, end: int, phrase: str) -> bool:
    """Whether a phrase that was recognised would be lost, and not to a longer phrase that has it within."""
    if reading.last <= start or end <= reading.first:
        return False
    said, instead = (f" {' '.join(_WORD.findall(text.casefold()))} " for text in (phrase, reading.text))
    return said == instead or said not in instead


def _bonus(reading: Reading, tokens_of: Callable[[str], list[int]]) -> float:
    """Return by how many nats a phrase may make a window's text less probable."""
    most = min(_MOST_BONUS, _BONUS_A_TOKEN * len(tokens_of(f" {reading.shown}")))
    return most * (reading.likeness - _BONUS_FROM) / (1 - _BONUS_FROM)


def _worth_asking(readings: list[Reading]) -> list[Reading]:
    """Return the most alike readings: one of each phrase where it is of several stretches, so many of each word."""
    asked: list[Reading] = []
    of_word: Counter[int] = Counter()
    for reading in sorted(readings, key=lambda each: (-each.likeness, each.last - each.first, each.first, each.text)):
        places = range(reading.first, reading.last)
        is_known = any(reading.phrase == other.phrase and reading.overlaps(other) for other in asked)
        if len(asked) < _MOST_ASKED and not is_known and all(of_word[place] < _ASKED_A_WORD for place in places):
            asked.append(reading)
            of_word.update(places)
    return asked


def _with(
    words: list[tuple[str, list[int]]], readings: list[Reading], tokens_of: Callable[[str], list[int]]
) -> list[int]:
    """Return the tokens of the words with these readings in their places."""
    tokens, done = [], 0
    for reading in sorted(readings, key=lambda each: each.first):
        tokens += [token for _, pieces in words[done : reading.first] for token in pieces]
        tokens += tokens_of(reading.text)
        done = reading.last
    return tokens + [token for _, pieces in words[done:] for token in pieces]


def _parts(text: str) -> tuple[str, str, str]:
    """Split a stretch into space and marks before it, its words, and the marks and the genitive after them."""
    match = _MARKS_AROUND.match(text)
    return ("", text, "") if match is None else (match[1], match[2], match[3])


def _shown(phrase: str, core: str, *, starts_sentence: bool) -> str:
    """Return a phrase as it is given; one without capitals takes that of the words that begin a sentence."""
    if starts_sentence and phrase.islower() and core[:1].isupper():
        return phrase[:1].upper() + phrase[1:]
    return phrase
