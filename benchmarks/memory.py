"""Peak memory of all processes of a server together, for a 10-minute recording and a four-hour one.

``python -m benchmarks memory 240 --speakers`` says how many minutes, and asks who speaks.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from batchscribe.client import Client
from benchmarks.recordings import english_recordings, join
from benchmarks.running import server

MINUTES = tuple(int(each) for each in os.environ.get("BENCH_MEMORY_MINUTES", "10,240").split(","))


def main(*words: str) -> None:
    """Print a row a length; the quality is the fastest, which has the most windows in hand at a time."""
    with_speakers = "--speakers" in words
    lengths = tuple(int(word) for word in words if word.isdecimal()) or MINUTES
    fields = {"show_speaker_labels": "true"} if with_speakers else {}
    print("| minutes | wall s | peak of all MB | by process MB | speakers found |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for minutes in lengths:
            recording = Path(folder) / f"{minutes}-minutes.wav"
            join(english_recordings(), minutes=minutes, target=recording)
            with server(quality="fast", max_media_seconds=str(5 * 3600)) as running, running.watch_memory() as usage:
                started = time.perf_counter()
                job = running.transcribe(recording, fields=fields)
                wall = time.perf_counter() - started
                with Client(running.base_url) as client:
                    found = str(len(client.speakers(job.job_name))) if with_speakers else "not asked"
            roles = ", ".join(f"{role} {size / 1e6:.0f}" for role, size in sorted(usage.peak_by_role.items()))
            print(f"| {minutes} | {wall:.0f} | {usage.peak_bytes / 1e6:.0f} | {roles} | {found} |", flush=True)
            recording.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
