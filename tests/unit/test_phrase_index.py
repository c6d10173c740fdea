"""Phrases that sound or are spelt like what was recognised: the index, and what the model is asked about."""

from __future__ import annotations

import itertools
import json
import os
import random
import string
import subprocess
import sys
from collections.abc import Sequence

import pytest

from batchscribe.engines.favouring import favour, find_readings, index_of
from batchscribe.engines.phrase_index import PhraseIndex, sounded


def readings(text: str, *phrases: str) -> set[tuple[str, str]]:
    """Return each stretch of a text that a phrase may stand for, and what would stand there."""
    words = split(text)
    return {
        ("".join(words[each.first : each.last]).strip(), each.text.strip())
        for each in find_readings(words, index_of(phrases))
    }


def split(text: str) -> list[str]:
    """Return the words of a text with their leading spaces."""
    return [f" {word}" for word in text.split()]


@pytest.mark.parametrize(
    ("heard", "phrase"),
    [
        ("cooper netties", "Kubernetes"),
        ("coober nettys", "Kubernetes"),
        ("post gress cue ell", "PostgreSQL"),
        ("batch scribe", "BatchScribe"),
        ("Shaffer", "Schoeffer"),
        ("Zack Aria", "Zachariah"),
        ("Lübek", "Lubeck"),
        ("philippa", "Filipa"),
        ("Свердловск", "Свердлов"),
        ("トヨダ", "とよた"),
        ("김철수", "김철소"),
        ("打磨院", "达摩院"),
        ("鄧子奇", "邓紫棋"),
    ],
)
def test_what_sounds_alike_is_found_across_words_and_spellings(heard: str, phrase: str) -> None:
    """In capitals or not, with accents or not, in one word or several."""
    others = ("Alexander", "Elasticsearch", "Tuscaloosa", "Иркутск", "京都市", "박영희")
    index = PhraseIndex((*others, phrase))
    found = index.alike(heard, least=0.5)
    assert index.phrases[found[0].phrase] == phrase


@pytest.mark.parametrize("heard", ["the weather", "an apple a day", "thank you", "1984"])
def test_what_does_not_sound_alike_is_not(heard: str) -> None:
    """The model is not asked about every word."""
    assert PhraseIndex(("Kubernetes", "PostgreSQL", "Schoeffer")).alike(heard, least=0.5) == []


def test_marks_capitals_and_genitives_around_a_phrase_stay() -> None:
    """The phrase comes as it is given; what stood around the words stands around it."""
    assert ('"Coober nettys,"', '"Kubernetes,"') in readings('He said "Coober nettys," twice.', "Kubernetes")
    assert ("Shaffer's", "Schoeffer's") in readings("It is Shaffer's press.", "Schoeffer")
    assert ("MacDonald's", "McDonald's") in readings("At MacDonald's today", "McDonald's")
    assert ("Picanini", "Piccanini") in readings("Good. Picanini ran.", "piccanini")
    assert ("picanini", "piccanini") in readings("The picanini ran.", "piccanini")


def test_no_reading_crosses_the_end_of_a_sentence() -> None:
    """Two sentences are not one name."""
    assert readings("We met Cooper. Netties sting.", "Kubernetes") <= {("Cooper.", "Kubernetes.")}


def test_a_phrase_that_was_recognised_is_not_given_up_for_another() -> None:
    """Unless the other is longer and has it within."""
    assert readings("I saw Anna there", "Anna", "Hanna", "Anne") == set()
    assert ("Anna Karenin", "Anna Karenina") in readings("I read Anna Karenin", "Anna", "Anna Karenina")


class TableModel:
    """Finds texts as probable as a table says; a text that is not in it is impossible."""

    def __init__(self, table: dict[str, float]) -> None:
        self.table, self.asked = table, 0
        self._texts: list[str] = []

    def words_of(self, tokens: list[int]) -> list[tuple[str, list[int]]]:
        """Take each token for a word."""
        return [(self._texts[token], [token]) for token in tokens]

    def tokens_of(self, text: str) -> list[int]:
        """Return a token a word."""
        self._texts += split(text)
        return list(range(len(self._texts) - len(text.split()), len(self._texts)))

    def log_probabilities(self, texts: Sequence[list[int]]) -> list[list[float]]:
        """Look the texts up."""
        self.asked += len(texts)
        return [[self.table.get(self.text(tokens), -1000.0)] for tokens in texts]

    def text(self, tokens: list[int]) -> str:
        """Return the running text."""
        return "".join(self._texts[token] for token in tokens).strip()


def test_where_the_model_refuses_the_most_alike_phrase_the_next_is_taken() -> None:
    """A phrase that is refused blocks no other on the same words; where two are plausible, the better one is taken."""
    model = TableModel({"with mister Shafer": -5.0, "with mister Schoeffer": -7.0, "with mister Shaffner": -40.0})
    tokens = model.tokens_of("with mister Shafer")
    assert model.text(favour(tokens, ("Shaffner", "Shaver", "Schoeffer"), model)) == "with mister Schoeffer"
    model.table["with mister Shaffner"] = -5.5
    assert model.text(favour(tokens, ("Shaffner", "Shaver", "Schoeffer"), model)) == "with mister Shaffner"
    assert favour(tokens, ("Kubernetes",), model) == tokens


def made_up(number: int) -> tuple[str, ...]:
    """Return words that all sound much alike, always the same."""
    chance = random.Random(5)  # noqa: S311 - made-up words, no secret
    syllables = ["".join(each) for each in itertools.product("bdfgklmnprstv", "aeiou")]
    return tuple(dict.fromkeys("".join(chance.choices(syllables, k=chance.randint(2, 5))) for _ in range(number)))


def test_every_process_finds_the_same() -> None:
    """A chunk that is recognised again elsewhere reads the same: nothing hangs on how Python happens to order sets."""
    code = (
        "import sys, json; from batchscribe.engines.phrase_index import PhraseIndex; words = json.load(sys.stdin); "
        "index = PhraseIndex(tuple(words)); print([index.alike(each[1:] + 'ka', least=0.3) for each in words[:200]])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(made_up(3000)),
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=240,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(told) == 1
    assert "likeness" in told.pop()


def test_a_list_of_thousands_costs_little_more_than_one_of_hundreds() -> None:
    """What is looked at closely for a stretch does not grow with the list."""
    phrases = made_up(6000)
    index = PhraseIndex(phrases)
    assert all(index.alike(phrase, least=0.9)[0].likeness == 1.0 for phrase in phrases[:100])
    assert len(index.alike("katarina", least=0.0)) <= 24


def test_sounds_are_letters_alone() -> None:
    """Whatever is given, nothing but letters and digits is compared."""
    chance = random.Random(6)  # noqa: S311 - made-up words, no secret
    for _ in range(200):
        text = "".join(chance.choices(string.printable + "äßЖ天が", k=12))
        assert all(letter.isalnum() for letter in sounded(text).sounds)
