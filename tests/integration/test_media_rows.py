"""Rows of recordings that are yet to be fetched, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, func, select

from batchscribe.database import jobs, media_sources
from batchscribe.database.connection import connect
from batchscribe.database.schema import media_sources as sources
from batchscribe.database.upgrade import upgrade
from batchscribe.domain.job import CANCELLED, JobStatus, TranscriptionJob
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.options import TranscriptionOptions

NOW = datetime(2026, 2, 5, 10, 30, tzinfo=UTC)
NAME = "transcribe-one"


@pytest.fixture(params=["sqlite", "postgresql"])
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connection]:
    """Return a transaction on a database of either kind in which one job waits for its recording."""
    is_sqlite = request.param == "sqlite"
    engine: Engine = connect(f"sqlite:///{tmp_path}/a.sqlite" if is_sqlite else request.getfixturevalue("postgres_url"))
    upgrade(engine)
    with engine.begin() as begun:
        job = TranscriptionJob(
            name=NAME,
            status=JobStatus.QUEUED,
            options=TranscriptionOptions(),
            media_key="audio/a.mp3",
            media_format=MediaFormat.MP3,
            media_size_bytes=0,
            media_url="s3://ours/audio/a.mp3",
            upload_seconds=0.0,
            created_at=NOW,
            is_fetching=True,
        )
        jobs.add_job(begun, job)
        media_sources.add(begun, NAME, "sealed")
        yield begun
    engine.dispose()


def kept(connection: Connection) -> int:
    """Count the addresses that are kept."""
    return connection.execute(select(func.count()).select_from(sources)).scalar_one()


def test_each_try_has_its_turn_and_only_that(connection: Connection) -> None:
    """A try may begin twice; once it has ended, the next has its turn, and the first failure is remembered."""
    for _ in range(2):
        source = media_sources.begin(connection, NAME, 0)
        assert source is not None
        assert (source.sealed_address, source.failing_since, source.was_reached) == ("sealed", None, False)
    assert media_sources.begin(connection, NAME, 1) is None
    assert media_sources.end_attempt(connection, NAME, 0, at=NOW)
    assert not media_sources.end_attempt(connection, NAME, 0, at=NOW)
    assert media_sources.begin(connection, NAME, 0) is None
    media_sources.note_reached(connection, NAME)
    assert media_sources.end_attempt(connection, NAME, 1, at=NOW + timedelta(minutes=5))
    source = media_sources.begin(connection, NAME, 2)
    assert source is not None
    assert (source.failing_since, source.was_reached) == (NOW, True)


def test_a_fetched_recording_is_noted_once_and_its_address_forgotten(connection: Connection) -> None:
    """What comes late for it changes nothing."""
    media_sources.note_progress(connection, NAME, 5, 10)

    def settle() -> bool:
        return media_sources.settle(
            connection, NAME, media_format=MediaFormat.WAV, media_key="audio/a.wav", media_url="s3://ours/audio/a.wav"
        )

    assert settle()
    assert media_sources.end(connection, NAME, size_bytes=10, seconds=1.5)
    assert not media_sources.end(connection, NAME, size_bytes=11, seconds=2.5)
    assert not settle()
    media_sources.note_progress(connection, NAME, 7, 12)
    job = jobs.find_job(connection, NAME)
    assert job is not None
    assert (job.media_size_bytes, job.declared_bytes, job.upload_seconds) == (10, None, 1.5)
    assert (job.media_format, job.media_key, job.is_fetching) == (MediaFormat.WAV, "audio/a.wav", False)
    assert kept(connection) == 0
    assert media_sources.begin(connection, NAME, 0) is None


@pytest.mark.parametrize("how", ["cancelled", "deleted"])
def test_a_job_that_has_ended_is_fetched_no_more(connection: Connection, how: str) -> None:
    """And its address is forgotten in the same transaction."""
    if how == "cancelled":
        assert jobs.cancel_job(connection, NAME, at=NOW, failure=CANCELLED)
    else:
        assert jobs.delete_job(connection, NAME, at=NOW)
    assert kept(connection) == 0
    assert media_sources.begin(connection, NAME, 0) is None
    assert not media_sources.end(connection, NAME, size_bytes=10, seconds=1.5)
