"""A real server for a measurement, and what all its processes use."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from batchscribe.client import Client, Job

#: Where the servers of all measurements have their models.
MODELS_FOLDER = Path(tempfile.gettempdir()) / "batchscribe-bench-models"


@dataclass
class Usage:
    """Memory of all processes of a server together, sampled while it runs (shared pages counted once: PSS)."""

    peak_bytes: int = 0
    peak_by_role: dict[str, int] = field(default_factory=dict)


@dataclass
class RunningServer:
    """A server on a free port over a data folder of its own."""

    base_url: str
    data_dir: Path
    process: subprocess.Popen[bytes]

    def processes(self) -> list[psutil.Process]:
        """Return every process of the server."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def cpu_seconds(self) -> float:
        """Return the processor seconds that the living processes, and the children they waited for, have used."""
        total = 0.0
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def transcribe(self, path: Path, language_code: str = "en-US", fields: Mapping[str, str] | None = None) -> Job:
        """Submit one recording, with the form's other fields, and wait for its end."""
        with Client(self.base_url) as client:
            return client.wait(client.submit(path, language_code=language_code, fields=fields).job_name)

    @contextmanager
    def watch_memory(self, interval_seconds: float = 0.25) -> Iterator[Usage]:
        """Sample the memory of all processes while the context lasts."""
        usage, stopped = Usage(), threading.Event()

        def sample() -> None:
            while not stopped.wait(interval_seconds):
                by_role: dict[str, int] = {}
                for process in self.processes():
                    with suppress(psutil.Error, FileNotFoundError):
                        role = _role(process)
                        by_role[role] = by_role.get(role, 0) + process.memory_full_info().pss
                usage.peak_bytes = max(usage.peak_bytes, sum(by_role.values()))
                for role, size in by_role.items():
                    usage.peak_by_role[role] = max(usage.peak_by_role.get(role, 0), size)

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield usage
        finally:
            stopped.set()
            thread.join()


@contextmanager
def server(**settings: str) -> Iterator[RunningServer]:
    """Run ``batchscribe serve`` with these settings over an empty data folder; models are shared between runs."""
    MODELS_FOLDER.mkdir(exist_ok=True)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        (data_dir / "models").symlink_to(MODELS_FOLDER)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCHSCRIBE_")}
        environment |= {
            "BATCHSCRIBE_DATA_DIR": folder,
            "BATCHSCRIBE_PORT": str(port),
            "BATCHSCRIBE_LOG_LEVEL": "WARNING",
        }
        environment |= {f"BATCHSCRIBE_{name.upper()}": value for name, value in settings.items()}
        process = subprocess.Popen([sys.executable, "-m", "batchscribe", "serve"], env=environment)
        running = RunningServer(base_url=f"http://127.0.0.1:{port}", data_dir=data_dir, process=process)
        try:
            _wait_until_ready(running)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def free_port() -> int:
    """Return a port that nobody listens on at present."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(running: RunningServer) -> None:
    import httpx2

    until = time.monotonic() + 90
    while time.monotonic() < until:
        with suppress(httpx2.TransportError):
            if httpx2.get(running.base_url + "/readyz").status_code == httpx2.codes.OK:
                return
        time.sleep(0.1)
    raise SystemExit("The server is not ready.")


def _role(process: psutil.Process) -> str:
    """Name a process by what it was started as."""
    command = " ".join(process.cmdline())
    for role in ("serve", "api", "worker"):
        if f"batchscribe {role}" in command:
            return role
    return "decoder" if "decoding" in command else "engine" if "engines" in command else "other"
