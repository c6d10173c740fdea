"""A server that is full says so at once, and takes recordings again as soon as it can."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from test_metrics import add_ended_jobs

from batchscribe.monitor import FULL_QUEUE_LOOK_SECONDS, QUEUE_LOOK_SECONDS
from batchscribe.web.uploads import FORM_OVERHEAD_BYTES
from running_api import WAV, RunningApi, running_api

ASYNC, SYNC = "/transcribe-batch-async", "/transcribe-batch"
MOST_JOBS = 3
GIBIBYTE = 1 << 30


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgres"))])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningApi]:
    """Run a server with as many waiting jobs as it accepts."""
    settings: dict[str, Any] = {"max_queued_jobs": MOST_JOBS}
    if request.param == "postgresql":
        settings["database_url"] = request.getfixturevalue("postgres_url")
    with running_api(tmp_path / "data", **settings) as api:
        for _ in range(MOST_JOBS):
            api.submit()
        time.sleep(QUEUE_LOOK_SECONDS + 0.1)
        yield api


def post(api: RunningApi, path: str = ASYNC) -> requests.Response:
    """Submit a recording."""
    return requests.post(api.base_url + path, files={"file": ("speech.wav", WAV)}, timeout=30)


def answer_before_the_body(api: RunningApi, path: str = ASYNC) -> tuple[str, float]:
    """Announce a large recording and send none of it; return the answer and the seconds it took."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {(4 << 20) + FORM_OVERHEAD_BYTES}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    with api.connection() as connection:
        began_at = time.monotonic()
        connection.sendall(head.encode())
        answer = connection.recv(65536)
        return answer.decode(), time.monotonic() - began_at


def until_taken(api: RunningApi, seconds: float) -> requests.Response:
    """Submit until it is accepted."""
    end = time.monotonic() + seconds
    while True:
        answer = post(api)
        if answer.status_code == 201 or time.monotonic() > end:
            return answer
        time.sleep(0.05)


class TestQueueLimit:
    """``BATCHSCRIBE_MAX_QUEUED_JOBS``."""

    @pytest.mark.parametrize("path", [ASYNC, SYNC])
    def test_a_full_queue_takes_no_more(self, full: RunningApi, path: str) -> None:
        """429 with the contract's error, a code, and when to come again; nothing is kept."""
        answer = post(full, path)
        assert answer.status_code == 429
        assert answer.headers["X-Error-Code"] == "queue_full"
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json() == {"error": f"{MOST_JOBS} jobs wait already. Try again later."}
        assert full.job_count() == MOST_JOBS
        assert full.unfinished_uploads() == []

    @pytest.mark.parametrize("path", [ASYNC, SYNC])
    def test_the_refusal_does_not_wait_for_the_recording(self, full: RunningApi, path: str) -> None:
        """It comes after the headers, and the connection ends: what follows is no request."""
        answers = [answer_before_the_body(full, path) for _ in range(9)]
        for answer, _ in answers:
            assert answer.startswith("HTTP/1.1 429 ")
            assert "retry-after: " in answer.lower()
            assert "connection: close" in answer.lower()
        assert max(seconds for _, seconds in answers) < 8.0

    def test_a_job_that_begins_makes_room_for_another(self, full: RunningApi) -> None:
        """Within a fraction of a second, and for no more than one."""
        name = full.service.list(status=None, max_results=1, next_token=None).jobs[0].name
        full.start(name)
        assert until_taken(full, FULL_QUEUE_LOOK_SECONDS + 1.0).status_code == 201
        time.sleep(QUEUE_LOOK_SECONDS + 0.1)
        assert post(full).status_code == 429

    @pytest.mark.parametrize("how", ["cancel", "delete"])
    def test_a_job_that_is_given_up_makes_room_too(self, full: RunningApi, how: str) -> None:
        """Whoever waits no longer is not counted."""
        name = full.service.list(status=None, max_results=1, next_token=None).jobs[0].name
        getattr(full.service, how)(name)
        assert until_taken(full, FULL_QUEUE_LOOK_SECONDS + 1.0).status_code == 201

    def test_everything_else_goes_on(self, full: RunningApi) -> None:
        """Polls, lists, downloads and deletions are no uploads."""
        assert post(full).status_code == 429
        name = full.get("/transcribe-jobs").json()["jobs"][0]["job_name"]
        assert full.get(f"/transcribe-job/{name}").status_code == 200
        assert full.get(f"/transcribe-job/{name}/media").content == WAV
        assert requests.delete(f"{full.base_url}/transcribe-job/{name}", timeout=30).status_code == 200

    def test_a_long_queue_is_as_quick_to_refuse(self, tmp_path: Path) -> None:
        """With 100,000 waiting jobs, and 200 uploads that all are refused."""
        with running_api(tmp_path / "data", max_queued_jobs=100_000) as api:
            with api.database.begin() as connection:
                add_ended_jobs(connection, 100_000)
                connection.exec_driver_sql("UPDATE transcription_jobs SET status = 'QUEUED'")
            seconds = []
            for _ in range(200):
                answer, took = answer_before_the_body(api)
                assert answer.startswith("HTTP/1.1 429 ")
                seconds.append(took)
        assert statistics.median(seconds) < 1.0


class TestFreeSpace:
    """``BATCHSCRIBE_MIN_FREE_BYTES``, with a disk that is really filled."""

    @pytest.fixture
    def api(self, tmp_path: Path) -> Iterator[RunningApi]:
        """Run a server that wants to keep all but half a gibibyte of what is free at present."""
        free_bytes = shutil.disk_usage(tmp_path).free
        if free_bytes < 2 * GIBIBYTE:
            pytest.skip("there is too little free space to play with")
        with running_api(tmp_path / "data", min_free_bytes=free_bytes - GIBIBYTE // 2) as running:
            yield running

    @pytest.fixture
    def ballast(self, tmp_path: Path) -> Iterator[Path]:
        """Fill a gibibyte of the disk."""
        path = tmp_path / "ballast"
        with path.open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, GIBIBYTE)
            except OSError:
                pytest.skip("this file system reserves no space")
        yield path
        path.unlink(missing_ok=True)

    @pytest.mark.parametrize("path", [ASYNC, SYNC])
    def test_a_full_disk_takes_no_more(self, api: RunningApi, ballast: Path, path: str) -> None:
        """507 with the contract's error, a code, and when to come again, before the recording is sent."""
        assert ballast.exists()
        answer = post(api, path)
        assert answer.status_code == 507
        assert answer.headers["X-Error-Code"] == "storage_full"
        assert int(answer.headers["Retry-After"]) > 0
        assert "free disk space" in answer.json()["error"]
        answers = [answer_before_the_body(api, path) for _ in range(9)]
        assert all(answer.startswith("HTTP/1.1 507 ") for answer, _ in answers)
        assert max(seconds for _, seconds in answers) < 8.0
        assert api.job_count() == 0
        assert api.unfinished_uploads() == []

    def test_room_that_comes_back_is_used(self, api: RunningApi, ballast: Path) -> None:
        """At once, and nobody has to do anything."""
        assert post(api).status_code == 507
        ballast.unlink()
        assert post(api).status_code == 201

    def test_what_is_there_already_goes_on(self, api: RunningApi, tmp_path: Path) -> None:
        """Jobs that were taken in are answered for, and transcribed."""
        name = api.submit()
        path = tmp_path / "more-ballast"
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, GIBIBYTE)
        assert post(api).status_code == 507
        api.start(name)
        api.complete(name)
        assert api.get(f"/transcribe-job/{name}").json()["transcript"] == "Hello there."
        assert api.get("/readyz").json()["parts"]["storage"]["ok"] is False
        path.unlink()
