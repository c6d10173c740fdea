"""F19: the engine that listens crashes, is crashed again and again, or stands still."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil
import pytest
import requests

from faults.checker import Expected, check
from faults.deployment import Deployment, ServerProcess, ended, job, submit, wait_until

if TYPE_CHECKING:
    from conftest import Clip

# The short run is tests/acceptance/test_kill.py, which kills the engine that listens too.
pytestmark = [
    pytest.mark.usefixtures("only_in_full"),
    pytest.mark.skipif(sys.platform != "linux", reason="Linux's processes and signals"),
]


def engine_children(worker: ServerProcess) -> list[psutil.Process]:
    """Return the worker's engine processes."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(worker.pid).children():
            with suppress(psutil.NoSuchProcess):
                if "batchscribe.engines.child" in child.cmdline():
                    found.append(child)
    return found


@contextmanager
def crashing(worker: ServerProcess, number: signal.Signals, *, every_seconds: float) -> Iterator[list[int]]:
    """Send a signal to every engine process again and again; yields the processes that were hit."""
    stopped, hit = threading.Event(), list[int]()

    def strike() -> None:
        while not stopped.wait(every_seconds):
            for child in engine_children(worker):
                with suppress(psutil.NoSuchProcess):
                    child.send_signal(number)
                    hit.append(child.pid)

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield hit
    finally:
        stopped.set()
        thread.join()


def transcribe(base_url: str, clip: Clip) -> str:
    """Submit a clip; return its job's name."""
    return submit(base_url, clip.path.read_bytes(), name=clip.path.name)


@pytest.mark.faults(row="F19")
def test_an_engine_that_crashes_now_and_then_changes_no_word(
    deploy: Callable[..., Deployment], clips: list[Clip], record_property: Callable[[str, object], None]
) -> None:
    """F19: SIGSEGV while it recognises; the window is given to a new process, and every transcript is the same."""
    deployment = deploy(engine="local", engine_processes="2")
    api, worker = deployment.start_pair()
    english = [clip for clip in clips if clip.language_code == "en-US"]
    names = [transcribe(api.base_url, clip) for clip in english]
    undisturbed = [ended(api.base_url, name)["transcript"] for name in names]
    with crashing(worker, signal.SIGSEGV, every_seconds=5.0) as hit:
        again = [transcribe(api.base_url, clip) for clip in english]
        wait_until(lambda: len(hit) >= 2, 30, "two crashes")
    words = [ended(api.base_url, name)["transcript"] for name in again]
    assert words == undisturbed
    check(deployment, Expected(accepted=[*names, *again]))
    record_property("measured", f"{len(hit)} times SIGSEGV over {len(english)} recordings: same words")


@pytest.mark.faults(row="F19")
@pytest.mark.timeout(600)
def test_a_recording_whose_engine_dies_each_time_fails_and_the_next_does_not(
    deploy: Callable[..., Deployment], clips: list[Clip], record_property: Callable[[str, object], None]
) -> None:
    """F19: every engine process is killed soon after it began, until the job gives up with ``engine_crashed``."""
    deployment = deploy(engine="local", engine_processes="1")
    api, worker = deployment.start_pair()
    began_at = time.monotonic()
    with crashing(worker, signal.SIGKILL, every_seconds=0.05):
        poison = transcribe(api.base_url, clips[0])
        found = ended(api.base_url, poison, seconds=400)
    seconds = time.monotonic() - began_at
    assert found["status"] == "FAILED"
    healthy = transcribe(api.base_url, clips[0])
    assert ended(api.base_url, healthy, seconds=120)["status"] == "COMPLETED"
    check(deployment, Expected(accepted=[poison, healthy], codes={poison: "engine_crashed"}))
    record_property("measured", f"FAILED engine_crashed after {seconds:.0f} s; the next job COMPLETED")


@pytest.mark.faults(row="F19")
def test_a_job_whose_engine_stands_still_can_be_cancelled_and_keeps_nobody(
    deploy: Callable[..., Deployment], clips: list[Clip], record_property: Callable[[str, object], None]
) -> None:
    """F19: the only engine process is frozen; a cancel ends it within two seconds, and the next job has a new one."""
    deployment = deploy(engine="local", engine_processes="1")
    api, worker = deployment.start_pair()
    stuck = transcribe(api.base_url, max(clips, key=lambda clip: clip.seconds))
    wait_until(lambda: job(api.base_url, stuck)["status"] == "IN_PROGRESS", 20, "the job to begin")
    time.sleep(0.3)
    (child,) = engine_children(worker)
    child.send_signal(signal.SIGSTOP)
    assert job(api.base_url, stuck)["status"] == "IN_PROGRESS"
    answer = requests.post(f"{api.base_url}/transcribe-job/{stuck}/cancel", timeout=30)
    assert answer.status_code == 200
    began_at = time.monotonic()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 5, "the frozen engine to end")
    seconds = time.monotonic() - began_at
    healthy = transcribe(api.base_url, clips[0])
    assert ended(api.base_url, healthy, seconds=120)["status"] == "COMPLETED"
    check(deployment, Expected(accepted=[stuck, healthy], codes={stuck: "cancelled"}))
    record_property("measured", f"the frozen engine was ended {seconds:.1f} s after the cancel; the next job COMPLETED")
