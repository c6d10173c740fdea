"""Jobs at remote engines, the calls that may be made to them, and what they charge."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from batchscribe.database.utc_date_time import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and columns."""
    for column in (
        sa.Column("engine", sa.String(20)),
        sa.Column("billed_seconds", sa.Float),
        sa.Column("estimated_cost_usd", sa.Float),
    ):
        op.add_column("transcription_jobs", column)
    op.create_table(
        "remote_jobs",
        sa.Column("job_name", sa.String(200), nullable=False),
        sa.Column("remote_name", sa.String(200), nullable=False),
        sa.Column("stage", sa.String(20), nullable=False),
        sa.Column("media_key", sa.String(500), nullable=False),
        sa.Column("media_uri", sa.String(2000), nullable=False),
        sa.Column("priority_rank", sa.Integer, nullable=False),
        sa.Column("wanted_at", UtcDateTime, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("started_at", UtcDateTime),
        sa.Column("looked_at", UtcDateTime),
        sa.Column("heard_at", UtcDateTime),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("claimed_by", sa.String(200)),
        sa.Column("claimed_until", UtcDateTime),
        sa.Column("denied_since", UtcDateTime),
        sa.Column("has_copy", sa.Boolean, nullable=False),
        sa.Column("media_duration", sa.Float),
        sa.PrimaryKeyConstraint("job_name", name="pk_remote_jobs"),
    )
    op.create_index("ix_remote_jobs_remote_name", "remote_jobs", ["remote_name"], unique=True)
    op.create_index("ix_remote_jobs_stage_due_at", "remote_jobs", ["stage", "due_at"])
    op.create_index(
        "ix_remote_jobs_stage_priority_rank_wanted_at", "remote_jobs", ["stage", "priority_rank", "wanted_at"]
    )
    op.create_table(
        "remote_slots",
        sa.Column("operation", sa.String(20), nullable=False),
        sa.Column("slot", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("free_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("operation", "slot", name="pk_remote_slots"),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("remote_slots")
    op.drop_table("remote_jobs")
    with op.batch_alter_table("transcription_jobs") as table:
        for name in ("estimated_cost_usd", "billed_seconds", "engine"):
            table.drop_column(name)
