"""Faults at single system calls: strace is attached to one thread of a running process and strikes at its K-th call."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from faults.deployment import Deployment, ServerProcess, noise, post, submit, wait_until

#: Every call by which a submission changes a file or says something to somebody.
CALLS = (
    "write", "pwrite64", "writev", "sendto", "sendmsg", "fsync", "fdatasync", "rename", "renameat", "renameat2",
    "openat", "mkdir", "unlink", "ftruncate", "flock",
)  # fmt: skip
SYNC_CALLS = ("fsync", "fdatasync")
_LINE = re.compile(r"(?P<tid>\d+) +(?P<call>\w+)\((?P<arguments>.*)")


@dataclass(frozen=True)
class Point:
    """One system call of a submission."""

    #: Which of the process's threads, in the order in which they were started; 0 is the event loop.
    thread: int
    call: str
    #: How many such calls the thread makes up to this one.
    number: int
    #: What strace says of its arguments.
    arguments: str = ""

    def __str__(self) -> str:
        return f"thread {self.thread}, {self.call} {self.number}"


def require_strace() -> None:
    """Skip where strace is not here, or may not attach to a process."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    probe = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("strace may not trace here")


def warmed_api(deployment: Deployment) -> ServerProcess:
    """Start an api that has accepted a recording already: all that it imports or opens once is imported and open."""
    api = deployment.start_api()
    for _ in range(2):
        submit(api.base_url, noise(0.1))
    return api


def threads(process: ServerProcess) -> list[int]:
    """Return the ids of a process's threads in the order in which they were started."""
    return sorted(int(each.name) for each in Path(f"/proc/{process.pid}/task").iterdir())


@contextmanager
def traced(process: ServerProcess, *options: str, thread: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Attach strace to a process with all its threads, or to one thread, while the context lasts."""
    target = process.pid if thread is None else threads(process)[thread]
    follow = ["-f"] if thread is None else []
    tracer = subprocess.Popen(
        ["strace", *follow, *options, "-p", str(target)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        waited = threads(process) if thread is None else [target]
        wait_until(lambda: all(_is_traced(each) for each in waited), 10, "strace to attach")
        yield tracer
    finally:
        with suppress(ProcessLookupError):
            tracer.send_signal(signal.SIGTERM)
        try:
            tracer.wait(10)
        except subprocess.TimeoutExpired:
            tracer.kill()
            tracer.wait()


def _is_traced(tid: int) -> bool:
    status = Path(f"/proc/{tid}/status").read_text()
    return re.search(r"^TracerPid:\t0$", status, re.MULTILINE) is None


def points_of_submission(api: ServerProcess, recording: bytes, calls: tuple[str, ...], log: Path) -> list[Point]:
    """Submit a recording untouched and return its system calls, in order."""
    return points_of(api, lambda: submit(api.base_url, recording), calls, log)


def points_of(api: ServerProcess, ask: Callable[[], object], calls: tuple[str, ...], log: Path) -> list[Point]:
    """Ask an api something and return its system calls, in order."""
    order = threads(api)
    with traced(api, "-s", "64", "-o", str(log), "-e", f"trace={','.join(calls)}"):
        ask()
        time.sleep(0.2)
    found: list[Point] = []
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None or int(match["tid"]) not in order:
            continue
        thread, call = order.index(int(match["tid"])), match["call"]
        number = 1 + sum(point.thread == thread and point.call == call for point in found)
        found.append(Point(thread=thread, call=call, number=number, arguments=match["arguments"]))
    return found


def kill_at(api: ServerProcess, point: Point, recording: bytes, *, key: str | None = None) -> tuple[str | None, bool]:
    """Submit a recording and kill the api when it makes a call.

    Returns the name of the job that a 201 told of, if one did, and whether the call was reached.
    """
    name: str | None = None

    def ask() -> None:
        nonlocal name
        answer = post(api.base_url, recording, key=key)
        assert answer.status_code == 201, answer.text
        name = str(answer.json()["job_name"])

    was_reached = kill_while(api, point, ask)
    return name, was_reached


def kill_while(api: ServerProcess, point: Point, ask: Callable[[], object]) -> bool:
    """Ask an api something and kill it when it makes a call; return whether that was reached."""
    inject = f"inject={point.call}:signal=SIGKILL:when={point.number}"
    with traced(api, "-o", os.devnull, "-e", f"trace={point.call}", "-e", inject, thread=point.thread):
        with suppress(requests.RequestException):
            ask()
        # The calls after the answer are points too.
        until = time.monotonic() + 0.3
        while not api.has_ended() and time.monotonic() < until:
            time.sleep(0.01)
        return api.has_ended()


def fail_at(api: ServerProcess, point: Point, recording: bytes) -> requests.Response:
    """Submit a recording and have one of its calls fail with EIO; return whatever is answered."""
    inject = f"inject={point.call}:error=EIO:when={point.number}"
    with traced(api, "-o", os.devnull, "-e", f"trace={point.call}", "-e", inject, thread=point.thread):
        return post(api.base_url, recording)
