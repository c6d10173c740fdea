"""What the server adds to recognition: submit to COMPLETED for a five-second clip, minus the bare recognition of it."""

from __future__ import annotations

import statistics
import time
from datetime import datetime

import httpx2
import numpy as np

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.ports import ChunkAudio
from batchscribe.engines.pool import LocalEngine
from batchscribe.engines.recogniser import whisper_choice
from benchmarks.recordings import decode, english_recordings
from benchmarks.running import server

ROUNDS = 30


def main() -> None:
    """Print medians in milliseconds, warm: as the client sees it, and by the server's own times."""
    clip = min(english_recordings(), key=lambda part: abs(part.seconds - 5.0))
    decoder = CagedDecoder()
    pcm = decode(decoder, clip.path)
    decoder.close()
    with server() as running:
        bare = _bare_milliseconds(str((running.data_dir / "models" / "base").resolve()), pcm)
        seen, told = [], []
        with httpx2.Client(base_url=running.base_url, timeout=60) as http:
            for round_number in range(ROUNDS + 3):
                started = time.perf_counter()
                with clip.path.open("rb") as media:
                    job = http.post("/transcribe-batch-async", files={"file": (clip.path.name, media)}).json()
                while (answer := http.get(job["status_endpoint"], params={"wait": 30}).json())["status"] not in {
                    "COMPLETED",
                    "FAILED",
                }:
                    pass
                if round_number >= 3:
                    seen.append((time.perf_counter() - started) * 1000)
                    times = [datetime.fromisoformat(answer[key]) for key in ("creation_time", "completion_time")]
                    told.append((times[1] - times[0]).total_seconds() * 1000)
    print(f"clip of {clip.seconds:.1f} s, {ROUNDS} rounds, medians in ms")
    print(
        "| bare recognition | submit to COMPLETED, seen by the client | overhead | by the job's own times | overhead |"
    )
    print("|---|---|---|---|---|")
    client, own = statistics.median(seen), statistics.median(told)
    print(f"| {bare:.0f} | {client:.0f} | {client - bare:.0f} | {own:.0f} | {own - bare:.0f} |")


def _bare_milliseconds(model_folder: str, pcm: np.ndarray[tuple[int], np.dtype[np.int16]]) -> float:
    """Return the median time of the engine alone, in one warm child, with nothing around it."""
    from pathlib import Path

    engine = LocalEngine(whisper_choice(Path(model_folder), quality="accurate"), processes=1)
    engine.warm()
    chunk = ChunkAudio(job_name="bare", index=0, start=0.0, pcm=pcm.tobytes())
    times = []
    for round_number in range(ROUNDS // 2 + 3):
        started = time.perf_counter()
        engine.recognise(chunk, TranscriptionOptions(), on_progress=lambda _seconds: None, is_cancelled=lambda: False)
        if round_number >= 3:
            times.append((time.perf_counter() - started) * 1000)
    engine.close()
    return statistics.median(times)


if __name__ == "__main__":
    main()
