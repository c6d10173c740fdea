"""Queries for recordings that are yet to be fetched. Every function runs in its caller's transaction.

A job is fetched as long as it is QUEUED and says so: what comes late, for one that has ended, finds no place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from batchscribe.database.schema import jobs
from batchscribe.database.schema import media_sources as sources
from batchscribe.domain.job import JobStatus
from batchscribe.domain.media import MediaFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSource:
    """Where a job's recording is to come from."""

    sealed_address: str
    #: When a try failed first; None while none has.
    failing_since: datetime | None
    #: Whether the host has ever taken a connection.
    was_reached: bool


def add(connection: Connection, job_name: str, sealed_address: str) -> None:
    """Note where a new job's recording is to come from."""
    connection.execute(insert(sources).values(job_name=job_name, sealed_address=sealed_address))


def begin(connection: Connection, job_name: str, attempt: int) -> MediaSource | None:
    """Begin a try, or begin it again; None where there is nothing to fetch (any more), or another try has its turn."""
    query = select(sources).where(
        sources.c.job_name == job_name,
        sources.c.attempt == attempt,
        select(jobs.c.name).where(_is_fetched(job_name)).exists(),
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return MediaSource(sealed_address=row.sealed_address, failing_since=row.failing_since, was_reached=row.was_reached)


def end_attempt(connection: Connection, job_name: str, attempt: int, *, at: datetime) -> bool:
    """Note that a try has failed, and give the turn to the next; False where that has its turn already."""
    ended = connection.execute(
        update(sources)
        .where(sources.c.job_name == job_name, sources.c.attempt == attempt)
        .values(attempt=attempt + 1, failing_since=func.coalesce(sources.c.failing_since, at))
    )
    return bool(ended.rowcount)


def note_reached(connection: Connection, job_name: str) -> None:
    """Note that the host has taken a connection."""
    connection.execute(update(sources).where(sources.c.job_name == job_name).values(was_reached=True))


def note_progress(connection: Connection, job_name: str, received_bytes: int, declared_bytes: int | None) -> None:
    """Note how much of the recording has come."""
    values = {"media_size_bytes": received_bytes, "declared_bytes": declared_bytes}
    connection.execute(update(jobs).where(_is_fetched(job_name)).values(values))


def settle(connection: Connection, job_name: str, *, media_format: MediaFormat, media_key: str, media_url: str) -> bool:
    """Write down what the recording is and where it will lie, before it lies there; False where nobody waits for it."""
    values = {"media_format": media_format.value, "media_key": media_key, "media_url": media_url}
    return bool(connection.execute(update(jobs).where(_is_fetched(job_name)).values(values)).rowcount)


def end(connection: Connection, job_name: str, *, size_bytes: int, seconds: float) -> bool:
    """Note that the recording is stored, and forget its address; False where nobody waits for it."""
    values = {"is_fetching": False, "media_size_bytes": size_bytes, "declared_bytes": None, "upload_seconds": seconds}
    if not connection.execute(update(jobs).where(_is_fetched(job_name)).values(values)).rowcount:
        return False
    forget(connection, job_name)
    return True


def forget(connection: Connection, job_name: str) -> None:
    """Forget the address of a job's recording."""
    connection.execute(delete(sources).where(sources.c.job_name == job_name))


def _is_fetched(job_name: str) -> ColumnElement[bool]:
    """Say which job is meant, and that its recording is still to come."""
    return and_(jobs.c.name == job_name, jobs.c.status == JobStatus.QUEUED.value, jobs.c.is_fetching)
