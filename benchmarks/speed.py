"""Speed of the server on long recordings and on many short ones, beside bare faster-whisper in the same run."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import rival
from benchmarks.recordings import english_recordings, join
from benchmarks.running import server
from benchmarks.scoring import Score, Scorer

#: Minutes of the long recordings; BENCH_MINUTES="10" measures only the first.
MINUTES = tuple(int(each) for each in os.environ.get("BENCH_MINUTES", "10,60").split(","))
#: The defaults take many times as long as all others together; BENCH_RIVALS="batched" leaves them out.
RIVALS = tuple(os.environ.get("BENCH_RIVALS", "sequential,batched").split(","))
_RIVAL_NAMES = {"sequential": "faster-whisper defaults", "batched": "faster-whisper batched 8, beam 5"}
QUALITIES = tuple(os.environ.get("BENCH_QUALITIES", "accurate,balanced,fast").split(","))


def main() -> None:
    """Print a row for each way and length: wall seconds, times real time, ratio to the batched rival, WER, memory."""
    scorer = Scorer()
    print("| recording | way | wall s | x real time | x batched rival | WER % | CPU s | peak memory MB |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for minutes in MINUTES:
            recording = Path(folder) / f"{minutes}-minutes.wav"
            reference = join(english_recordings(), minutes=minutes, target=recording)
            seconds = (recording.stat().st_size - 44) / 32000
            _compare(f"{minutes} min", [recording], [reference], seconds, scorer)
    short = [part for part in english_recordings() if part.seconds < 15]
    references, seconds = [part.reference for part in short], sum(part.seconds for part in short)
    _compare(f"{len(short)} short files", [part.path for part in short], references, seconds, scorer)


def _compare(name: str, files: list[Path], references: list[str], seconds: float, scorer: Scorer) -> None:
    with server(quality=QUALITIES[0]) as running:
        model = (running.data_dir / "models" / "base").resolve()
    rivals = {mode: rival.run(model, mode, files) for mode in RIVALS}
    batched = rivals["batched"]

    def row(way: str, texts: list[str], wall: float, cpu: float, peak: int) -> None:
        score = sum((scorer.score(*pair) for pair in zip(references, texts, strict=True)), Score())
        print(
            f"| {name} | {way} | {wall:.1f} | {seconds / wall:.1f} | {batched.wall_seconds / wall:.2f} "
            f"| {score.rate:.2f} | {cpu:.0f} | {peak / 1e6:.0f} |",
            flush=True,
        )

    for mode, run in rivals.items():
        row(
            _RIVAL_NAMES[mode],
            [run.texts[str(file)] for file in files],
            run.wall_seconds,
            run.cpu_seconds,
            run.peak_bytes,
        )
    for quality in QUALITIES:
        with server(quality=quality) as running, running.watch_memory(interval_seconds=1.0) as usage:
            cpu = running.cpu_seconds()
            started = time.perf_counter()
            with ThreadPoolExecutor(len(files)) as pool:
                texts = [job.transcript or "" for job in pool.map(running.transcribe, files)]
            wall = time.perf_counter() - started
            cpu = running.cpu_seconds() - cpu
        row(f"server, {quality}", texts, wall, cpu, usage.peak_bytes)


if __name__ == "__main__":
    main()
