"""Who speaks when: diarization error rate and speed.

``python -m benchmarks.speakers``: the recordings of the shared material whose turns are known, and conversations made
here from its voices. The rate is missed, invented and confused speech over speech, overlaps scored, with no account
taken of 0.25 s on both sides of each border (the collar of the NIST Rich Transcription evaluations).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.engines.voices import VoiceModel
from batchscribe.finishing.speakers import speaker_turns
from benchmarks.recordings import shared_folder

_STEP = 0.01
_COLLAR = 0.25
_MADE_SECONDS = 300.0
#: Sets with several speakers, each file of whom is one speaker's.
_VOICE_SETS = ("en_vctk", "en_libritts", "en_ljspeech", "en_arctic", "en_librispeech", "en_jfk", "de_thorsten", "en_ms")

Turn = tuple[float, float, str]


def main() -> None:
    """Print one line a recording, and the whole."""
    model = VoiceModel()
    errors, seconds, cpu = np.zeros(4), 0.0, 0.0
    print(f"{'recording':42} {'s':>6} {'DER %':>6} {'miss':>5} {'false':>5} {'conf':>5} found/true  x real time")
    for name, pcm, truth in _cases():
        begun = time.process_time()
        turns = speaker_turns(model.windows(pcm))
        spent = time.process_time() - begun
        parts = _errors([(turn.start, turn.end, str(turn.speaker)) for turn in turns], truth, len(pcm))
        errors, seconds, cpu = errors + parts, seconds + len(pcm) / SAMPLE_RATE_HERTZ, cpu + spent
        found = f"{len({turn.speaker for turn in turns})}/{len({each[2] for each in truth})}"
        _show(name, len(pcm) / SAMPLE_RATE_HERTZ, parts, found, spent)
    _show("all", seconds, errors, "", cpu)


def _show(name: str, seconds: float, parts: NDArray[np.float64], found: str, cpu: float) -> None:
    missed, invented, confused = 100 * parts[:3] / parts[3]
    rate = missed + invented + confused
    print(f"{name:42} {seconds:6.0f} {rate:6.1f} {missed:5.1f} {invented:5.1f} {confused:5.1f}", end="")
    print(f" {found:>10} {seconds / cpu:9.0f}")


def _cases() -> Iterable[tuple[str, NDArray[np.int16], list[Turn]]]:
    """Yield each recording's name, samples and true turns."""
    folder = shared_folder() / "audio"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    for row in rows:
        truth = [(start, end, who) for start, end, who in row.get("rttm") or ()]
        truth += [(each["start_sec"], each["end_sec"], str(each["speaker_tag"])) for each in _tagged(row)]
        if truth:
            yield row["path"], _samples(folder / row["path"]), truth
    voices = _voices(folder, rows)
    for count in (2, 4, 8):
        yield (f"made here, {count} speakers", *_conversation(dict(list(voices.items())[:count]), seed=count))


def _tagged(row: dict[str, object]) -> list[dict[str, float]]:
    segments = row.get("segments")
    return [each for each in segments if "speaker_tag" in each] if isinstance(segments, list) else []


def _voices(folder: Path, rows: list[dict[str, str]]) -> dict[str, list[NDArray[np.int16]]]:
    """Return a few seconds and more of many single speakers, by name."""
    voices: dict[str, list[NDArray[np.int16]]] = {}
    for row in rows:
        name = row["path"].partition("/")[0]
        if name in _VOICE_SETS and row.get("speaker") and float(row["seconds"]) >= 2.0:
            voices.setdefault(row["speaker"], []).append(_samples(folder / row["path"]))
    return voices


def _conversation(voices: dict[str, list[NDArray[np.int16]]], *, seed: int) -> tuple[NDArray[np.int16], list[Turn]]:
    """Let voices take turns of 2 to 10 seconds, with pauses of up to a second."""
    chance = random.Random(seed)  # noqa: S311 - the same conversation every time
    parts: list[NDArray[np.int16]] = []
    turns: list[Turn] = []
    at, last = 0.0, ""
    while at < _MADE_SECONDS:
        name = chance.choice([each for each in voices if each != last])
        clip = chance.choice(voices[name])
        clip = clip[: int(chance.uniform(2.0, 10.0) * SAMPLE_RATE_HERTZ)]
        pause = int(chance.uniform(0.1, 1.0) * SAMPLE_RATE_HERTZ)
        seconds = len(clip) / SAMPLE_RATE_HERTZ
        turns += [(at + start, at + end, name) for start, end in _speech(clip)]
        parts += [_levelled(clip), np.zeros(pause, dtype=np.int16)]
        at, last = at + seconds + pause / SAMPLE_RATE_HERTZ, name
    return np.concatenate(parts), turns


def _levelled(clip: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return a clip at the loudness of the others."""
    level = float(np.quantile(np.abs(clip.astype(np.float32)), 0.99))
    return np.asarray(np.clip(clip * (8000.0 / max(level, 1.0)), -32768, 32767), dtype=np.int16)


def _speech(clip: NDArray[np.int16]) -> list[tuple[float, float]]:
    """Return where a clip is loud, without silence of a third of a second and more."""
    size = SAMPLE_RATE_HERTZ // 50
    levels = np.abs(clip[: len(clip) // size * size].astype(np.float32)).reshape(-1, size).mean(axis=1)
    loud = np.flatnonzero(levels > 0.04 * np.quantile(levels, 0.95))
    if not len(loud):
        return []
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > 16) + 1)
    return [(group[0] * 0.02, (group[-1] + 1) * 0.02) for group in groups]


def _samples(path: Path) -> NDArray[np.int16]:
    from faster_whisper.audio import decode_audio

    return np.asarray(np.clip(decode_audio(str(path)) * 32768.0, -32768, 32767), dtype=np.int16)


def _errors(found: list[Turn], truth: list[Turn], samples: int) -> NDArray[np.float64]:
    """Return missed, invented and confused seconds, and those of speech, with the best pairing of speakers."""
    steps = int(samples / SAMPLE_RATE_HERTZ / _STEP)
    is_scored = np.ones(steps, dtype=bool)
    for start, end, _ in truth:
        for border in (start, end):
            is_scored[max(0, int((border - _COLLAR) / _STEP)) : int((border + _COLLAR) / _STEP)] = False
    true, ours = _grid(truth, steps)[:, is_scored], _grid(found, steps)[:, is_scored]
    together = true.astype(np.int64) @ ours.T.astype(np.int64)
    right = _best_pairing(together)
    true_count, our_count = true.sum(axis=0), ours.sum(axis=0)
    missed = np.maximum(true_count - our_count, 0).sum()
    invented = np.maximum(our_count - true_count, 0).sum()
    confused = np.minimum(true_count, our_count).sum() - right
    return np.array([missed, invented, confused, true_count.sum()]) * _STEP


def _grid(turns: list[Turn], steps: int) -> NDArray[np.bool_]:
    names = sorted({each[2] for each in turns})
    grid = np.zeros((len(names), steps), dtype=bool)
    for start, end, name in turns:
        grid[names.index(name), int(start / _STEP) : int(end / _STEP)] = True
    return grid


def _best_pairing(together: NDArray[np.int64]) -> int:
    """Return the most steps that any pairing of true and found speakers has in common."""
    if min(together.shape) == 0:
        return 0
    few = together if together.shape[0] <= together.shape[1] else together.T
    if few.shape[0] <= 4 or few.shape[1] <= 8:
        rows = np.arange(few.shape[0])
        return max(int(few[rows, list(order)].sum()) for order in permutations(range(few.shape[1]), few.shape[0]))
    total, left = 0, few.copy()
    while left.max() > 0:
        row, column = np.unravel_index(left.argmax(), left.shape)
        total += int(left[row, column])
        left[row, :] = left[:, column] = 0
    return total


if __name__ == "__main__":
    main()
