"""The model against a real server: the same jobs at the same moments, and how long each waited.

The server runs the scripted engine, which takes a fixed time for a second of audio and no processor, so that waiting
comes from queues alone. The model is given when each job was stored, and nothing that was measured about waiting.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

import httpx2

from benchmarks.running import server
from benchmarks.scale.counting import recording
from benchmarks.scale.measure import load_times
from benchmarks.scale.model import Fleet, Job, Model

#: Seconds for a second of audio; a short recording's two seconds in one of 16 slots, a chunk's ten in one of 4.
FACTOR = 0.1
SHORT_SECONDS, LONG_SECONDS = 20.0, 240.0
LOADS = (0.5, 0.75, 0.9)
RUN_SECONDS = 150.0


@dataclass(frozen=True, kw_only=True)
class Waited:
    """How long jobs waited for their start, and until their end, in seconds."""

    start_mean: float
    start_p99: float
    end_mean: float
    end_p99: float


def main(*loads: str) -> None:
    """Print two rows for each load and kind of job: measured and modelled."""
    print("| load | jobs | | wait for the start, mean | p99 | until the end, mean | p99 |")
    print("|---|---|---|---|---|---|---|")
    for load in [float(load) for load in loads] or LOADS:
        with server(
            engine="scripted", engine_processes="1", scripted_real_time_factor=str(FACTOR), min_free_bytes="0"
        ) as running:
            arrivals = list(_arrivals(load))
            _submit_all(running.base_url, arrivals)
            measured = _read_all(running.base_url, len(arrivals))
        for seconds, kind in ((SHORT_SECONDS, "short"), (LONG_SECONDS, "long")):
            _print(load, kind, seconds, measured, modelled(measured))


def embedded_fleet(polling_seconds: float = 0.05) -> Fleet:
    """Return the server of the validation as the model sees it."""
    return Fleet(
        workers=1,
        processes=None,
        recording_slots=16,
        chunk_slots=4,
        polling_seconds=polling_seconds,
        idle_transactions=60,
    )


def modelled(measured: list[Job]) -> list[Job]:
    """Have the model play the jobs that were measured."""
    times = replace(load_times("sqlite"), recognise=FACTOR, submit_transactions=0)
    jobs = [Job(arrival=job.arrival, audio_seconds=job.audio_seconds, priority=job.priority) for job in measured]
    return Model(embedded_fleet(), times).run(jobs)


def waited(jobs: Iterable[Job]) -> Waited:
    """Sum up how long jobs waited."""
    starts, ends = zip(*((job.started - job.arrival, job.ended - job.arrival) for job in jobs), strict=True)
    return Waited(
        start_mean=statistics.mean(starts), start_p99=_p99(starts), end_mean=statistics.mean(ends), end_p99=_p99(ends)
    )


def _p99(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def _arrivals(load: float) -> Iterable[tuple[float, float]]:
    """Yield moments and lengths: short ones keep their 16 slots as busy as the load says, long ones their 4."""
    dice = random.Random(round(load * 100))  # noqa: S311 - nothing secret
    rates = {
        SHORT_SECONDS: load * 16 / (SHORT_SECONDS * FACTOR),
        LONG_SECONDS: load * 4 / (LONG_SECONDS * FACTOR),
    }
    moments = []
    for seconds, rate in rates.items():
        moment = dice.expovariate(rate)
        while moment < RUN_SECONDS:
            moments.append((moment, seconds))
            moment += dice.expovariate(rate)
    return sorted(moments)


def _submit_all(base_url: str, arrivals: list[tuple[float, float]]) -> None:
    """Submit each recording at its moment, however long the ones before it take."""
    recordings = {seconds: recording(seconds) for seconds in (SHORT_SECONDS, LONG_SECONDS)}
    begun = time.monotonic() + 0.5
    with httpx2.Client(base_url=base_url, timeout=120) as http, ThreadPoolExecutor(16) as pool:

        def submit(moment: float, seconds: float) -> None:
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            answer = http.post(
                "/transcribe-batch-async", files={"file": (f"{seconds:.0f}.wav", recordings[seconds], "audio/wav")}
            )
            assert answer.status_code == httpx2.codes.CREATED, answer.text

        for _ in pool.map(lambda arrival: submit(*arrival), arrivals):
            pass


def _read_all(base_url: str, count: int) -> list[Job]:
    """Wait until all have ended and return them in the order in which they were stored; moments from the first on."""
    with httpx2.Client(base_url=base_url, timeout=60) as http:
        while True:
            names: list[str] = []
            token: dict[str, str] = {}
            while True:
                page = http.get("/transcribe-jobs", params={"max_results": 100, "status": "COMPLETED", **token}).json()
                names += [job["job_name"] for job in page["jobs"]]
                if "next_token" not in page:
                    break
                token = {"next_token": page["next_token"]}
            if len(names) == count:
                break
            time.sleep(2)
        answers = [http.get(f"/transcribe-job/{name}").json() for name in names]
    jobs = []
    for answer in answers:
        times = [
            datetime.fromisoformat(answer[key]).timestamp()
            for key in ("creation_time", "start_time", "completion_time")
        ]
        seconds = answer["media_duration_seconds"]
        jobs.append(Job(arrival=times[0], audio_seconds=seconds, started=times[1], ended=times[2]))
    first = min(job.arrival for job in jobs)
    for job in jobs:
        job.arrival, job.started, job.ended = job.arrival - first, job.started - first, job.ended - first
        job.priority = int(job.audio_seconds * 16_000) >> 20
    return sorted(jobs, key=lambda job: job.arrival)


def _print(load: float, kind: str, seconds: float, measured: list[Job], modelled_jobs: list[Job]) -> None:
    pairs = [
        (real, model)
        for real, model in zip(measured, modelled_jobs, strict=True)
        if abs(real.audio_seconds - seconds) < 1
    ]
    real, model = waited(pair[0] for pair in pairs), waited(pair[1] for pair in pairs)
    for name, each in (("measured", real), ("modelled", model)):
        print(
            f"| {load:.0%} | {len(pairs)} {kind} | {name} | {each.start_mean:.3f} | {each.start_p99:.3f}"
            f" | {each.end_mean:.3f} | {each.end_p99:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
