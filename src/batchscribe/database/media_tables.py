"""The tables of recordings that are yet to come."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table, Text, false

from batchscribe.database.metadata import metadata
from batchscribe.database.utc_date_time import UtcDateTime

#: Where a job's recording is to be fetched from; a row goes as soon as it is fetched, or the job has ended.
media_sources = Table(
    "media_sources",
    metadata,
    Column("job_name", String(200), ForeignKey("transcription_jobs.name", ondelete="CASCADE"), primary_key=True),
    #: The address, which may be a secret, sealed under the server's key.
    Column("sealed_address", Text, nullable=False),
    #: Which try has its turn; the first is 0.
    Column("attempt", Integer, nullable=False, default=0, server_default="0"),
    #: When a try failed first; null while none has.
    Column("failing_since", UtcDateTime),
    #: Whether its host has ever taken a connection.
    Column("was_reached", Boolean, nullable=False, default=False, server_default=false()),
)
