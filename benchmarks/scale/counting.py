"""Counts what the service asks of PostgreSQL: transactions of an idle worker, of a short job, of a chunk."""

from __future__ import annotations

import io
import random
import tempfile
import time
import wave
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
from sqlalchemy import Connection, create_engine, make_url, text

from benchmarks.fleet import fleet

IDLE_SECONDS = 15.0
SHORT_JOBS = 150
#: One recording of so many chunks of ten seconds.
LONG_CHUNKS = 200


@dataclass(frozen=True, kw_only=True)
class Used:
    """What the database did until now."""

    moment: float
    transactions: int
    processor_seconds: float


def count() -> dict[str, float]:
    """Run one worker with the scripted engine; return transactions and the database's processor seconds."""
    chosen = {"engine": "scripted", "engine_processes": "1", "chunk_seconds": "10", "queue_polling_seconds": "1"}
    with tempfile.TemporaryDirectory() as folder, fleet(**chosen, storage_url=Path(folder).as_uri()) as running:
        running.add_workers(1)
        url = make_url(running.environment["BATCHSCRIBE_DATABASE_URL"]).set(drivername="postgresql+psycopg")
        engine = create_engine(url)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            time.sleep(5)
            before = _used(connection)
            time.sleep(IDLE_SECONDS)
            idle = _used(connection)
            _submit(running.base_url, [5.0] * SHORT_JOBS)
            _wait(connection)
            short = _used(connection)
            _submit(running.base_url, [10.0 * LONG_CHUNKS])
            _wait(connection)
            long = _used(connection)
        engine.dispose()
    rate = (idle.transactions - before.transactions) / (idle.moment - before.moment)
    idle_cpu = (idle.processor_seconds - before.processor_seconds) / (idle.moment - before.moment)

    def beside_idling(first: Used, last: Used) -> tuple[float, float]:
        passed = last.moment - first.moment
        return (
            last.transactions - first.transactions - rate * passed,
            last.processor_seconds - first.processor_seconds - idle_cpu * passed,
        )

    short_transactions, short_cpu = beside_idling(idle, short)
    chunk_transactions, chunk_cpu = beside_idling(short, long)
    return {
        "idle_transactions_a_second": rate,
        "idle_transaction_cpu": idle_cpu / rate,
        "short_job_transactions": short_transactions / SHORT_JOBS,
        "chunk_transactions": chunk_transactions / LONG_CHUNKS,
        "transaction_cpu": (short_cpu + chunk_cpu) / (short_transactions + chunk_transactions),
    }


def _used(connection: Connection) -> Used:
    # The statistics of a session are told now and then, at the latest when it has nothing else to do for a second.
    time.sleep(2)
    row = connection.execute(
        text(
            "SELECT xact_commit + xact_rollback AS total, pg_backend_pid() AS pid FROM pg_stat_database"
            " WHERE datname = current_database()"
        )
    ).one()
    seconds = 0.0
    server = psutil.Process(row.pid).parent()
    assert server is not None
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system
    return Used(moment=time.monotonic(), transactions=int(row.total), processor_seconds=seconds)


def _submit(base_url: str, lengths: list[float]) -> None:
    bodies = {seconds: recording(seconds) for seconds in set(lengths)}
    with httpx2.Client(base_url=base_url, timeout=120) as http:
        for seconds in lengths:
            file = ("recording.wav", io.BytesIO(bodies[seconds]), "audio/wav")
            assert http.post("/transcribe-batch-async", files={"file": file}).status_code == httpx2.codes.CREATED


def _wait(connection: Connection) -> None:
    running = text("SELECT count(*) FROM transcription_jobs WHERE status IN ('QUEUED', 'IN_PROGRESS')")
    while connection.execute(running).scalar_one():
        time.sleep(1)


def recording(seconds: float) -> bytes:
    """Return a WAV file of 8 kHz noise."""
    body = io.BytesIO()
    with wave.open(body, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(8000)
        target.writeframes(random.Random(1).randbytes(round(seconds * 16_000)))  # noqa: S311 - nothing secret
    return body.getvalue()
