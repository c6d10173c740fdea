"""Priorities, retention and idempotency keys."""

import sqlalchemy as sa
from alembic import op

from batchscribe.database.utc_date_time import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COLUMNS = (
    "priority",
    "chunk_seconds",
    "delete_after_seconds",
    "delete_media_after_seconds",
    "delete_at",
    "delete_media_at",
)


def upgrade() -> None:
    """Add columns that the version before can leave alone, and a table."""
    op.add_column("transcription_jobs", sa.Column("priority", sa.String(10), nullable=False, server_default="normal"))
    op.add_column("transcription_jobs", sa.Column("delete_after_seconds", sa.Integer))
    op.add_column("transcription_jobs", sa.Column("delete_media_after_seconds", sa.Integer))
    op.add_column("transcription_jobs", sa.Column("delete_at", UtcDateTime))
    op.add_column("transcription_jobs", sa.Column("delete_media_at", UtcDateTime))
    op.add_column("transcription_jobs", sa.Column("chunk_seconds", sa.Float, nullable=False, server_default="120"))
    op.create_index("ix_transcription_jobs_delete_at", "transcription_jobs", ["delete_at"])
    op.create_index("ix_transcription_jobs_delete_media_at", "transcription_jobs", ["delete_media_at"])
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("job_name", sa.String(200), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    """Remove them."""
    op.drop_table("idempotency_keys")
    for index in ("delete_at", "delete_media_at"):
        op.drop_index(f"ix_transcription_jobs_{index}", "transcription_jobs")
    with op.batch_alter_table("transcription_jobs") as table:
        for column in _COLUMNS:
            table.drop_column(column)
