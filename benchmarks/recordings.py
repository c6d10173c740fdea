"""Real recordings with references, and long ones joined from them."""

from __future__ import annotations

import json
import os
import random
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ

#: References that are what was said, word for word.
_EXACT_KINDS = {"gold", "gold (joined)", "repo-test", "Harvard sentence (repo text had errors)"}


@dataclass(frozen=True)
class Recording:
    """One recording of the shared material."""

    path: Path
    set_name: str
    language_code: str
    reference: str
    seconds: float


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
    folder = shared_folder() / "audio"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    return [
        Recording(
            path=folder / row["path"],
            set_name=row["path"].partition("/")[0],
            language_code=row["language"],
            reference=row["reference"],
            seconds=row["seconds"],
        )
        for row in rows
        if (row.get("reference") and row.get("ref_kind") in _EXACT_KINDS | {None}) or _is_aligned(row)
    ]


def _is_aligned(row: dict[str, str]) -> bool:
    return row.get("ref_kind", "").startswith("book text")


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
