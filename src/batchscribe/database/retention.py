"""Queries for what is to be deleted by its time. Every function runs in its caller's transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select, update

from batchscribe.database.schema import jobs

#: How many are deleted at a time: a few milliseconds of the database's one writer.
BATCH = 50


def expired_jobs(connection: Connection, *, at: datetime) -> list[tuple[str, str]]:
    """Return names and media keys of jobs whose time is over, at most :data:`BATCH`."""
    query = select(jobs.c.name, jobs.c.media_key).where(jobs.c.delete_at <= at).order_by(jobs.c.delete_at).limit(BATCH)
    return [(row.name, row.media_key) for row in connection.execute(query)]


def expired_media(connection: Connection, *, at: datetime) -> list[tuple[str, str]]:
    """Return names and media keys of jobs whose recording's time is over, at most :data:`BATCH`."""
    query = (
        select(jobs.c.name, jobs.c.media_key)
        .where(jobs.c.delete_media_at <= at)
        .order_by(jobs.c.delete_media_at)
        .limit(BATCH)
    )
    return [(row.name, row.media_key) for row in connection.execute(query)]


def media_is_deleted(connection: Connection, job_names: list[str]) -> None:
    """Note that the recordings of these jobs are gone."""
    connection.execute(update(jobs).where(jobs.c.name.in_(job_names)).values(delete_media_at=None))
