"""Slots and claims of remote jobs: many workers, one quota, on both databases."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from batchscribe.database import jobs, remote, remote_slots, workers
from batchscribe.database.connection import connect
from batchscribe.database.remote import RemoteStage
from batchscribe.database.upgrade import upgrade
from batchscribe.domain.job import Failure, JobStatus, TranscriptionJob
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.workflow.remote_quota import room_for_a_call
from batchscribe.workflow.remote_terms import RemoteTerms

NOW = datetime(2026, 2, 5, 10, 30, tzinfo=UTC)
STARTS = (RemoteStage.WANTED, RemoteStage.STARTING)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Return an empty database of either kind."""
    is_sqlite = request.param == "sqlite"
    engine = connect(f"sqlite:///{tmp_path}/a.sqlite" if is_sqlite else request.getfixturevalue("postgres_url"))
    upgrade(engine)
    with engine.begin() as connection:
        for name in ("one", "two"):
            workers.beat(connection, name, host="here", pid=1)
    yield engine
    engine.dispose()


def add(connection: Connection, name: str, *, is_wanted: bool = True, **values: Any) -> None:
    """Store a job that waits for its start."""
    job = TranscriptionJob(
        name=name,
        status=JobStatus.QUEUED,
        options=TranscriptionOptions(),
        media_key=f"audio/{name}.mp3",
        media_format=MediaFormat.MP3,
        media_size_bytes=1,
        media_url="s3://ours/a.mp3",
        upload_seconds=0.1,
        created_at=NOW,
        engine="aws",
    )
    jobs.add_job(connection, job)
    row = {"remote_name": name, "media_key": job.media_key, "media_uri": job.media_url, "priority_rank": 1}
    row |= {"wanted_at": NOW, "due_at": NOW, "has_copy": True, "attempts": 0} | values
    assert remote.add(connection, name, **row)
    if is_wanted:
        assert remote.move(connection, name, RemoteStage.COPYING, RemoteStage.WANTED)


def claimed(connection: Connection, by: str, at: datetime, most: int = 10) -> list[str]:
    """Claim rows to be started, and return their names."""
    rows = remote.claim(connection, STARTS, by=by, at=at, seconds=60.0, most=most)
    return sorted(row.job_name for row in rows)


def test_a_row_is_in_one_hand(database: Engine) -> None:
    """Until its time is over, or its worker is gone."""
    with database.begin() as connection:
        add(connection, "a")
        assert claimed(connection, "one", NOW) == ["a"]
        assert claimed(connection, "two", NOW) == []
        assert claimed(connection, "two", NOW + timedelta(seconds=61)) == ["a"]
        assert claimed(connection, "one", NOW + timedelta(seconds=62)) == []
        workers.forget(connection, "two")
        assert claimed(connection, "one", NOW + timedelta(seconds=62)) == ["a"]


def test_what_may_be_running_counts_as_running(database: Engine) -> None:
    """From before its start until AWS's end of it, though it be cancelled."""
    with database.begin() as connection:
        add(connection, "a")
        add(connection, "b")
        assert remote.running_count(connection) == 0
        assert claimed(connection, "one", NOW, most=1) == ["a"]
        assert remote.running_count(connection) == 1
        assert remote.note_started(connection, "a", by="one", at=NOW, look_at=NOW)
        jobs.cancel_job(connection, "a", at=NOW, failure=Failure(code="cancelled", reason="Cancelled by request."))
        jobs.cancel_job(connection, "b", at=NOW, failure=Failure(code="cancelled", reason="Cancelled by request."))
        assert remote.running_count(connection) == 1
        remote.forget(connection, "a")
        assert remote.running_count(connection) == 0


def test_a_discarded_row_is_left_alone_while_its_start_may_be_on_its_way(database: Engine) -> None:
    """Or the job at AWS would begin after its removal."""
    with database.begin() as connection:
        add(connection, "a")
        assert claimed(connection, "one", NOW) == ["a"]
        jobs.delete_job(connection, "a", at=NOW)
        stages = (RemoteStage.DISCARDED,)
        assert not remote.claim(connection, stages, by="two", at=NOW, seconds=60.0, most=9)
        assert not remote.note_started(connection, "a", by="one", at=NOW, look_at=NOW)
        remote.release(connection, "a", by="one")
        assert len(remote.claim(connection, stages, by="two", at=NOW, seconds=60.0, most=9)) == 1


def test_an_end_that_is_heard_before_the_start_is_noted_is_not_forgotten(database: Engine) -> None:
    """A short recording may end before our transaction does."""
    with database.begin() as connection:
        add(connection, "a")
        assert claimed(connection, "one", NOW) == ["a"]
        assert remote.hasten(connection, ["a", "unknown"], at=NOW) == 1
        later = NOW + timedelta(seconds=600)
        assert remote.note_started(connection, "a", by="one", at=NOW, look_at=later)
        assert remote.due_stages(connection, at=NOW) == {RemoteStage.STARTED}


def test_the_intent_is_stored_once_and_only_for_a_job_that_waits(database: Engine) -> None:
    """A workflow that runs again finds its row; one of a cancelled job leaves none."""
    with database.begin() as connection:
        add(connection, "a", is_wanted=False)
        row = {"media_key": "k", "media_uri": "u", "priority_rank": 1, "wanted_at": NOW, "due_at": NOW}
        row |= {"has_copy": True, "attempts": 0}
        assert not remote.add(connection, "a", remote_name="a", **row)
        assert not remote.add(connection, "unknown", remote_name="unknown", **row)


def test_priorities_go_first(database: Engine) -> None:
    """And among equals who came first."""
    with database.begin() as connection:
        add(connection, "low", priority_rank=2)
        add(connection, "late", wanted_at=NOW + timedelta(seconds=1))
        add(connection, "early")
        add(connection, "high", priority_rank=0, wanted_at=NOW + timedelta(seconds=2))
        assert [claimed(connection, "one", NOW, most=1) for _ in range(4)] == [["high"], ["early"], ["late"], ["low"]]


def test_no_second_sees_more_calls_than_the_quota(database: Engine) -> None:
    """However many threads ask at once, and however unevenly their calls arrive."""
    terms = RemoteTerms(starts_per_second=5)
    with database.begin() as connection:
        remote_slots.prepare(connection, terms.quotas, at=remote.database_now(connection))
    arrivals: list[float] = []

    def call(delay: float) -> None:
        with room_for_a_call(database, terms, remote_slots.START):
            time.sleep(delay)
            arrivals.append(time.monotonic())

    threads = [threading.Thread(target=call, args=(0.05 * (index % 4),)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    arrivals.sort()
    assert len(arrivals) == 16
    assert max(bisect_right(arrivals, at + 0.999) - index for index, at in enumerate(arrivals)) <= 5


def test_a_larger_quota_has_more_slots_and_a_smaller_one_fewer(database: Engine) -> None:
    """The setting may change while slots are there."""
    with database.begin() as connection:
        remote_slots.prepare(connection, {"start": 2}, at=NOW)
        remote_slots.prepare(connection, {"start": 4}, at=NOW)
        assert remote_slots.take(connection, "start", quota=3, most=9, at=NOW) == [0, 1, 2]
        assert remote_slots.take(connection, "start", quota=4, most=9, at=NOW) == [3]
        later = NOW + timedelta(seconds=remote_slots.LONGEST_CALL_SECONDS)
        assert len(remote_slots.take(connection, "start", quota=4, most=9, at=later)) == 4
