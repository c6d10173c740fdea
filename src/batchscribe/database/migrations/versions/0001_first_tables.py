"""The first tables: jobs, chunks, transcripts, events."""

import sqlalchemy as sa
from alembic import op

from batchscribe.database.utc_date_time import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_EVENT_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "transcription_jobs",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("media_key", sa.String(500), nullable=False),
        sa.Column("media_format", sa.String(10), nullable=False),
        sa.Column("media_size_bytes", sa.BigInteger, nullable=False),
        sa.Column("media_url", sa.String(700), nullable=False),
        sa.Column("upload_seconds", sa.Float, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("started_at", UtcDateTime),
        sa.Column("completed_at", UtcDateTime),
        sa.Column("media_sample_rate_hertz", sa.Integer),
        sa.Column("media_duration", sa.Float),
        sa.Column("done_duration", sa.Float, nullable=False, server_default="0"),
        sa.Column("chunk_count", sa.Integer),
        sa.Column("failure_code", sa.String(50)),
        sa.Column("failure_reason", sa.Text),
        sa.Column("warnings", sa.JSON),
        sa.PrimaryKeyConstraint("name", name="pk_transcription_jobs"),
    )
    op.create_index("ix_transcription_jobs_created_at_name", "transcription_jobs", ["created_at", "name"])
    op.create_index(
        "ix_transcription_jobs_status_created_at_name", "transcription_jobs", ["status", "created_at", "name"]
    )
    op.create_table(
        "chunks",
        sa.Column("job_name", sa.String(200), nullable=False),
        sa.Column("index", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("start", sa.Float, nullable=False),
        sa.Column("duration", sa.Float, nullable=False),
        sa.Column("audio_key", sa.String(500), nullable=False),
        sa.Column("done_duration", sa.Float, nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("recognised_at", UtcDateTime),
        sa.Column("fragment", sa.Text),
        sa.PrimaryKeyConstraint("job_name", "index", name="pk_chunks"),
        sa.ForeignKeyConstraint(
            ["job_name"], ["transcription_jobs.name"], name="fk_chunks_job_name", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "transcripts",
        sa.Column("job_name", sa.String(200), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job_name", name="pk_transcripts"),
        sa.ForeignKeyConstraint(
            ["job_name"], ["transcription_jobs.name"], name="fk_transcripts_job_name", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "job_events",
        sa.Column("id", _EVENT_ID, autoincrement=True, nullable=False),
        sa.Column("job_name", sa.String(200), nullable=False),
        sa.Column("type", sa.String(50), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_events_job_name", "job_events", ["job_name"])


def downgrade() -> None:
    """Remove the tables."""
    for table in ("job_events", "transcripts", "chunks", "transcription_jobs"):
        op.drop_table(table)
