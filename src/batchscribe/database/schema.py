"""The tables: one row a job, one a chunk, one a transcript, one an event. Migrations arrive at the same (tested)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
)
from sqlalchemy.types import BigInteger

from batchscribe.database.key_tables import api_key_usage, api_keys
from batchscribe.database.media_tables import media_sources
from batchscribe.database.metadata import event_id_type, metadata
from batchscribe.database.resumable_tables import resumable_uploads, upload_slices
from batchscribe.database.utc_date_time import UtcDateTime
from batchscribe.database.webhook_tables import (
    webhook_attempts,
    webhook_deliveries,
    webhook_endpoints,
    webhook_messages,
)

__all__ = [
    "api_key_usage",
    "api_keys",
    "chunks",
    "events",
    "idempotency_keys",
    "job_words",
    "jobs",
    "media_sources",
    "metadata",
    "remote_jobs",
    "remote_slots",
    "resumable_uploads",
    "takeovers",
    "transcripts",
    "upload_slices",
    "webhook_attempts",
    "webhook_deliveries",
    "webhook_endpoints",
    "webhook_messages",
    "word_lists",
    "workers",
]


def _job_name(**options: Any) -> Column[str]:  # noqa: ANN401 - handed on to Column
    """Make a column that goes with its job."""
    return Column("job_name", String(200), ForeignKey("transcription_jobs.name", ondelete="CASCADE"), **options)


jobs = Table(
    "transcription_jobs",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("status", String(20), nullable=False),
    #: Everything the caller asked for, whole.
    Column("options", JSON, nullable=False),
    Column("media_key", String(500), nullable=False),
    Column("media_format", String(10), nullable=False),
    Column("media_size_bytes", BigInteger, nullable=False),
    Column("media_url", String(700), nullable=False),
    Column("upload_seconds", Float, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    Column("media_sample_rate_hertz", Integer),
    Column("media_duration", Float),
    Column("done_duration", Float, nullable=False, default=0.0, server_default="0"),
    #: How many chunks the recording has; null until it has been cut to its end.
    Column("chunk_count", Integer),
    Column("failure_code", String(50)),
    Column("failure_reason", Text),
    Column("warnings", JSON),
    Column("priority", String(10), nullable=False, default="normal", server_default="normal"),
    #: What the caller or the server's defaults say, counted from the job's end; null means to keep.
    Column("delete_after_seconds", Integer),
    Column("delete_media_after_seconds", Integer),
    Column("chunk_seconds", Float, nullable=False, default=120.0, server_default="120"),
    #: When the job, or its recording alone, is to be deleted; null until the job ends, and where it is to be kept.
    Column("delete_at", UtcDateTime, index=True),
    Column("delete_media_at", UtcDateTime, index=True),
    #: The remote engine that the job was given to; null where a worker's own recognises it.
    Column("engine", String(20)),
    #: What the remote engine charges, by its list price; null where nobody charges anything, and until it is known.
    Column("billed_seconds", Float),
    Column("estimated_cost_usd", Float),
    #: The id of the key that the job was submitted with; empty where none was.
    Column("owner", String(40), nullable=False, default="", server_default=""),
    #: What was identified, as ``wire.py`` writes it; null until it is, and where nobody asked.
    Column("languages", JSON(none_as_null=True)),
    #: The job's own webhook: its address, its events, its payload.
    Column("webhook", JSON(none_as_null=True)),
    #: Whether the recording is yet to come from an address; until then its format is a guess and its size grows.
    Column("is_fetching", Boolean, nullable=False, default=False, server_default=false()),
    #: How large the recording is by its host's word.
    Column("declared_bytes", BigInteger),
    Index(None, "created_at", "name"),
    Index(None, "status", "created_at", "name"),
    Index(None, "owner", "created_at", "name"),
)

chunks = Table(
    "chunks",
    metadata,
    _job_name(primary_key=True),
    Column("index", Integer, primary_key=True, autoincrement=False),
    #: Seconds from the recording's start, and seconds of audio.
    Column("start", Float, nullable=False),
    Column("duration", Float, nullable=False),
    Column("audio_key", String(500), nullable=False),
    #: How many channels the audio holds, one after the other; more than one only where each is transcribed apart.
    Column("channels", Integer, nullable=False, default=1, server_default="1"),
    #: Seconds recognised so far.
    Column("done_duration", Float, nullable=False, default=0.0, server_default="0"),
    #: How often recognition was begun.
    Column("attempts", Integer, nullable=False, default=0, server_default="0"),
    Column("recognised_at", UtcDateTime),
    #: The chunk's segments as JSON, from its recognition until the transcript is joined.
    Column("fragment", Text),
    #: Its voices as JSON, for as long; null where nobody asked who speaks.
    Column("voices", Text),
)

workers = Table(
    "workers",
    metadata,
    Column("executor_id", String(200), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    #: Moves on while the worker lives.
    Column("beats", BigInteger, nullable=False, default=0, server_default="0"),
    #: By the database's clock, for people and /readyz alone.
    Column("beat_at", DateTime(timezone=True), nullable=False),
)

transcripts = Table(
    "transcripts",
    metadata,
    _job_name(primary_key=True),
    Column("text", Text, nullable=False),
    #: The master transcript as ``wire.py`` writes it.
    Column("body", Text, nullable=False),
    #: The names that people gave its speakers and channels, by label; null where they gave none.
    Column("speaker_names", JSON(none_as_null=True)),
)

#: Vocabularies and vocabulary filters.
word_lists = Table(
    "word_lists",
    metadata,
    #: The id of the key that stored it; empty where none was.
    Column("owner", String(40), primary_key=True, default="", server_default=""),
    Column("kind", String(20), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("language_code", String(20), nullable=False),
    Column("words", JSON, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

#: The words of the lists that a job names, as they were when it was submitted.
job_words = Table(
    "job_words",
    metadata,
    _job_name(primary_key=True),
    Column("kind", String(20), primary_key=True),
    Column("words", JSON, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(300), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("job_name", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)

#: Every transition of every job; a deleted job leaves ``job.deleted`` as the last of its events.
events = Table(
    "job_events",
    metadata,
    Column("id", event_id_type, primary_key=True, autoincrement=True),
    Column("job_name", String(200), nullable=False, index=True),
    Column("type", String(50), nullable=False),
    #: What the metrics need to know of it, as ``jobs.py`` writes it; null where that is nothing.
    Column("data", JSON(none_as_null=True)),
    #: The job's owner.
    Column("owner", String(40), nullable=False, default="", server_default=""),
    Column("created_at", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)

#: Every time that the work of a dead worker was handed on.
takeovers = Table(
    "takeovers",
    metadata,
    Column("id", event_id_type, primary_key=True, autoincrement=True),
    Column("executor_id", String(200), nullable=False),
    #: How many pieces of work it had in hand.
    Column("workflows", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)

#: One row a job that was given to a remote engine. It outlives its job, until nothing of it is left at the engine.
remote_jobs = Table(
    "remote_jobs",
    metadata,
    Column("job_name", String(200), primary_key=True),
    #: The job's name at the engine.
    Column("remote_name", String(200), nullable=False),
    #: One of ``remote.py: RemoteStage``.
    Column("stage", String(20), nullable=False),
    Column("media_key", String(500), nullable=False),
    Column("media_uri", String(2000), nullable=False),
    #: Who goes first: the priority's rank, then who came first.
    Column("priority_rank", Integer, nullable=False),
    Column("wanted_at", UtcDateTime, nullable=False),
    #: How often its start was tried.
    Column("attempts", Integer, nullable=False, default=0, server_default="0"),
    Column("started_at", UtcDateTime),
    Column("looked_at", UtcDateTime),
    #: When the engine last said by itself that the job has ended.
    Column("heard_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    #: Nothing is done with it before.
    Column("due_at", UtcDateTime, nullable=False),
    #: The worker that has it in hand, and until when at the latest; null where nobody has.
    Column("claimed_by", String(200)),
    Column("claimed_until", UtcDateTime),
    #: Since when the engine has let us in no more; null while it does.
    Column("denied_since", UtcDateTime),
    #: Whether the engine has, or may have, a copy of the recording that is ours to remove.
    Column("has_copy", Boolean, nullable=False),
    #: By the recording's header; null where that says nothing.
    Column("media_duration", Float),
    Index(None, "remote_name", unique=True),
    Index(None, "stage", "due_at"),
    Index(None, "stage", "priority_rank", "wanted_at"),
)

#: The right to make one call to a remote engine: as many rows an operation as it may be called in one second.
remote_slots = Table(
    "remote_slots",
    metadata,
    Column("operation", String(20), primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    #: When the slot may be taken next, by the database's clock.
    Column("free_at", UtcDateTime, nullable=False),
)
