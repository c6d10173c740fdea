"""``batchscribe serve`` keeps its two processes running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from batchscribe.supervisor import CONFIGURATION_EXIT_CODE, _Child

if TYPE_CHECKING:
    from conftest import Server


def environment() -> dict[str, str]:
    """Let a process find the package where this one does."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def until(is_so: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come so"
        time.sleep(0.02)


def halves(server: Server) -> dict[str, psutil.Process]:
    """Return the server's api and worker."""
    found = {}
    for child in psutil.Process(server.process.pid).children():
        # One that was just killed has no command line any more.
        with suppress(psutil.NoSuchProcess):
            command = child.cmdline()
            if command:
                found[command[-1]] = child
    return {name: child for name, child in found.items() if name in {"api", "worker"}}


def is_replaced(server: Server, name: str, before: psutil.Process) -> bool:
    """Whether another process is there in place of one of the halves."""
    return halves(server).get(name, before) != before


def test_a_process_that_keeps_ending_is_started_again_after_growing_waits() -> None:
    """A half that cannot live neither stays away nor keeps the machine busy."""
    child = _Child("--version", environment())
    waits, started = [], 0
    for _ in range(3):
        until(lambda: child.look() is None and child.process is not None)
        started += 1
        until(lambda: child.look() is None and child.process is None)
        waits.append(child._wait_seconds)
    assert started == 3
    assert waits == [0.2, 0.4, 0.8]


def test_a_process_that_cannot_work_as_it_is_configured_is_not_started_again() -> None:
    """Its exit code is handed on instead."""
    child = _Child("no-such-command", environment())
    codes: list[int] = []

    def is_told() -> bool:
        code = child.look()
        codes.extend([] if code is None else [code])
        return bool(codes)

    until(is_told)
    assert codes == [CONFIGURATION_EXIT_CODE]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_a_killed_half_comes_back_and_nothing_outlives_the_server(start_server: Callable[..., Server]) -> None:
    """Each half is replaced when it dies, and all end with the supervisor, however that ends."""
    server = start_server()
    for name in ("api", "worker"):
        before = halves(server)[name]
        before.kill()
        until(partial(is_replaced, server, name, before))
    everybody = psutil.Process(server.process.pid).children(recursive=True)
    server.kill()
    _, alive = psutil.wait_procs(everybody, timeout=60)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_the_server_ends_in_peace_when_it_is_told_to(start_server: Callable[..., Server]) -> None:
    """Ctrl-C ends both halves, soon and with success."""
    server = start_server()
    everybody = psutil.Process(server.process.pid).children(recursive=True)
    assert server.stop() == 0
    _, alive = psutil.wait_procs(everybody, timeout=60)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_a_second_server_over_the_same_folder_is_refused(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """It says why and ends, instead of starting a worker again and again."""
    server = start_server(tmp_path / "data")
    second = subprocess.run(
        [sys.executable, "-m", "batchscribe", "serve"],
        env=server.environment | {"PYTHONPATH": os.pathsep.join(sys.path), "BATCHSCRIBE_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == CONFIGURATION_EXIT_CODE
    assert "Another worker already uses" in second.stderr
    assert server.get("/readyz")
