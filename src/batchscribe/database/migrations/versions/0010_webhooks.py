"""Webhooks: endpoints, what they are told, and the log of it; owners of jobs."""

import sqlalchemy as sa
from alembic import op

from batchscribe.database.utc_date_time import UtcDateTime

revision = "0010"
down_revision = "0005"
branch_labels = None
depends_on = None

_JOBS_OF_OWNER = "ix_transcription_jobs_owner_created_at_name"
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_IS_PENDING = sa.text("state = 'pending'")


def _owner() -> sa.Column[str]:
    return sa.Column("owner", sa.String(40), nullable=False, server_default="")


def upgrade() -> None:
    """Add columns that the version before can leave alone, and tables."""
    op.add_column("transcription_jobs", _owner())
    op.add_column("transcription_jobs", sa.Column("webhook", sa.JSON))
    op.create_index(_JOBS_OF_OWNER, "transcription_jobs", ["owner", "created_at", "name"])
    op.add_column("job_events", _owner())
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(40), nullable=False),
        _owner(),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", sa.JSON, nullable=False),
        sa.Column("payload", sa.String(20), nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=""),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("state_reason", sa.Text),
        sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
        sa.Column("rotated_at", UtcDateTime),
        sa.Column("failing_since", UtcDateTime),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
    )
    op.create_index("ix_webhook_endpoints_owner", "webhook_endpoints", ["owner"])
    op.create_table(
        "webhook_messages",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("happened_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_messages"),
    )
    op.create_index("ix_webhook_messages_happened_at", "webhook_messages", ["happened_at"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("message_id", sa.String(40), nullable=False),
        _owner(),
        sa.Column("endpoint_id", sa.String(40), nullable=False),
        sa.Column("url", sa.Text),
        sa.Column("payload", sa.String(20), nullable=False),
        sa.Column("job_name", sa.String(200), nullable=False),
        sa.Column("event_type", sa.String(50), nullable=False),
        sa.Column("target", sa.String(300), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("due_at", UtcDateTime),
        sa.Column("claim", sa.String(40)),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
    )
    for columns in (
        ["message_id"],
        ["job_name"],
        ["ended_at"],
        ["owner", "created_at", "id"],
        ["endpoint_id", "created_at", "id"],
    ):
        op.create_index(f"ix_webhook_deliveries_{'_'.join(columns)}", "webhook_deliveries", columns)
    for name, columns in (("due", ["due_at", "target"]), ("target", ["target", "due_at"])):
        op.create_index(
            f"ix_webhook_deliveries_{name}",
            "webhook_deliveries",
            columns,
            sqlite_where=_IS_PENDING,
            postgresql_where=_IS_PENDING,
        )
    op.create_table(
        "webhook_attempts",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("delivery_id", sa.String(40), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("answer", sa.Text, nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_attempts"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_webhook_attempts_delivery_id", "webhook_attempts", ["delivery_id"])


def downgrade() -> None:
    """Remove them."""
    for name in ("webhook_attempts", "webhook_deliveries", "webhook_messages", "webhook_endpoints"):
        op.drop_table(name)
    op.drop_index(_JOBS_OF_OWNER, "transcription_jobs")
    with op.batch_alter_table("job_events") as table:
        table.drop_column("owner")
    with op.batch_alter_table("transcription_jobs") as table:
        table.drop_column("webhook")
        table.drop_column("owner")
