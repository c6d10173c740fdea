"""Secrets that are planted in a whole deployment are found nowhere, through success and failure."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from conftest import MEDIA, free_port
from fault_proxy import FaultProxy, Kind, fault_proxy
from object_servers import ObjectServer
from planted import COLLECTOR_TOKEN, DATABASE_PASSWORD, OBJECT_STORE_SECRET, SERVER_KEY, names_found
from receivers import Receiver, receiving
from tus_requests import TusRequests

ADDRESS_TOKEN = "planted-address-token-d41d8c"
PATH_TOKEN = "planted-collector-path-token-52aa"

#: Lets a program write as large a core file as the system lets it.
CORE_FILES_ALLOWED = 'ulimit -c "$(ulimit -H -c)"; exec "$@"'

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for core files as Linux writes them")


@dataclass
class Deployment:
    """An api and a worker with secrets, and everything that others may read of them."""

    folder: Path
    environment: dict[str, str]
    secrets: dict[str, str]
    base_url: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    #: Every answer, its headers too, but for those in which a secret is handed out.
    answers: list[bytes] = field(default_factory=list)
    key: str = ""

    def start(self) -> None:
        """Start both halves; their output goes to one file each."""
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        for half in ("api", "worker"):
            with (self.folder / f"{half}.log").open("ab") as output:
                self.processes.append(
                    subprocess.Popen(
                        ["sh", "-c", CORE_FILES_ALLOWED, "-", sys.executable, "-m", "batchscribe", half],
                        env=self.environment | {"BATCHSCRIBE_PORT": str(port)},
                        stdout=output,
                        stderr=output,
                        cwd=self.folder / "cwd",
                    )
                )
        self.until(lambda: self.ask("GET", "/readyz").status_code == 200, 120)

    def stop(self) -> None:
        """End both halves in peace, or else without a word."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run(self, *command: str) -> str:
        """Run a command of the program on the deployment; return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "batchscribe", *command],
            env=self.environment | {"BATCHSCRIBE_URL": self.base_url, "BATCHSCRIBE_API_KEY": self.key},
            capture_output=True,
            cwd=self.folder / "cwd",
            timeout=120,
            check=False,
        )
        with (self.folder / "commands.log").open("ab") as output:
            output.write(done.stderr)
        return done.stdout.decode()

    def ask(self, method: str, path: str, *, keep: bool = True, key: str | None = None, **options: Any) -> Any:
        """Ask the api with the key; keep the answer, unless it is to hand a secret out."""
        try:
            answer = requests.request(
                method, self.base_url + path, headers={"X-API-Key": key or self.key}, timeout=60, **options
            )
        except requests.ConnectionError:
            answer = requests.Response()
            answer.status_code = 0
            return answer
        if keep:
            self.answers.append(json.dumps(dict(answer.headers)).encode() + answer.content)
        return answer

    def submit(self, content: bytes, name: str = "a.flac", **fields: str) -> str:
        """Submit a recording and return its job's name, or nothing where it is refused."""
        answer = self.ask("POST", "/transcribe-batch-async", files={"file": (name, content)}, data=fields)
        return str(answer.json()["job_name"]) if answer.status_code == 201 else ""

    def ended(self, job_name: str) -> str:
        """Wait for a job's end and return its status."""
        path = f"/transcribe-job/{job_name}?wait=5"
        statuses: list[str] = []

        def is_over() -> bool:
            answer = self.ask("GET", path)
            statuses.append(answer.json()["status"] if answer.status_code == 200 else "")
            return statuses[-1] in {"COMPLETED", "FAILED"}

        self.until(is_over, 120)
        return statuses[-1]

    def until(self, is_so: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, self.logs()[-4000:]
            time.sleep(0.05)

    def logs(self) -> str:
        """Return all that both halves and the commands have written."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def crash(self) -> None:
        """End both halves as an error in a library would, which may leave a core file."""
        for process in self.processes:
            process.send_signal(signal.SIGABRT)
            process.wait(30)
        self.processes.clear()


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a deployment that says all it can, and sends its traces where nobody listens."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("BATCHSCRIBE_", "AWS_"))}
    chosen = {
        "data_dir": str(folder / "data"),
        "engine": "scripted",
        "secret_key": SERVER_KEY,
        "egress_allow": "127.0.0.0/8",
        "log_level": "DEBUG",
        "min_free_bytes": "0",
        "otlp_traces_url": f"http://127.0.0.1:{free_port()}/{PATH_TOKEN}/v1/traces?token={COLLECTOR_TOKEN}",
    }
    return plain | {f"BATCHSCRIBE_{name.upper()}": value for name, value in (chosen | settings).items()}


@pytest.fixture
def sqlite_deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Run over SQLite and a folder."""
    (tmp_path / "cwd").mkdir()
    secrets = {"server key": SERVER_KEY, "collector token": COLLECTOR_TOKEN, "collector path": PATH_TOKEN}
    deployment = Deployment(folder=tmp_path, environment=environment(tmp_path), secrets=secrets)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()


@dataclass
class Fleet:
    """A deployment over PostgreSQL and S3, and the ways to break both."""

    deployment: Deployment
    proxy: FaultProxy
    admin_url: str
    database: str

    def allow_connections(self, *, are_allowed: bool) -> None:
        """Let sessions begin, or end all and let none begin."""
        admin = create_engine(self.admin_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with admin.connect() as connection:
            connection.exec_driver_sql(f"ALTER DATABASE {self.database} ALLOW_CONNECTIONS {are_allowed}")
            if not are_allowed:
                ends = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
                connection.execute(ends, {"name": self.database})


@pytest.fixture
def fleet(tmp_path: Path, postgres_url: str, postgres_server: str, moto: ObjectServer) -> Iterator[Fleet]:
    """Run over PostgreSQL, with a user who has a password, and over S3."""
    (tmp_path / "cwd").mkdir()
    url = make_url(postgres_url).set(password=DATABASE_PASSWORD)
    secrets = {
        "server key": SERVER_KEY,
        "collector token": COLLECTOR_TOKEN,
        "collector path": PATH_TOKEN,
        "database password": DATABASE_PASSWORD,
        "object store secret": OBJECT_STORE_SECRET,
    }
    with ExitStack() as stack:
        proxy = stack.enter_context(fault_proxy(moto.endpoint))
        chosen = environment(
            tmp_path, database_url=url.render_as_string(hide_password=False), storage_url=moto.new_url()
        )
        chosen |= moto.environment(proxy.endpoint) | {"AWS_SECRET_ACCESS_KEY": OBJECT_STORE_SECRET}
        deployment = Deployment(folder=tmp_path, environment=chosen, secrets=secrets)
        stack.callback(deployment.stop)
        deployment.run("db", "upgrade")
        deployment.start()
        admin_url = make_url(postgres_server).set(drivername="postgresql+psycopg")
        yield Fleet(
            deployment=deployment,
            proxy=proxy,
            admin_url=admin_url.render_as_string(hide_password=False),
            database=str(url.database),
        )


def use_everything(deployment: Deployment, good: Receiver) -> None:
    """Have jobs succeed and fail, receivers take and refuse, keys open and not."""
    deployment.key = deployment.run(
        "keys", "create", "the owner", "--scope", "read", "--scope", "write", "--scope", "metrics"
    ).strip()
    other = deployment.run("keys", "create", "another").strip()
    deployment.secrets |= {"API key": deployment.key, "another API key": other, "part of the key": deployment.key[-64:]}
    deployment.until(lambda: deployment.ask("GET", "/transcribe-jobs", key="none").status_code == 401)
    down = f"http://127.0.0.1:{free_port()}/{ADDRESS_TOKEN}?token={ADDRESS_TOKEN}"
    secrets: list[str] = []
    for url in (f"{good.url}/{ADDRESS_TOKEN}?token={ADDRESS_TOKEN}", down):
        made = deployment.ask("POST", "/webhook-endpoints", json={"url": url}, keep=False)
        assert made.status_code == 201, made.text
        secrets.append(made.json()["secret"])
    secrets.append(deployment.ask("GET", "/webhook-secret", keep=False).json()["secret"])
    rotated = deployment.ask("POST", f"/webhook-endpoints/{made.json()['id']}/rotate-secret", keep=False)
    secrets.append(rotated.json()["secret"])
    for number, secret in enumerate(secrets):
        assert secret.startswith("whsec_")
        deployment.secrets[f"webhook secret {number}"] = secret.removeprefix("whsec_")
    speech = (MEDIA / "en-fox.flac").read_bytes()
    assert deployment.ended(deployment.submit(speech, webhook_url=down)) == "COMPLETED"
    assert deployment.ended(deployment.submit(speech[:2000] + bytes(3000))) == "FAILED"
    # An upload in several requests, which stays open.
    tus = TusRequests(deployment.base_url, {"X-API-Key": deployment.key})
    tus.patch(tus.begin(len(speech), {"webhook_url": down}), speech[:1000], at=0)
    deployment.until(lambda: len(good.received) >= 2)
    # Refusals, each with a secret in it.
    bad_url = f"https://user:{ADDRESS_TOKEN}@example.com/?token={ADDRESS_TOKEN}"
    assert deployment.ask("POST", "/webhook-endpoints", json={"url": bad_url}).status_code == 400
    assert not deployment.submit(speech, webhook_url=f"ftp://host/?token={ADDRESS_TOKEN}")
    wrong_key = f"{deployment.key[:-1]}{'0' if deployment.key[-1] != '0' else '1'}"
    assert deployment.ask("GET", "/transcribe-jobs", key=wrong_key).status_code == 401
    for path in ("/metrics", "/readyz", "/transcribe-jobs", "/openapi.json", "/webhook-deliveries-of-nobody"):
        deployment.ask("GET", path)
    # The address that a receiver is reached at is its owner's to read, and nobody else's.
    deployment.ask("GET", "/webhook-endpoints", key=other)
    deployment.ask("GET", "/webhook-deliveries", key=other)
    deployment.run("doctor")
    deployment.run("jobs", "list")


def look_everywhere(deployment: Deployment, database: bytes) -> None:
    """Fail where a secret stands in a log, an answer, the database, or any file of the deployment."""
    secrets = deployment.secrets | {"address token": ADDRESS_TOKEN}
    places = {"the answers": b"\n".join(deployment.answers), "the database": database}
    for path in sorted(deployment.folder.rglob("*")):
        if path.is_file():
            places[str(path.relative_to(deployment.folder))] = path.read_bytes()
    found = {place: names for place, content in places.items() if (names := names_found(secrets, content))}
    assert found == {}
    assert not [path for path in deployment.folder.rglob("core*") if path.is_file()]
    assert len(deployment.answers) > 15


def test_no_secret_is_found_over_sqlite_and_a_folder(sqlite_deployment: Deployment) -> None:
    """Nor after both halves were ended in the middle of a job, as a crash would."""
    with receiving() as good:
        use_everything(sqlite_deployment, good)
        sqlite_deployment.until(lambda: re.search("(?i)retry|export", sqlite_deployment.logs()) is not None)
        sqlite_deployment.submit((MEDIA / "en-fox.flac").read_bytes())
        sqlite_deployment.crash()
    look_everywhere(sqlite_deployment, b"")


@pytest.mark.xdist_group("postgres")
def test_no_secret_is_found_over_postgresql_and_s3(fleet: Fleet) -> None:
    """Nor after the database and the bucket were gone for a while, and came back."""
    deployment = fleet.deployment
    with receiving() as good:
        use_everything(deployment, good)
        fleet.proxy.fail(Kind.ANSWER, status=403, code="SignatureDoesNotMatch")
        deployment.submit((MEDIA / "en-fox.flac").read_bytes())
        fleet.proxy.faults.clear()
        fleet.allow_connections(are_allowed=False)
        for path in ("/transcribe-jobs", "/metrics", "/readyz"):
            deployment.ask("GET", path)
        deployment.until(lambda: "no sign of life could be given" in deployment.logs())
        deployment.run("doctor")
        deployment.run("db", "upgrade")
        fleet.allow_connections(are_allowed=True)
        deployment.until(lambda: deployment.ask("GET", "/transcribe-jobs").status_code == 200)
        deployment.submit((MEDIA / "en-fox.flac").read_bytes())
        deployment.crash()
    look_everywhere(deployment, dump(deployment.environment["BATCHSCRIBE_DATABASE_URL"]))


def dump(url: str) -> bytes:
    """Return every row of every table of a PostgreSQL database as text."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        tables = connection.execute(
            text("SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'dbos')")
        ).all()
        assert len(tables) > 10
        rows = [
            str(row)
            for schema, table in tables
            for (row,) in connection.exec_driver_sql(f'SELECT t::text FROM "{schema}"."{table}" AS t')  # noqa: S608 - the database's own names
        ]
    return "\n".join(rows).encode()
