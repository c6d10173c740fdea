"""Which language is spoken: a confusion table, turns in two languages, and what it costs.

``python -m benchmarks languages``: every recording of the shared material whose language is known, with all languages
to choose from and with ten; recordings in which the language changes, two real ones and others joined from those, at
turns of half a minute and of a few seconds; some in which it does not. ``python -m benchmarks.languages confusion`` and
``turns`` do half of it, ``BENCH_MADE_SECONDS=60`` makes the second half shorter.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.domain.identification import CHANGE_COST, USUAL_FLOOR, LanguageWindow, ranked, stretches
from batchscribe.domain.languages import whisper_language
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.engines.catalogue import ModelCatalogue
from batchscribe.engines.whisper import Quality, WhisperRecogniser
from batchscribe.errors import RecordingFailed
from batchscribe.workflow.cutting import cut
from batchscribe.workflow.identifying import ENOUGH_SPEECH_SECONDS, PIECES
from benchmarks.recordings import decode, shared_folder

TEN = ("en-US", "de-DE", "es-ES", "fr-FR", "it-IT", "pt-BR", "ja-JP", "ko-KR", "zh-CN", "ar-SA")
#: Sets without speech, or with several languages, or of unknown ones.
_LEFT_OUT = {"nonspeech", "multi_language"}
_PAIRS = (("en", "de"), ("en", "es"), ("en", "fr"), ("en", "zh"), ("en", "ja"), ("de", "fr"), ("es", "pt"))
#: Two real ones, with their turns as they are heard: read in two languages, and a few seconds each.
_REAL = {
    "multi_language/multilingual.mp3": [(0.0, 30.0, "en"), (30.0, 60.0, "de")],
    "multi_language/es-mx_en-us.wav": [(0.0, 7.1, "es"), (7.1, 11.8, "en"), (11.8, 24.0, "es")],
}
#: Costs of a change that are tried; the middle one is the product's.
COSTS = (0.5 * CHANGE_COST, 0.75 * CHANGE_COST, CHANGE_COST, 1.5 * CHANGE_COST, 2.0 * CHANGE_COST)
_MADE_SECONDS = float(os.environ.get("BENCH_MADE_SECONDS", "150"))
_CHUNK_SECONDS = 120.0
_STEP = 0.05


#: What is heard by stretch in each chunk, after its length in seconds.
Heard = list[tuple[float, list[LanguageWindow]]]


@dataclass(frozen=True)
class Spoken:
    """A recording in one language, by Whisper's name."""

    name: str
    language: str
    pcm: NDArray[np.int16]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.pcm) / SAMPLE_RATE_HERTZ


@dataclass(frozen=True)
class Made:
    """A recording in which the language changes: its turns are from second to second in a language."""

    name: str
    pcm: NDArray[np.int16]
    turns: list[tuple[float, float, str]]


def recordings() -> list[Spoken]:
    """Return every recording whose one language is known."""
    folder = shared_folder() / "audio"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    decoder = CagedDecoder()
    found = []
    try:
        for row in rows:
            language = whisper_language(row["language"])
            if language and row["path"].partition("/")[0] not in _LEFT_OUT:
                # Some are there to be refused.
                with suppress(RecordingFailed):
                    found.append(Spoken(row["path"], language, decode(decoder, folder / row["path"])))
    finally:
        decoder.close()
    return found


def made_recordings(spoken: Iterable[Spoken]) -> list[Made]:
    """Return recordings in which two languages take turns, of about half a minute and of 2 to 10 s, and of one."""
    by_language: dict[str, list[NDArray[np.int16]]] = {}
    for each in spoken:
        if "containers" not in each.name and "_rhino" not in each.name and 1.5 <= each.seconds <= 400:
            by_language.setdefault(each.language, []).append(each.pcm)
    decoder = CagedDecoder()
    folder = shared_folder() / "audio"
    made = [Made(name=name, pcm=decode(decoder, folder / name), turns=turns) for name, turns in _REAL.items()]
    decoder.close()
    for one, other in _PAIRS:
        for shortest, longest in ((27.0, 33.0), (2.0, 10.0)):
            name = f"{one} and {other}, turns of {shortest:.0f} to {longest:.0f} s"
            made.append(_made(name, by_language, (one, other), shortest, longest))
    alone = ("en", "de", "fr", "es", "ja", "zh")
    return made + [_made(f"{each} alone", by_language, (each, each), 27.0, 33.0) for each in alone]


def _made(
    name: str,
    by_language: dict[str, list[NDArray[np.int16]]],
    languages: tuple[str, str],
    shortest: float,
    longest: float,
) -> Made:
    chance = random.Random(name)  # noqa: S311 - the same recording every time
    parts: list[NDArray[np.int16]] = []
    turns: list[tuple[float, float, str]] = []
    at, number = 0.0, 0
    while at < _MADE_SECONDS:
        language = languages[number % 2]
        begun, wanted = at, chance.uniform(shortest, longest)
        while at - begun < wanted:
            clip = chance.choice(by_language[language])
            room = int((wanted - (at - begun)) * SAMPLE_RATE_HERTZ)
            if len(clip) > room + SAMPLE_RATE_HERTZ:
                clip = clip[: max(room, SAMPLE_RATE_HERTZ)]
            pause = np.zeros(int(chance.uniform(0.2, 0.6) * SAMPLE_RATE_HERTZ), dtype=np.int16)
            parts += [_levelled(clip), pause]
            at += (len(clip) + len(pause)) / SAMPLE_RATE_HERTZ
        turns.append((begun, at, language))
        number += 1
    return Made(name=name, pcm=np.concatenate(parts), turns=turns)


def _levelled(clip: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return a clip at the loudness of the others."""
    level = float(np.quantile(np.abs(clip.astype(np.float32)), 0.99))
    return np.asarray(np.clip(clip * (8000.0 / max(level, 1.0)), -32768, 32767), dtype=np.int16)


def heard_in_chunks(recogniser: WhisperRecogniser, pcm: NDArray[np.int16]) -> Heard:
    """Return what is heard by stretch in chunks of two minutes, with each chunk's length in seconds."""
    size = int(_CHUNK_SECONDS * SAMPLE_RATE_HERTZ)
    chunks = [pcm[start : start + size] for start in range(0, len(pcm), size)]
    return [(len(each) / SAMPLE_RATE_HERTZ, list(recogniser.find_languages(each, by_stretch=True))) for each in chunks]


def seconds_right(made: Made, heard: Heard, options: tuple[str, ...], change_cost: float) -> tuple[float, float]:
    """Return how many seconds of speech are in a stretch of their language, and how many there are."""
    steps = int(len(made.pcm) / SAMPLE_RATE_HERTZ / _STEP)
    true, found = np.full(steps, "", dtype="<U4"), np.full(steps, "", dtype="<U4")
    for start, end, language in made.turns:
        true[int(start / _STEP) : int(end / _STEP)] = language
    size = int(_STEP * SAMPLE_RATE_HERTZ)
    levels = np.abs(made.pcm[: steps * size].astype(np.float32)).reshape(steps, size).mean(axis=1)
    is_speech = (levels > 0.04 * np.quantile(levels, 0.95)) & (true != "")
    begin = 0.0
    for length, windows in heard:
        for each in stretches(windows, options, start=0.0, end=length, change_cost=change_cost):
            first, last = int((begin + each.start) / _STEP), int((begin + each.end) / _STEP)
            found[first:last] = whisper_language(each.language_code) or ""
        begin += length
    return float((is_speech & (true == found)).sum() * _STEP), float(is_speech.sum() * _STEP)


def main(parts: Sequence[str] = ()) -> None:
    """Print the confusion tables, the seconds right and what they cost, or one of them."""
    with tempfile.TemporaryDirectory() as folder:
        model = ModelCatalogue(Path(os.environ.get("BENCH_MODEL_FOLDER", folder))).resolve("base")
        recogniser = WhisperRecogniser(model, quality=Quality.ACCURATE)
        spoken = recordings()
        if "turns" not in parts:
            _show_confusion(recogniser, spoken)
        if "confusion" not in parts:
            _show_turns(recogniser, spoken)


def _show_confusion(recogniser: WhisperRecogniser, spoken: list[Spoken]) -> None:
    """Identify each recording as a job does; print what was taken for what, and the processor time."""
    begun, seconds = time.process_time(), 0.0
    heard = {each.name: _first_minutes(recogniser, each) for each in spoken}
    cpu = time.process_time() - begun
    for name, options in (("every language to choose from", ()), ("ten to choose from", TEN)):
        table: dict[str, Counter[str]] = {}
        scores: list[tuple[bool, float]] = []
        for each in spoken:
            found = ranked(heard[each.name], options)
            answer = whisper_language(found[0].language_code) if found else None
            table.setdefault(each.language, Counter())[answer or "nothing"] += 1
            scores.append((answer == each.language, (found[0].score or 0.0) if found else 0.0))
        right = sum(is_right for is_right, _ in scores)
        print(f"\n{name}: {right} of {len(spoken)} right")
        for language, answers in sorted(table.items()):
            print(f"  {language}: " + ", ".join(f"{answer} {number}" for answer, number in answers.most_common()))
        below = [is_right for is_right, score in scores if score < USUAL_FLOOR]
        print(f"  below the floor of {USUAL_FLOOR:g}: {len(below)}, of which {sum(below)} right")
    seconds = sum(each.seconds for each in spoken)
    print(
        f"\nprocessor time: {cpu / len(spoken):.2f} s a recording ({seconds / len(spoken):.1f} s long on the average)"
    )


def _first_minutes(recogniser: WhisperRecogniser, spoken: Spoken) -> list[LanguageWindow]:
    """Return what is heard of a recording until there is enough, as ``workflow/identifying.py`` does it."""
    heard: list[LanguageWindow] = []
    for piece in cut([spoken.pcm.tobytes()], PIECES):
        heard += recogniser.find_languages(np.frombuffer(piece, dtype="<i2"), by_stretch=False)
        if sum(window.speech for window in heard) >= ENOUGH_SPEECH_SECONDS:
            break
    return heard


def _show_turns(recogniser: WhisperRecogniser, spoken: list[Spoken]) -> None:
    """Print the seconds right of recordings that change their language, and of some that do not."""
    print(f"\n{'seconds right, % at a cost of a change of':44}" + "".join(f"{cost:7g}" for cost in COSTS))
    sums = {cost: np.zeros(2) for cost in COSTS}
    begun, seconds = time.process_time(), 0.0
    for made in made_recordings(spoken):
        heard = heard_in_chunks(recogniser, made.pcm)
        seconds += len(made.pcm) / SAMPLE_RATE_HERTZ
        row = ""
        for cost in COSTS:
            right, whole = seconds_right(made, heard, (), cost)
            sums[cost] += (right, whole)
            row += f"{100 * right / whole:7.1f}"
        print(f"{made.name:44}{row}", flush=True)
    print(f"{'all':44}" + "".join(f"{100 * sums[cost][0] / sums[cost][1]:7.1f}" for cost in COSTS))
    cpu = time.process_time() - begun
    print(f"\nprocessor time by stretch: {cpu / seconds:.3f} s a second of audio")


if __name__ == "__main__":
    main(sys.argv[1:])
