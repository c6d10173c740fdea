"""Word error rate and processor time of the recogniser alone, by quality, beside bare faster-whisper in the same run.

``python -m benchmarks.recogniser_wer MODEL_FOLDER [--sets en_vctk,longform] [--minutes 60] [--qualities accurate,fast]
[--rivals sequential,batched]``. With ``--minutes`` the English sets are also joined to one recording of that length.
Ours runs in one process with one thread, so on N cores an hour takes about the processor seconds shown, over N; the
rival runs with as many threads as there are cores and its processor seconds count all of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.engines.whisper import Quality, WhisperRecogniser
from benchmarks import rival
from benchmarks.recognising import recognise
from benchmarks.recordings import Recording, decode, english_recordings, join
from benchmarks.scoring import Score, Scorer


@dataclass
class Column:
    """What one contestant did."""

    name: str
    texts: dict[Path, str] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0


def main() -> None:
    """Print a row a set, then all together, then seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_folder", type=Path)
    parser.add_argument("--sets", default="")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--qualities", default="accurate,balanced,fast")
    parser.add_argument("--rivals", default="sequential,batched")
    asked = parser.parse_args()
    wanted = set(asked.sets.split(",")) - {""}
    everything = english_recordings()
    parts = [part for part in everything if not wanted or part.set_name in wanted]
    with tempfile.TemporaryDirectory() as folder:
        if asked.minutes:
            target = Path(folder) / "joined.wav"
            reference = join(everything, minutes=asked.minutes, target=target)
            parts.append(Recording(target, "joined", "en-US", reference, asked.minutes * 60))
        columns = [ours(asked.model_folder, Quality(each), parts) for each in asked.qualities.split(",") if each]
        columns += [theirs(asked.model_folder, each, parts) for each in asked.rivals.split(",") if each]
    show(parts, columns)


def ours(
    model_folder: Path,
    quality: Quality,
    parts: list[Recording],
    phrases: Callable[[Recording], tuple[str, ...]] = lambda _: (),
) -> Column:
    """Recognise all recordings with their windows pooled, as the scheduler pools them, and these phrases favoured."""
    recogniser, decoder = WhisperRecogniser(model_folder, quality=quality), CagedDecoder()
    samples = [decode(decoder, part.path) for part in parts]
    decoder.close()
    column = Column(quality.value)
    started, started_cpu = time.perf_counter(), time.process_time()
    heard = recognise(recogniser, samples, phrases=[phrases(part) for part in parts])
    column.cpu_seconds, column.wall_seconds = time.process_time() - started_cpu, time.perf_counter() - started
    column.texts = {
        part.path: " ".join(segment.text for segment in segments) for part, segments in zip(parts, heard, strict=True)
    }
    return column


def theirs(model_folder: Path, mode: str, parts: list[Recording], hotwords: str = "") -> Column:
    """Recognise all recordings with bare faster-whisper."""
    done = rival.run(model_folder, mode, [part.path for part in parts], hotwords=hotwords)
    texts = {part.path: done.texts[str(part.path)] for part in parts}
    return Column(f"stock {mode}", texts, done.cpu_seconds, done.wall_seconds)


def show(parts: list[Recording], columns: list[Column]) -> None:
    """Print the table."""
    scorer, totals = Scorer(), [Score() for _ in columns]
    print(f"{'WER %':24}{'words':>7}" + "".join(f"{column.name:>18}" for column in columns))
    for name in dict.fromkeys(part.set_name for part in parts):
        scores = [Score() for _ in columns]
        for part in (part for part in parts if part.set_name == name):
            scores = [
                total + scorer.score(part.reference, column.texts[part.path])
                for total, column in zip(scores, columns, strict=True)
            ]
        print(f"{name:24}{scores[0].words:7}" + "".join(f"{score.rate:18.2f}" for score in scores))
        totals = [total + score for total, score in zip(totals, scores, strict=True)]
    print(f"{'all':24}{totals[0].words:7}" + "".join(f"{score.rate:18.2f}" for score in totals))
    audio = sum(part.seconds for part in parts)
    for label, values in (
        ("processor seconds", [column.cpu_seconds for column in columns]),
        ("wall seconds", [column.wall_seconds for column in columns]),
        ("audio s / processor s", [audio / column.cpu_seconds for column in columns]),
    ):
        print(f"{label:31}" + "".join(f"{value:18.1f}" for value in values))
    print(f"audio seconds: {audio:.0f}")


if __name__ == "__main__":
    main()
