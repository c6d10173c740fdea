"""The tables of uploads that arrive in several requests."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, LargeBinary, String, Table, Text
from sqlalchemy.types import BigInteger

from batchscribe.database.metadata import metadata
from batchscribe.database.utc_date_time import UtcDateTime

resumable_uploads = Table(
    "resumable_uploads",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(40), nullable=False),
    Column("file_name", Text, nullable=False),
    Column("fields", JSON, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("length_bytes", BigInteger, nullable=False),
    Column("offset_bytes", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("idempotency_key", String(255)),
    Column("fingerprint", String(64), nullable=False),
    #: Rises with each request that takes the upload over; only the latest may add to it.
    Column("fence", BigInteger, nullable=False),
    Column("upload_seconds", Float, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    #: Until when nobody else need begin to make the job; null while nobody does.
    Column("finishing_until", UtcDateTime),
    Column("job_name", String(200)),
    Index(None, "owner", "idempotency_key", unique=True),
)

upload_slices = Table(
    "upload_slices",
    metadata,
    Column("upload_id", String(32), ForeignKey("resumable_uploads.id", ondelete="CASCADE"), primary_key=True),
    Column("offset_bytes", BigInteger, primary_key=True, autoincrement=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("key", String(100), nullable=False),
)
