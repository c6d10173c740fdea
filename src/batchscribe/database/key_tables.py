"""The tables of API keys and of what is done with them."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Integer, String, Table, Text

from batchscribe.database.metadata import metadata
from batchscribe.database.utc_date_time import UtcDateTime

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    #: SHA-256 of the secret, which is kept nowhere.
    Column("secret_hash", String(64), nullable=False),
    Column("previous_hash", String(64)),
    Column("previous_until", UtcDateTime),
    Column("scopes", JSON, nullable=False),
    Column("requests_per_second", Float),
    Column("jobs", Integer),
    Column("audio_minutes", Float),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)

#: Seconds of audio that were transcribed for each key on each day of UTC.
api_key_usage = Table(
    "api_key_usage",
    metadata,
    Column("key_id", String(40), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("audio_seconds", Float, nullable=False),
)
