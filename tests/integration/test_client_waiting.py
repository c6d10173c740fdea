# ruff: noqa: F811 - fixtures are imported where they are asked for
"""Both clients while they wait for a job: what they endure, how often they ask, and how the waiting ends."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from client_kinds import client, make_client, script  # noqa: F401 - fixtures
from contract_server import Script, contract_server

from batchscribe.client import JobFailed, JobStatus, ServerUnreachable, WaitTimedOut


def test_wait_endures_hang_ups_and_unavailable_answers(client: Any, script: Script) -> None:
    """Connections that break and a server that is not ready are asked again."""
    script.hang_ups, script.unavailable = 2, 1
    assert client.wait("transcribe-1").status is JobStatus.COMPLETED
    assert len(script.paths) == 4


def test_wait_endures_a_restart(make_client: Any, script: Script) -> None:
    """A server that is gone for a moment and comes back at its old port is found again."""
    script.asks_until_end, script.longest_wait_seconds = 3, 0.2
    with contract_server(script) as address:
        port = int(address.rpartition(":")[2])
        client = make_client(address)
        assert client.get("transcribe-1").status is JobStatus.IN_PROGRESS

    def come_back() -> None:
        time.sleep(0.4)
        with contract_server(script, port=port):
            has_ended.wait(20)

    has_ended = threading.Event()
    thread = threading.Thread(target=come_back)
    thread.start()
    try:
        assert client.wait("transcribe-1").status is JobStatus.COMPLETED
    finally:
        has_ended.set()
        thread.join()


def test_wait_gives_up_when_its_patience_is_at_an_end(make_client: Any, script: Script) -> None:
    """A server that stays away is reported, not waited for in eternity."""
    with contract_server(script) as address:
        pass
    started_at = time.monotonic()
    with pytest.raises(ServerUnreachable, match=r"No server answers at http://127\.0\.0\.1:"):
        make_client(address, patience_seconds=0.6).wait("transcribe-1")
    assert 0.5 < time.monotonic() - started_at < 20


def test_wait_pauses_where_the_server_does_not_keep_the_question_open(client: Any, script: Script) -> None:
    """A server without ``?wait=`` is not asked in a tight loop."""
    script.asks_until_end = 4
    started_at = time.monotonic()
    client.wait("transcribe-1")
    assert time.monotonic() - started_at >= 1.5
    assert len(script.paths) == 4


def test_wait_does_not_pause_where_the_server_keeps_the_question_open(client: Any, script: Script) -> None:
    """A long poll that was held is followed by the next at once."""
    script.asks_until_end, script.longest_wait_seconds = 1, 30.0
    told: list[Any] = []
    started_at = time.monotonic()
    client.wait("transcribe-1", on_progress=told.append)
    assert time.monotonic() - started_at > 1.9
    assert script.paths == ["GET /transcribe-job/transcribe-1?wait=2"]
    assert [job.status for job in told] == [JobStatus.COMPLETED]


def test_progress_is_told_in_seconds_of_audio(client: Any, script: Script) -> None:
    """What a job says of its progress is readable while it runs."""
    script.asks_until_end = 2
    told: list[Any] = []
    client.wait("transcribe-1", on_progress=told.append)
    assert told[0].done_seconds == 15.0


def test_a_failed_job_is_raised_with_its_reason(client: Any, script: Script) -> None:
    """Who waits for a transcript that will never be learns why."""
    script.failure_reason = "The recording has no audio track."
    with pytest.raises(JobFailed, match="no audio track") as caught:
        client.wait("transcribe-1")
    assert caught.value.job.job_name == "transcribe-1"


def test_wait_ends_when_the_time_is_up(client: Any, script: Script) -> None:
    """The job goes on; only the waiting ends."""
    script.asks_until_end = 1000
    with pytest.raises(WaitTimedOut, match=r"transcribe-1 has not ended within 0\.3 seconds"):
        client.wait("transcribe-1", timeout_seconds=0.3)
