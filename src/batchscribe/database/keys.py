"""Queries for API keys and what is used with them. Every function runs in its caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from batchscribe.database.schema import api_key_usage as usage
from batchscribe.database.schema import api_keys as keys
from batchscribe.database.schema import jobs
from batchscribe.domain.job import JobStatus
from batchscribe.domain.keys import ROTATION, ApiKey, Quotas, hash_of


def add_key(connection: Connection, key: ApiKey) -> None:
    """Insert a key."""
    connection.execute(
        insert(keys).values(
            id=key.id,
            name=key.name,
            secret_hash=key.secret_hash,
            scopes=list(key.scopes),
            requests_per_second=key.quotas.requests_per_second,
            jobs=key.quotas.jobs,
            audio_minutes=key.quotas.audio_minutes,
            created_at=key.created_at,
            expires_at=key.expires_at,
        )
    )


def find_key(connection: Connection, key_id: str) -> ApiKey | None:
    """Return a key, also one that is not good any more; None where there is none."""
    row = connection.execute(select(keys).where(keys.c.id == key_id)).one_or_none()
    return None if row is None else _key(row)


def list_keys(connection: Connection) -> list[ApiKey]:
    """Return all keys, oldest first."""
    return [_key(row) for row in connection.execute(select(keys).order_by(keys.c.created_at, keys.c.id))]


def has_keys(connection: Connection) -> bool:
    """Whether there is or was any key: revoking the last one does not open the server."""
    return connection.execute(select(keys.c.id).limit(1)).one_or_none() is not None


def rotate_key(connection: Connection, key: ApiKey, secret: str, *, at: datetime) -> None:
    """Give a key another secret; the one before opens for a day more."""
    connection.execute(
        update(keys)
        .where(keys.c.id == key.id)
        .values(secret_hash=hash_of(secret), previous_hash=key.secret_hash, previous_until=at + ROTATION)
    )


def revoke_key(connection: Connection, key_id: str, *, at: datetime) -> None:
    """Close a key for ever."""
    connection.execute(update(keys).where(keys.c.id == key_id).values(revoked_at=at))


def open_jobs(connection: Connection, key_id: str) -> int:
    """Return how many jobs of a key wait or run. Others who submit with the key wait until this transaction ends."""
    # SQLite has one writer anyway, and this is asked after the job was written.
    connection.execute(select(keys.c.id).where(keys.c.id == key_id).with_for_update())
    is_open = jobs.c.status.in_([JobStatus.QUEUED.value, JobStatus.IN_PROGRESS.value])
    return connection.execute(select(func.count()).where(jobs.c.owner == key_id, is_open)).scalar_one()


def used_seconds(connection: Connection, key_id: str, *, at: datetime) -> float:
    """Return how many seconds of audio were transcribed for a key on this day."""
    query = select(usage.c.audio_seconds).where(usage.c.key_id == key_id, usage.c.day == _day(at))
    return connection.execute(query).scalar_one_or_none() or 0.0


def note_use(connection: Connection, key_id: str, audio_seconds: float, *, at: datetime) -> None:
    """Count audio that was transcribed."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(usage).values(key_id=key_id, day=_day(at), audio_seconds=audio_seconds)
    total = usage.c.audio_seconds + audio_seconds
    connection.execute(statement.on_conflict_do_update(index_elements=["key_id", "day"], set_={"audio_seconds": total}))


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _key(row: Row[*tuple[Any, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        secret_hash=row.secret_hash,
        scopes=tuple(row.scopes),
        quotas=Quotas(requests_per_second=row.requests_per_second, jobs=row.jobs, audio_minutes=row.audio_minutes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        previous_hash=row.previous_hash,
        previous_until=row.previous_until,
    )
