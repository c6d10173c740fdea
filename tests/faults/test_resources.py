"""F5, F8, F27: the disk is full, the database is locked, descriptors run out; all comes back by itself."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
import requests

from faults.checker import Expected, check
from faults.deployment import Deployment, ServerProcess, ended, job, listed, noise, post, submit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts and limits are Linux's")

DISK_BYTES = 48 << 20


@pytest.fixture
def small_disk(tmp_path: Path, deploy: Callable[..., Deployment]) -> Iterator[Path]:  # noqa: ARG001 - ends after us
    """Return a file system of 48 MiB; it goes with the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield folder
    # Lazily: the processes end after this.
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, *, leave_bytes: int) -> Path:
    """Fill a disk but for some bytes; return the file that does."""
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler.write_bytes(bytes(max(0, free - leave_bytes)))
    return filler


@pytest.mark.faults(row="F5")
@pytest.mark.parametrize("min_free_bytes", [8 << 20, 0], ids=["with a reserve", "to the last byte"])
def test_a_full_disk_refuses_uploads_and_nothing_else(
    deploy: Callable[..., Deployment],
    small_disk: Path,
    min_free_bytes: int,
    record_property: Callable[[str, object], None],
) -> None:
    """F5: 507 or 503 with a time to try again; polls answer; a job that waits for room finishes when there is some."""
    deployment = deploy(data_dir=str(small_disk / "data"), min_free_bytes=str(min_free_bytes))
    api, worker = deployment.start_pair()
    done = submit(api.base_url, noise(2))
    ended(api.base_url, done)
    deployment.freeze(worker)
    waiting = submit(api.base_url, noise(330, seed=1))
    filler = fill(small_disk, leave_bytes=200_000)
    worker.send(signal.SIGCONT)
    refused = [post(api.base_url, noise(30)) for _ in range(3)]
    fill(small_disk / "data", leave_bytes=0)
    refused += [post(api.base_url, noise(0.5)) for _ in range(3)]
    assert {answer.status_code for answer in refused} <= {503, 507}, [answer.text for answer in refused]
    assert all(answer.headers["Retry-After"] for answer in refused)
    time.sleep(2)
    assert job(api.base_url, done)["status"] == "COMPLETED"
    assert set(listed(api.base_url)) == {done, waiting}
    assert job(api.base_url, waiting)["status"] in {"QUEUED", "IN_PROGRESS"}
    deleted = requests.delete(f"{api.base_url}/transcribe-job/{done}", timeout=60)
    assert deleted.status_code in {200, 503}, deleted.text
    filler.unlink()
    (small_disk / "data" / "filler").unlink()
    began_at = time.monotonic()
    after = submit(api.base_url, noise(2))
    for name in (waiting, after):
        ended(api.base_url, name)
    seconds = time.monotonic() - began_at
    if deleted.status_code == 503:
        assert requests.delete(f"{api.base_url}/transcribe-job/{done}", timeout=60).status_code == 200
    check(deployment, Expected(accepted=[done, waiting, after], deleted=[done]))
    codes = ", ".join(str(code) for code in sorted({answer.status_code for answer in refused}))
    record_property(
        "measured",
        f"6 of 6 uploads refused with {codes}; polls 200, delete {deleted.status_code}; "
        f"the waiting job COMPLETED {seconds:.1f} s after there was room, without a restart",
    )


@pytest.mark.faults(row="F8")
def test_a_locked_database_is_read_on_and_written_afterwards(
    deploy: Callable[..., Deployment], is_full: bool, record_property: Callable[[str, object], None]
) -> None:
    """F8: another process holds SQLite's write lock; polls answer, submissions wait or get 503, nothing is doubled."""
    deployment = deploy(scripted_real_time_factor="0.01")
    api, _ = deployment.start_pair()
    accepted = [submit(api.base_url, noise(2)), submit(api.base_url, noise(330, seed=1))]
    ended(api.base_url, accepted[0])
    hold_seconds, slowest = (40 if is_full else 3), 0.0
    with (
        closing(sqlite3.connect(deployment.data_dir / "batchscribe.sqlite", timeout=60)) as other,
        ThreadPoolExecutor(8) as clients,
    ):
        other.execute("BEGIN EXCLUSIVE")
        until = time.monotonic() + hold_seconds
        answers = [clients.submit(post, api.base_url, noise(1), timeout=120) for _ in range(8)]
        while time.monotonic() < until:
            began_at = time.monotonic()
            assert job(api.base_url, accepted[0], timeout=10)["status"] == "COMPLETED"
            assert set(listed(api.base_url)) == set(accepted)
            slowest = max(slowest, time.monotonic() - began_at)
            time.sleep(0.05)
        other.rollback()
        given = [answer.result() for answer in answers]
    for answer in given:
        if answer.status_code == 201:
            accepted.append(answer.json()["job_name"])
        else:
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"]
    check(deployment, Expected(accepted=accepted))
    refused = len(given) - len(accepted) + 2
    record_property(
        "measured",
        f"locked {hold_seconds} s: slowest poll and list {slowest * 1000:.0f} ms; 8 submissions: {8 - refused} waited "
        f"for their 201, {refused} got 503; nothing twice",
    )


@pytest.mark.faults(row="F27")
def test_a_process_without_descriptors_refuses_and_recovers(
    deploy: Callable[..., Deployment], record_property: Callable[[str, object], None]
) -> None:
    """F27: an api and a worker that may open no more files; polls on open connections answer, jobs wait."""
    deployment = deploy()
    api, worker = deployment.start_pair()
    accepted = [submit(api.base_url, noise(2))]
    ended(api.base_url, accepted[0])
    with requests.Session() as client:
        poll = f"{api.base_url}/transcribe-job/{accepted[0]}"
        assert client.get(poll, timeout=10).status_code == 200
        before = starve(api, leave=1)
        answers = []
        for _ in range(8):
            with suppress(requests.ConnectionError):
                answers.append(post(api.base_url, noise(1), timeout=20))
            assert client.get(poll, timeout=10).status_code == 200
        accepted += [answer.json()["job_name"] for answer in answers if answer.status_code == 201]
        refused = [answer for answer in answers if answer.status_code != 201]
        assert all(answer.status_code == 503 for answer in refused), [answer.text for answer in refused]
        assert len(answers) - len(refused) < 8
        resource.prlimit(api.pid, resource.RLIMIT_NOFILE, before)
        began_at = time.monotonic()
        before = starve(worker, leave=0)
        accepted += [submit(api.base_url, noise(2)), submit(api.base_url, noise(200, seed=1))]
        seconds_to_recover = time.monotonic() - began_at
        time.sleep(2)
        assert {job(api.base_url, name)["status"] for name in accepted[-2:]} <= {"QUEUED", "IN_PROGRESS"}
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, before)
    for name in accepted:
        ended(api.base_url, name)
    check(deployment, Expected(accepted=accepted, interrupted=8))
    record_property(
        "measured",
        f"8 submissions: {len(refused)} got 503, {8 - len(answers)} were not let in; polls 200; "
        f"201 {seconds_to_recover:.1f} s after there were descriptors again; the worker's jobs waited and COMPLETED",
    )


def starve(process: ServerProcess, *, leave: int) -> tuple[int, int]:
    """Let a process open only so many files more; return the limits that it had."""
    used = {int(link.name) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
    # The limit is on a descriptor's number, and there are holes among those in use.
    most = [number for number in range(max(used) + leave + 2) if number not in used][leave]
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    return resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (most, hard))
