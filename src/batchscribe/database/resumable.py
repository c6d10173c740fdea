"""Queries for uploads that arrive in several requests. Every function runs in its caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, delete, func, insert, or_, select, update

from batchscribe.database.schema import resumable_uploads as uploads
from batchscribe.database.schema import upload_slices as slices
from batchscribe.domain.resumable import LIFETIME, ResumableUpload, Slice

#: How many expired uploads are looked for at a time.
BATCH = 50


def add_upload(connection: Connection, upload: ResumableUpload) -> None:
    """Insert an upload. Raises IntegrityError where its owner has one with its idempotency key."""
    connection.execute(
        insert(uploads).values(
            id=upload.id,
            owner=upload.owner,
            file_name=upload.file_name,
            fields=dict(upload.fields),
            metadata=upload.metadata,
            length_bytes=upload.length_bytes,
            offset_bytes=upload.offset_bytes,
            head=upload.head,
            idempotency_key=upload.idempotency_key,
            fingerprint=upload.fingerprint,
            fence=0,
            upload_seconds=upload.upload_seconds,
            created_at=upload.created_at,
            expires_at=upload.expires_at,
        )
    )


def find_upload(connection: Connection, upload_id: str) -> ResumableUpload | None:
    """Return an upload, also one whose time is over; None where there is none."""
    row = connection.execute(select(uploads).where(uploads.c.id == upload_id)).one_or_none()
    return None if row is None else _upload(row)


def find_by_idempotency_key(connection: Connection, owner: str, key: str) -> ResumableUpload | None:
    """Return the upload that its owner gave this name, also one whose time is over."""
    query = select(uploads).where(uploads.c.owner == owner, uploads.c.idempotency_key == key)
    row = connection.execute(query).one_or_none()
    return None if row is None else _upload(row)


def take_over(connection: Connection, upload_id: str, *, offset_bytes: int) -> int | None:
    """Let nobody else add to an upload from here on; return the fence to be named with every addition.

    None where the upload is not at this offset, or gone.
    """
    return connection.execute(
        update(uploads)
        .where(uploads.c.id == upload_id, uploads.c.offset_bytes == offset_bytes)
        .values(fence=uploads.c.fence + 1)
        .returning(uploads.c.fence)
    ).scalar_one_or_none()


def shut_out(connection: Connection, upload_id: str) -> None:
    """Let nobody add to an upload who has begun to."""
    connection.execute(update(uploads).where(uploads.c.id == upload_id).values(fence=uploads.c.fence + 1))


def add_slices(
    connection: Connection,
    upload_id: str,
    *,
    fence: int,
    offset_bytes: int,
    head: bytes,
    new: list[Slice],
    in_place_of: list[Slice],
    seconds: float,
    at: datetime,
) -> bool:
    """Make slices that are stored part of the recording, which then is durable up to ``offset_bytes``.

    False where another has taken over, or the upload is gone; then nothing is changed.
    """
    is_ours = connection.execute(
        update(uploads)
        .where(uploads.c.id == upload_id, uploads.c.fence == fence, uploads.c.job_name.is_(None))
        .values(
            offset_bytes=offset_bytes,
            head=head,
            upload_seconds=uploads.c.upload_seconds + seconds,
            expires_at=at + LIFETIME,
        )
    ).rowcount
    if not is_ours:
        return False
    replaced = [each.offset_bytes for each in in_place_of]
    if replaced:
        connection.execute(delete(slices).where(slices.c.upload_id == upload_id, slices.c.offset_bytes.in_(replaced)))
    connection.execute(
        insert(slices),
        [
            {
                "upload_id": upload_id,
                "offset_bytes": each.offset_bytes,
                "size_bytes": each.size_bytes,
                "key": each.key,
            }
            for each in new
        ],
    )
    return True


def slices_of(connection: Connection, upload_id: str) -> list[Slice]:
    """Return an upload's slices in order."""
    rows = connection.execute(select(slices).where(slices.c.upload_id == upload_id).order_by(slices.c.offset_bytes))
    return [Slice(key=row.key, offset_bytes=row.offset_bytes, size_bytes=row.size_bytes) for row in rows]


def last_slices(connection: Connection, upload_id: str, count: int) -> list[Slice]:
    """Return an upload's last slices in order, at most ``count``."""
    query = select(slices).where(slices.c.upload_id == upload_id).order_by(slices.c.offset_bytes.desc()).limit(count)
    rows = list(connection.execute(query))[::-1]
    return [Slice(key=row.key, offset_bytes=row.offset_bytes, size_bytes=row.size_bytes) for row in rows]


def claim_finishing(connection: Connection, upload_id: str, *, at: datetime, until: datetime) -> bool:
    """Whether it is for the caller to make the job of a whole upload; if so, nobody else begins before ``until``."""
    return bool(
        connection.execute(
            update(uploads)
            .where(
                uploads.c.id == upload_id,
                uploads.c.offset_bytes == uploads.c.length_bytes,
                uploads.c.job_name.is_(None),
                or_(uploads.c.finishing_until.is_(None), uploads.c.finishing_until < at),
            )
            .values(finishing_until=until)
        ).rowcount
    )


def extend_finishing(connection: Connection, upload_id: str, *, until: datetime | None) -> None:
    """Keep making the job; with None let go of it."""
    connection.execute(update(uploads).where(uploads.c.id == upload_id).values(finishing_until=until))


def note_job(connection: Connection, upload_id: str, job_name: str) -> None:
    """Note what an upload has become; it has no slices any more."""
    connection.execute(update(uploads).where(uploads.c.id == upload_id).values(job_name=job_name))
    connection.execute(delete(slices).where(slices.c.upload_id == upload_id))


def delete_upload(connection: Connection, upload_id: str) -> bool:
    """Remove an upload; False where there is none."""
    return bool(connection.execute(delete(uploads).where(uploads.c.id == upload_id)).rowcount)


def open_uploads(connection: Connection, *, at: datetime, owner: str) -> tuple[int, int]:
    """Return how many uploads of an owner are not whole, and how many bytes those of all owners may yet need.

    What is there of a recording lies twice in the store for a moment, when its slices are joined.
    """
    needed = 2 * uploads.c.length_bytes - uploads.c.offset_bytes
    query = select(
        func.coalesce(func.sum(case((uploads.c.owner == owner, 1), else_=0)), 0), func.coalesce(func.sum(needed), 0)
    ).where(uploads.c.job_name.is_(None), uploads.c.expires_at > at)
    count, size = connection.execute(query).one()
    return int(count), int(size)


def delete_expired(connection: Connection, *, at: datetime) -> list[str]:
    """Remove uploads whose time is over, at most :data:`BATCH`; return their ids: their slices are left to remove."""
    query = select(uploads.c.id).where(uploads.c.expires_at <= at).order_by(uploads.c.expires_at).limit(BATCH)
    ids = list(connection.execute(query).scalars())
    # Whoever adds to one in this moment makes it younger, or finds it gone.
    gone = delete(uploads).where(uploads.c.id.in_(ids), uploads.c.expires_at <= at).returning(uploads.c.id)
    return list(connection.execute(gone).scalars()) if ids else []


def _upload(row: Row[*tuple[Any, ...]]) -> ResumableUpload:
    return ResumableUpload(
        id=row.id,
        owner=row.owner,
        file_name=row.file_name,
        fields=row.fields,
        metadata=row.metadata,
        length_bytes=row.length_bytes,
        offset_bytes=row.offset_bytes,
        head=bytes(row.head),
        idempotency_key=row.idempotency_key,
        fingerprint=row.fingerprint,
        upload_seconds=row.upload_seconds,
        created_at=row.created_at,
        expires_at=row.expires_at,
        job_name=row.job_name,
    )
