"""Peak memory of all processes of a server together, for a 10-minute recording and a four-hour one."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.recordings import english_recordings, join
from benchmarks.running import server

MINUTES = tuple(int(each) for each in os.environ.get("BENCH_MEMORY_MINUTES", "10,240").split(","))


def main() -> None:
    """Print a row a length; the quality is the fastest, which has the most windows in hand at a time."""
    print("| minutes | wall s | peak of all MB | by process MB |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for minutes in MINUTES:
            recording = Path(folder) / f"{minutes}-minutes.wav"
            join(english_recordings(), minutes=minutes, target=recording)
            with server(quality="fast", max_media_seconds=str(5 * 3600)) as running, running.watch_memory() as usage:
                started = time.perf_counter()
                running.transcribe(recording)
                wall = time.perf_counter() - started
            roles = ", ".join(f"{role} {size / 1e6:.0f}" for role, size in sorted(usage.peak_by_role.items()))
            print(f"| {minutes} | {wall:.0f} | {usage.peak_bytes / 1e6:.0f} | {roles} |", flush=True)
            recording.unlink()


if __name__ == "__main__":
    main()
