"""Error rates of the server by set and by language in its qualities, beside bare faster-whisper in the same run.

Every recording of the shared material that has a reference: words, or characters where the language is written without
spaces (``scoring.py``). Processor seconds are those of all processes of the server, api and decoder and all, over the
seconds of audio; of the rival those of its work alone, without imports and model load. Few recordings stand behind a
language other than English: both tables say how many, and how many different texts they say. ``BENCH_LANGUAGES=de,ja``
leaves the others out.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from batchscribe.domain.languages import whisper_language
from batchscribe.domain.media import format_by_name
from benchmarks import rival
from benchmarks.recordings import BY_EAR_SETS, Recording, keyword_recordings, referenced_recordings
from benchmarks.running import MODELS_FOLDER, server
from benchmarks.scoring import Score, Scorer, is_by_character

QUALITIES = tuple(os.environ.get("BENCH_QUALITIES", "accurate,balanced,fast").split(","))
LANGUAGES = {each for each in os.environ.get("BENCH_LANGUAGES", "").split(",") if each}
_BY_EAR = (
    f"in {', '.join(sorted(BY_EAR_SETS))} the text is a book's (or given as Pinyin), and where it begins, or its "
    "characters, were found with whisper-base: that favours whoever repeats its errors, all of these alike."
)
RIVAL = "faster-whisper 1.2.1 defaults"


@dataclass(frozen=True)
class Contestant:
    """What one of them heard, and at what cost."""

    name: str
    texts: dict[Path, str]
    cpu_seconds: float


def main() -> None:
    """Print a row a set, a row a language, the recordings of which keywords are known, and the cost."""
    # The server does not take AIFF, of which there is one: it is left to neither.
    parts = [each for each in referenced_recordings() if format_by_name(each.path.name) and _is_wanted(each)]
    with_keywords = [each for each in keyword_recordings() if _is_wanted(each.recording)]
    everything = parts + [each.recording for each in with_keywords]
    contestants = [_ours(quality, everything) for quality in QUALITIES]
    contestants.append(_theirs(everything))
    scorer = Scorer()
    names = " | ".join(each.name for each in contestants)
    for title, key in (("set", _set_name), ("language", _language)):
        print(f"| {title} | recordings (texts) | seconds | counted | {names} |")
        print("|---" * (4 + len(contestants)) + "|")
        for name in sorted({key(part) for part in parts}):
            _row(name, [part for part in parts if key(part) == name], contestants, scorer)
        print(flush=True)
    print(f"Error rates in %. *: {_BY_EAR}\n")
    print(f"| keywords of | {names} |")
    print("|---" * (1 + len(contestants)) + "|")
    for each in with_keywords:
        path, code = each.recording.path, each.recording.language_code
        heard = ["heard" if scorer.has_all(each.keywords, who.texts[path], code) else "no" for who in contestants]
        print(f"| {each.recording.set_name}/{path.name} | {' | '.join(heard)} |")
    audio = sum(each.seconds for each in everything)
    cost = ", ".join(f"{who.name} {who.cpu_seconds / audio:.3f}" for who in contestants)
    print(f"\nProcessor seconds a second of audio, over {audio:.0f} s: {cost}")


def _ours(quality: str, parts: list[Recording]) -> Contestant:
    """Let a server of this quality do all recordings, eight in hand at a time."""
    with server(quality=quality) as running:
        # The model is loaded for the first recording, which is then recognised once more.
        running.transcribe(parts[0].path, parts[0].language_code)
        before = running.cpu_seconds()
        with ThreadPoolExecutor(8) as pool:
            jobs = list(pool.map(lambda part: running.transcribe(part.path, part.language_code), parts))
        spent = running.cpu_seconds() - before
    texts = {part.path: job.transcript or "" for part, job in zip(parts, jobs, strict=True)}
    return Contestant(quality, texts, spent)


def _theirs(parts: list[Recording]) -> Contestant:
    languages = [whisper_language(part.language_code) or "en" for part in parts]
    done = rival.run(MODELS_FOLDER / "base", "sequential", [part.path for part in parts], languages=languages)
    return Contestant(RIVAL, {part.path: done.texts[str(part.path)] for part in parts}, done.cpu_seconds)


def _row(name: str, parts: list[Recording], contestants: list[Contestant], scorer: Scorer) -> None:
    scores = [
        sum((scorer.score(each.reference, who.texts[each.path], each.language_code) for each in parts), Score())
        for who in contestants
    ]
    texts, seconds = len({each.reference for each in parts}), sum(each.seconds for each in parts)
    unit = "characters" if all(is_by_character(each.language_code) for each in parts) else "words"
    rates = " | ".join(f"{score.rate:.2f}" for score in scores)
    mark = "*" if any(each.set_name in BY_EAR_SETS for each in parts) else ""
    print(f"| {name}{mark} | {len(parts)} ({texts}) | {seconds:.0f} | {scores[0].words} {unit} | {rates} |")


def _is_wanted(part: Recording) -> bool:
    return not LANGUAGES or _language(part) in LANGUAGES


def _set_name(part: Recording) -> str:
    # One set is of several languages, which are counted by words or by characters.
    return f"{part.set_name}, {_language(part)}" if part.set_name == "wyoming" else part.set_name


def _language(part: Recording) -> str:
    return part.language_code.partition("-")[0]


if __name__ == "__main__":
    main()
