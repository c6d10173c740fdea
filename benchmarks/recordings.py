"""Real recordings with references, and long ones joined from them."""

from __future__ import annotations

import json
import os
import random
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ

#: References that are what was said, word for word.
_EXACT_KINDS = {"gold", "gold (joined)", "repo-test", "Harvard sentence (repo text had errors)"}
#: Sets of which the reference, or where in a text it begins, was found by ear of whisper-base.
BY_EAR_SETS = frozenset({"en_ls_recovered", "zh_aishell3"})


@dataclass(frozen=True)
class Recording:
    """One recording of the shared material."""

    path: Path
    set_name: str
    language_code: str
    reference: str
    seconds: float


@dataclass(frozen=True)
class KeywordRecording:
    """A recording of which some of what is said is known; it has no whole reference."""

    recording: Recording
    keywords: list[str]


def shared_folder() -> Path:
    """Return the folder of recordings beside the repository (or ``BATCHSCRIBE_SHARED``); end where it is absent."""
    beside = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("BATCHSCRIBE_SHARED", beside))
    if not folder.is_dir():
        raise SystemExit("The recordings are not here: set BATCHSCRIBE_SHARED to their folder.")
    return folder


def english_recordings() -> list[Recording]:
    """Return every English recording with an exact reference."""
    return [each for each in recordings() if each.language_code.startswith("en")]


def recordings() -> list[Recording]:
    """Return every recording with an exact reference."""
    return [
        _recording(row, row["reference"])
        for row in _rows()
        if (row.get("reference") and row.get("ref_kind") in _EXACT_KINDS | {None}) or _is_aligned(row)
    ]


def referenced_recordings() -> list[Recording]:
    """Return every recording with a whole reference: the exact ones, and those whose name or Pinyin says it."""
    said = {row["path"]: row["reference"] for row in _rows() if row.get("ref_kind") == "file name"}
    said |= {row["path"]: row["hanzi_by_ear_of_pinyin"] for row in _rows() if row.get("hanzi_by_ear_of_pinyin")}
    return [*recordings(), *(_recording(row, said[row["path"]]) for row in _rows() if row["path"] in said)]


def keyword_recordings() -> list[KeywordRecording]:
    """Return every recording of which only some words are known."""
    return [
        KeywordRecording(_recording(row, ""), row.get("keywords") or [row["reference"]])
        for row in _rows()
        if row.get("ref_kind") in {"keywords", "contains"}
    ]


def _rows() -> list[dict[str, Any]]:
    manifest = shared_folder() / "audio" / "manifest.jsonl"
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def _recording(row: dict[str, Any], reference: str) -> Recording:
    return Recording(
        path=shared_folder() / "audio" / row["path"],
        set_name=row["path"].partition("/")[0],
        language_code=row["language"],
        reference=reference,
        seconds=float(row["seconds"]),
    )


def _is_aligned(row: dict[str, Any]) -> bool:
    return str(row.get("ref_kind", "")).startswith("book text")


def decode(decoder: CagedDecoder, path: Path) -> NDArray[np.int16]:
    """Return a whole recording as 16 kHz samples."""
    with path.open("rb") as media, decoder.open(media) as audio:
        return np.frombuffer(b"".join(audio.blocks()), dtype="<i2")


def join(parts: list[Recording], *, minutes: float, target: Path, seed: int = 1) -> str:
    """Write a WAV of about so many minutes, in ever new order with pauses between; return its words."""
    decoder = CagedDecoder()
    samples = {part.path: decode(decoder, part.path) for part in parts}
    decoder.close()
    chance = random.Random(seed)  # noqa: S311 - a benchmark's order, not a secret
    words: list[str] = []
    total = 0
    with wave.open(str(target), "wb") as out:
        out.setparams((1, 2, SAMPLE_RATE_HERTZ, 0, "NONE", ""))
        while total < minutes * 60 * SAMPLE_RATE_HERTZ:
            for part in chance.sample(parts, len(parts)):
                pause = np.zeros(round(chance.uniform(0.4, 1.2) * SAMPLE_RATE_HERTZ), np.int16)
                for piece in (samples[part.path], pause):
                    out.writeframes(piece.tobytes())
                    total += len(piece)
                words.append(part.reference)
                if total >= minutes * 60 * SAMPLE_RATE_HERTZ:
                    break
    return " ".join(words)


def write_wav(path: Path, pcm: NDArray[np.int16]) -> None:
    """Write 16 kHz samples as a WAV."""
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, SAMPLE_RATE_HERTZ, 0, "NONE", ""))
        out.writeframes(pcm.tobytes())
