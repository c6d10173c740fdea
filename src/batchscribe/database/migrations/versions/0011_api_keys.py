"""API keys, and what was used with them."""

import sqlalchemy as sa
from alembic import op

from batchscribe.database.utc_date_time import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("previous_hash", sa.String(64)),
        sa.Column("previous_until", UtcDateTime),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("requests_per_second", sa.Float),
        sa.Column("jobs", sa.Integer),
        sa.Column("audio_minutes", sa.Float),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime),
        sa.Column("revoked_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_table(
        "api_key_usage",
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("audio_seconds", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "day", name="pk_api_key_usage"),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("api_key_usage")
    op.drop_table("api_keys")
