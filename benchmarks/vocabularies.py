"""What favouring phrases gains and costs: rare words right, word error rate, false alarms, time.

``python -m benchmarks vocabularies``, the recogniser alone over the English sets, beside bare faster-whisper with its
``hotwords`` in the same run. A rare word has at least five letters, and three of Whisper's tokens, or two if it is a
name. Rows: without a vocabulary; with one of all rare words; with that and three thousand made-up words; with forty
names that nobody says; with every word of four letters and more of all other recordings that is not in this one, which
is harder than any list that people make. ``BENCH_QUALITIES=fast`` and ``BENCH_SETS=longform,en_arctic`` are
faster.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer

from batchscribe.engines.catalogue import ModelCatalogue
from batchscribe.engines.whisper import Quality
from benchmarks.recogniser_wer import Column, ours, theirs
from benchmarks.recordings import Recording, english_recordings
from benchmarks.scoring import Score, Scorer

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
#: Names that a reference has in small letters; people give them as they are written.
_NAMES = {name.lower(): name for name in ("Lubeck", "Pannartz", "Schoeffer", "Strasburg", "Subiaco", "Sweynheim")}
#: Said in none of the recordings.
ABSENT = (
    "Kubernetes", "PostgreSQL", "Terraform", "Ansible", "Siobhan", "Niamh", "Xiomara", "Quetzal", "Wojciech",
    "Agnieszka", "Thibault", "Guillaume", "Bartholomew", "Montgomery", "Fitzgerald", "Kowalski", "Nakamura", "Okonkwo",
    "Papadopoulos", "Hernandez", "Acetaminophen", "Ibuprofen", "Metformin", "Lisinopril", "Atorvastatin", "Leicester",
    "Worcester", "Edinburgh", "Reykjavik", "Ljubljana", "Massachusetts", "Connecticut", "Albuquerque", "Schenectady",
    "Poughkeepsie", "Grafana", "Prometheus", "Elasticsearch", "Jenkins", "BatchScribe",
)  # fmt: skip
_MADE_UP = 3000


def main() -> None:
    """Print a row a contestant."""
    sets = {each for each in os.environ.get("BENCH_SETS", "").split(",") if each}
    parts = [part for part in english_recordings() if not sets or part.set_name in sets]
    with tempfile.TemporaryDirectory() as folder:
        model_folder = ModelCatalogue(Path(folder)).resolve("base")
        rare = rare_words(parts, model_folder)
        said = tuple(_NAMES.get(word, word) for word in rare)
        words = {part.path: set(_words(part)) for part in parts}
        everything = sorted({word for part in words.values() for word in part if len(word) > 3})
        many = (*said, *made_up())
        print(f"{len(parts)} recordings, {sum(part.seconds for part in parts):.0f} s; rare words: {', '.join(said)}\n")
        print("| | rare words right | WER % | false alarms | processor s | times |")
        print("|---|---|---|---|---|---|")
        quality = Quality(os.environ.get("BENCH_QUALITIES", "accurate").partition(",")[0])
        plain = ours(model_folder, quality, parts)
        _row("without", plain, plain, parts=parts, rare=rare, vocabulary=())
        for name, vocabulary in (("with the rare words", said), ("with 3,000 more", many), ("with 40 absent", ABSENT)):
            column = ours(model_folder, quality, parts, lambda _, vocabulary=vocabulary: vocabulary)  # type: ignore[misc]
            _row(name, column, plain, parts=parts, rare=rare, vocabulary=vocabulary)
        others = {part.path: tuple(each for each in everything if each not in words[part.path]) for part in parts}
        column = ours(model_folder, quality, parts, lambda part: others[part.path])
        _row(
            f"with the words of others ({len(everything)})",
            column,
            plain,
            parts=parts,
            rare=rare,
            vocabulary=everything,
        )
        stock = theirs(model_folder, "sequential", parts)
        _row("faster-whisper", stock, stock, parts=parts, rare=rare, vocabulary=())
        for name, vocabulary in (("the rare words", said), ("40 absent", ABSENT)):
            column = theirs(model_folder, "sequential", parts, ", ".join(vocabulary))
            _row(f"faster-whisper, hotwords: {name}", column, stock, parts=parts, rare=rare, vocabulary=vocabulary)


def rare_words(parts: list[Recording], model_folder: Path) -> list[str]:
    """Return the rare words of the references, each once, as the references have them."""
    tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    found: dict[str, str] = {}
    for part in parts:
        for place, word in enumerate(_WORD.findall(part.reference)):
            spellings = (word, word.lower(), word.capitalize())
            tokens = min(len(tokenizer.encode(f" {each}", add_special_tokens=False).ids) for each in spellings)
            is_name = word.istitle() and place > 0
            if len(word) > 4 and tokens > (1 if is_name else 2):
                found.setdefault(word.lower(), word)
    return list(found.values())


def made_up() -> list[str]:
    """Return words that nobody says, always the same."""
    chance = random.Random(7)  # noqa: S311 - words, no secret
    syllables = ["".join(each) for each in itertools.product("bcdfghjklmnprstvwz", "aeiou", ("", "n", "r", "l", "s"))]
    made = {"".join(chance.choices(syllables, k=chance.randint(2, 4))).title(): None for _ in range(2 * _MADE_UP)}
    return list(made)[:_MADE_UP]


def _words(part: Recording) -> list[str]:
    return [word.lower() for word in _WORD.findall(part.reference)]


def _row(
    name: str, column: Column, plain: Column, *, parts: list[Recording], rare: list[str], vocabulary: Iterable[str]
) -> None:
    """Print what one contestant did; a false alarm is a phrase that is not said and was not heard without favouring."""
    scorer, total, right, said, alarms = Scorer(), Score(), 0, 0, 0
    favoured, wanted = {phrase.lower() for phrase in vocabulary}, {word.lower() for word in rare}
    for part in parts:
        reference = Counter(_words(part))
        heard, before = (
            Counter(word.lower() for word in _WORD.findall(texts[part.path])) for texts in (column.texts, plain.texts)
        )
        total += scorer.score(part.reference, column.texts[part.path])
        right += sum(min(heard[word], reference[word]) for word in wanted)
        said += sum(reference[word] for word in wanted)
        alarms += sum(max(0, heard[word] - max(before[word], reference[word])) for word in favoured)
    times = column.cpu_seconds / plain.cpu_seconds
    print(
        f"| {name} | {right} of {said} | {total.rate:.2f} | {alarms} | {column.cpu_seconds:.0f} | {times:.2f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
