"""Queries for idempotency keys. Every function runs in its caller's transaction."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from batchscribe.database import jobs
from batchscribe.database.schema import idempotency_keys as keys
from batchscribe.domain.job import TranscriptionJob
from batchscribe.domain.submission import Idempotency
from batchscribe.errors import IdempotencyConflict

#: How long a key is remembered.
LIFETIME = timedelta(hours=24)


def remember(connection: Connection, idempotency: Idempotency, job_name: str, *, at: datetime) -> None:
    """Tie a key to a job. Raises IntegrityError where the key is tied already; one past its lifetime is not."""
    connection.execute(delete(keys).where(keys.c.key == idempotency.key, keys.c.created_at <= at - LIFETIME))
    connection.execute(
        insert(keys).values(key=idempotency.key, fingerprint=idempotency.fingerprint, job_name=job_name, created_at=at)
    )


def find(connection: Connection, key: str, *, at: datetime) -> tuple[str, str] | None:
    """Return the fingerprint and the job's name that a key is tied to, or None."""
    row = connection.execute(
        select(keys.c.fingerprint, keys.c.job_name).where(keys.c.key == key, keys.c.created_at > at - LIFETIME)
    ).one_or_none()
    return None if row is None else (row.fingerprint, row.job_name)


def earlier_job(connection: Connection, idempotency: Idempotency, *, at: datetime) -> TranscriptionJob | None:
    """Return the job that the same submission has made before, or None.

    Raises IdempotencyConflict where the key was used for something else, and where that job is gone.
    """
    found = find(connection, idempotency.key, at=at)
    if found is not None and found[0] != idempotency.fingerprint:
        raise IdempotencyConflict("This Idempotency-Key was used for another recording or other fields.")
    job = None if found is None else jobs.find_job(connection, found[1])
    if found is not None and job is None:
        raise IdempotencyConflict("The job of this Idempotency-Key has been deleted. Use a new key.")
    return job


def forget_expired(connection: Connection, *, at: datetime) -> int:
    """Remove the keys past their lifetime; return how many."""
    return connection.execute(delete(keys).where(keys.c.created_at <= at - LIFETIME)).rowcount
