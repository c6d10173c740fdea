"""Which language is spoken: a confusion table, turns in two languages, and what it costs.

``python -m benchmarks languages``: every recording of the shared material whose language is known, with all languages to
choose from and with ten; recordings joined from them in which the language changes, at turns of half a minute and of a
few seconds; and processor time beside that of recognition.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.domain.identification import LanguageWindow, ranked, stretches
from batchscribe.domain.languages import whisper_language
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.engines.catalogue import ModelCatalogue
from batchscribe.engines.whisper import Quality, WhisperRecogniser
from batchscribe.errors import RecordingFailed
from benchmarks.recordings import decode, shared_folder

TEN = ("en-US", "de-DE", "es-ES", "fr-FR", "it-IT", "pt-BR", "ja-JP", "ko-KR", "zh-CN", "ar-SA")
#: Sets without speech, or with several languages, or of unknown ones.
_LEFT_OUT = {"nonspeech", "multi_language"}
_PAIRS = (("en", "de"), ("en", "es"), ("en", "fr"), ("en", "zh"), ("en", "ja"), ("de", "fr"), ("es", "pt"))
_MADE_SECONDS = 150.0
_CHUNK_SECONDS = 120.0
_STEP = 0.05


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
    """Join recordings in which two languages take turns: of about half a minute, and of 2 to 10 seconds."""
    by_language: dict[str, list[NDArray[np.int16]]] = {}
    for each in spoken:
        if "containers" not in each.name and "_rhino" not in each.name and 1.5 <= each.seconds <= 400:
            by_language.setdefault(each.language, []).append(each.pcm)
    made = []
    for one, other in _PAIRS:
        for shortest, longest in ((27.0, 33.0), (2.0, 10.0)):
            name = f"{one} and {other}, turns of {shortest:.0f} to {longest:.0f} s"
            made.append(_made(name, by_language, (one, other), shortest, longest))
    return made


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


def heard_in_chunks(recogniser: WhisperRecogniser, pcm: NDArray[np.int16]) -> list[tuple[float, list[LanguageWindow]]]:
    """Return what is heard by stretch in chunks of two minutes, with each chunk's length in seconds."""
    size = int(_CHUNK_SECONDS * SAMPLE_RATE_HERTZ)
    chunks = [pcm[start : start + size] for start in range(0, len(pcm), size)]
    return [(len(each) / SAMPLE_RATE_HERTZ, list(recogniser.find_languages(each, by_stretch=True))) for each in chunks]


def seconds_right(
    made: Made,
    heard: list[tuple[float, list[LanguageWindow]]],
    options: tuple[str, ...],
    change_cost: float | None = None,
) -> tuple[float, float]:
    """Return how many seconds of speech are in a stretch of their language, and how many there are."""
    steps = int(len(made.pcm) / SAMPLE_RATE_HERTZ / _STEP)
    true, found, is_speech = np.full(steps, "", dtype="<U4"), np.full(steps, "", dtype="<U4"), np.zeros(steps, bool)
    for start, end, language in made.turns:
        true[int(start / _STEP) : int(end / _STEP)] = language
    size = int(_STEP * SAMPLE_RATE_HERTZ)
    levels = np.abs(made.pcm[: steps * size].astype(np.float32)).reshape(steps, size).mean(axis=1)
    is_speech = levels > 0.04 * np.quantile(levels, 0.95)
    begin = 0.0
    costs = {} if change_cost is None else {"change_cost": change_cost}
    for length, windows in heard:
        for each in stretches(windows, options, start=0.0, end=length, **costs):
            first, last = int((begin + each.start) / _STEP), int((begin + each.end) / _STEP)
            found[first:last] = whisper_language(each.language_code) or ""
        begin += length
    return float((is_speech & (true == found)).sum() * _STEP), float(is_speech.sum() * _STEP)
