"""A server under test: its processes, its settings, and a client that counts only what was answered with 201."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import psutil
import requests

from batchscribe import settings as settings_module
from batchscribe.settings import Settings
from conftest import free_port

TESTS = Path(__file__).parents[1]
FINAL = {"COMPLETED", "FAILED"}
RATE_HERTZ = 8000


class Warm:
    """The process that forks apis and workers; see ``warm.py``."""

    def __init__(self) -> None:
        paths = [str(TESTS), *(path for path in sys.path if path)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCHSCRIBE_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
        )
        assert json.loads(_pipe(self._process.stdout).readline()) == {"ready": True}

    def ask(self, **command: Any) -> dict[str, Any]:
        """Give one command and return its answer."""
        stdin = _pipe(self._process.stdin)
        stdin.write(json.dumps(command) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(_pipe(self._process.stdout).readline())
        return answer

    def end(self) -> None:
        """End it and all that it has forked."""
        with self._process:
            _pipe(self._process.stdin).close()
            self._process.wait(30)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@dataclass
class ServerProcess:
    """One api or worker."""

    warm: Warm
    kind: str
    pid: int
    log: Path
    base_url: str = ""
    code: int | None = None

    def has_ended(self) -> bool:
        """Whether the process is gone; ``code`` then says how, as subprocess does."""
        if self.code is None:
            self.code = self.warm.ask(do="poll", pid=self.pid)["code"]
        return self.code is not None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process is gone."""
        if not self.has_ended():
            os.kill(self.pid, number)

    def wait(self, seconds: float = 30.0) -> int:
        """Wait until the process is gone and return how it ended."""
        wait_until(self.has_ended, seconds, f"{self.kind} {self.pid} to end")
        assert self.code is not None
        return self.code

    def kill(self) -> None:
        """End it without a word."""
        self.send(signal.SIGKILL)
        self.wait()

    def descendants(self) -> list[psutil.Process]:
        """Return every process below this one."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []


@dataclass
class Deployment:
    """Any number of apis and workers over one database and one media store."""

    warm: Warm
    folder: Path
    settings: dict[str, str]
    #: What other variables the processes are given.
    extra_environment: dict[str, str] = field(default_factory=dict)
    processes: list[ServerProcess] = field(default_factory=list)
    #: Every process that was ever seen below one of ours.
    seen: set[psutil.Process] = field(default_factory=set)

    @property
    def data_dir(self) -> Path:
        """The data folder that all processes share."""
        return Path(self.settings.get("data_dir", self.folder / "data"))

    def environment(self, **more: str) -> dict[str, str]:
        """Return the settings as variables."""
        chosen = {"data_dir": str(self.data_dir), "engine": "scripted", "min_free_bytes": "0"} | self.settings | more
        return {f"BATCHSCRIBE_{name.upper()}": value for name, value in chosen.items()} | self.extra_environment

    def loaded_settings(self) -> Settings:
        """Return the settings as the processes read them."""
        chosen = {"data_dir": str(self.data_dir), "engine": "scripted", "min_free_bytes": "0"} | self.settings
        return settings_module.load(**chosen)

    def start(self, kind: str, *, port: int | None = None, crash: dict[str, Any] | None = None) -> ServerProcess:
        """Start one more process and return at once."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        port = port or free_port()
        log = self.folder / f"{kind}-{len(self.processes)}.log"
        started = self.warm.ask(
            do="start", kind=kind, environment=self.environment(port=str(port)), log=str(log), crash=crash
        )
        base_url = f"http://127.0.0.1:{port}" if kind == "api" else ""
        process = ServerProcess(warm=self.warm, kind=kind, pid=started["pid"], log=log, base_url=base_url)
        self.processes.append(process)
        return process

    def start_api(self, *, port: int | None = None) -> ServerProcess:
        """Start one more api and wait until it answers."""
        api = self.start("api", port=port)
        wait_until(lambda: self._answers(api), 60, "the api to answer")
        return api

    def start_worker(self, *, crash: dict[str, Any] | None = None) -> ServerProcess:
        """Start one more worker and wait until it says that it is ready."""
        worker = self.start("worker", crash=crash)

        def is_ready() -> bool:
            assert not worker.has_ended(), worker.log.read_text()
            return "worker ready" in worker.log.read_text() if worker.log.exists() else False

        wait_until(is_ready, 60, "the worker to be ready")
        return worker

    def start_pair(self) -> tuple[ServerProcess, ServerProcess]:
        """Start an api and a worker."""
        api = self.start_api()
        return api, self.start_worker()

    def freeze(self, worker: ServerProcess) -> None:
        """Stop a process where it stands, but never with SQLite's write lock in its hand: nobody else could write."""
        for _ in range(50):
            worker.send(signal.SIGSTOP)
            wait_until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED, 10, "the process to stop")
            try:
                with closing(sqlite3.connect(self.data_dir / "batchscribe.sqlite", timeout=0.5)) as database:
                    database.execute("BEGIN IMMEDIATE")
                return  # noqa: TRY300 - the lock was free, and goes with the connection
            except sqlite3.OperationalError:
                worker.send(signal.SIGCONT)
                time.sleep(0.05)
        raise AssertionError("the process was never seen without the write lock")

    def living(self) -> list[ServerProcess]:
        """Return the processes that run."""
        return [process for process in self.processes if not process.has_ended()]

    def look_at_processes(self) -> None:
        """Remember every process that is below ours now."""
        for process in self.living():
            self.seen.update(process.descendants())

    def end(self) -> list[psutil.Process]:
        """Kill every process; return those below ours that do not go with them, after killing them too."""
        self.look_at_processes()
        for process in self.living():
            process.kill()
        _, left = psutil.wait_procs(self.seen, timeout=15)
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        return left

    @staticmethod
    def _answers(api: ServerProcess) -> bool:
        assert not api.has_ended(), api.log.read_text()
        with suppress(requests.ConnectionError):
            return requests.get(api.base_url + "/health", timeout=5).status_code == 200
        return False


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until something is so and return how long that took; fail where it takes too long."""
    began_at = time.monotonic()
    while not condition():
        assert time.monotonic() - began_at < seconds, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.02)
    return time.monotonic() - began_at


def noise(seconds: float, *, seed: int = 0) -> bytes:
    """Return a recording of noise, other noise for another seed."""
    block = random.Random(seed).randbytes(2 * RATE_HERTZ)  # noqa: S311 - noise
    file = BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setparams((1, 2, RATE_HERTZ, 0, "NONE", ""))
        whole = round(seconds * RATE_HERTZ) * 2
        recording.writeframes((block * (int(seconds) + 1))[:whole])
    return file.getvalue()


def post(
    base_url: str,
    recording: bytes,
    *,
    name: str = "talk.wav",
    key: str | None = None,
    timeout: float = 60.0,
    fields: Mapping[str, str] | None = None,
) -> requests.Response:
    """Submit a recording with these fields and return whatever is answered. Raises requests' errors."""
    return requests.post(
        f"{base_url}/transcribe-batch-async",
        data=fields or {},
        files={"file": (name, recording)},
        headers={} if key is None else {"Idempotency-Key": key},
        timeout=timeout,
    )


def submit(base_url: str, recording: bytes, **options: Any) -> str:
    """Submit a recording, which must be accepted; return its job's name."""
    answer = post(base_url, recording, **options)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_name"])


def job(base_url: str, name: str, *, timeout: float = 30.0) -> dict[str, Any]:
    """Return a job as the server tells it."""
    answer = requests.get(f"{base_url}/transcribe-job/{name}", timeout=timeout)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def ended(base_url: str, name: str, *, seconds: float = 60.0) -> dict[str, Any]:
    """Wait until a job has ended, through whatever trouble there is meanwhile."""
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        with suppress(requests.RequestException, AssertionError):
            found.update(job(base_url, name, timeout=5))
        return found.get("status") in FINAL

    wait_until(has_ended, seconds, f"{name} to end, which is {found.get('status')}")
    return found


def listed(base_url: str) -> dict[str, str]:
    """Return the status of every job that the server lists, read page by page."""
    found: dict[str, str] = {}
    token = ""
    while True:
        answer = requests.get(
            f"{base_url}/transcribe-jobs", params={"max_results": "100", "next_token": token}, timeout=30
        )
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found |= {each["job_name"]: each["status"] for each in page["jobs"]}
        token = page.get("next_token") or ""
        if not token:
            return found


@contextmanager
def deployed(warm: Warm, folder: Path, **settings: str) -> Iterator[Deployment]:
    """Return a deployment without processes; whatever is started in the context ends with it."""
    deployment = Deployment(warm=warm, folder=folder, settings=settings)
    try:
        yield deployment
    finally:
        deployment.end()
