"""A ten-second recording that is submitted while a four-hour one is recognised: how long it waits, and is under way.

``python -m benchmarks.overtaking``; the real engine, ``accurate``. The long job is cancelled afterwards, which is timed
too: from the request until no engine process works any more.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import psutil

from batchscribe.client import Client
from benchmarks.recordings import english_recordings, join
from benchmarks.running import RunningServer, server

LONG_MINUTES = 240
ROUNDS = 10


def main() -> None:
    """Print a row with the short job alone, and one with it behind the long job."""
    clip = min(english_recordings(), key=lambda part: abs(part.seconds - 10.0))
    with tempfile.TemporaryDirectory() as folder, server() as running, Client(running.base_url) as client:
        recording = Path(folder) / "long.wav"
        join(english_recordings(), minutes=LONG_MINUTES, target=recording)
        running.transcribe(clip.path)
        print(f"a recording of {clip.seconds:.1f} s, {ROUNDS} rounds, medians (and worst) in s")
        print("| | wait for the start | until COMPLETED |")
        print("|---|---|---|")
        _row("alone", running, clip.path)
        long = client.submit(recording)
        while (client.get(long.job_name).progress or 0.0) < 0.003:
            time.sleep(0.2)
        _row("behind four hours", running, clip.path)
        client.cancel(long.job_name)
        print(f"\nengines at rest {_seconds_until_idle(running):.1f} s after the cancel")


def _row(name: str, running: RunningServer, path: Path) -> None:
    waits, ends = [], []
    for _ in range(ROUNDS):
        job = running.transcribe(path)
        assert job.creation_time is not None
        assert job.start_time is not None
        assert job.completion_time is not None
        waits.append((job.start_time - job.creation_time).total_seconds())
        ends.append((job.completion_time - job.creation_time).total_seconds())
    cells = [f"{statistics.median(each):.2f} ({max(each):.2f})" for each in (waits, ends)]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _seconds_until_idle(running: RunningServer) -> float:
    """Return when the engine processes, or those that have taken their place, last used a tenth of a core."""
    began = last_busy = time.monotonic()
    while time.monotonic() - last_busy < 2.0:
        before = _engine_seconds(running)
        time.sleep(0.2)
        if _engine_seconds(running) - before > 0.02:
            last_busy = time.monotonic()
    return last_busy - began


def _engine_seconds(running: RunningServer) -> float:
    total = 0.0
    for process in running.processes():
        try:
            if "engines.child" in " ".join(process.cmdline()):
                times = process.cpu_times()
                total += times.user + times.system
        except psutil.Error:
            continue
    return total


if __name__ == "__main__":
    main()
