"""Recordings that the server fetches."""

import sqlalchemy as sa
from alembic import op

from batchscribe.database.utc_date_time import UtcDateTime

revision = "0040"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what the version before can leave alone."""
    op.add_column("transcription_jobs", sa.Column("is_fetching", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("transcription_jobs", sa.Column("declared_bytes", sa.BigInteger))
    op.create_table(
        "media_sources",
        sa.Column(
            "job_name",
            sa.String(200),
            sa.ForeignKey("transcription_jobs.name", name="fk_media_sources_job_name", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("sealed_address", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failing_since", UtcDateTime),
        sa.Column("was_reached", sa.Boolean, nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    """Remove it; jobs whose recording is yet to come cannot be worked on then."""
    op.drop_table("media_sources")
    with op.batch_alter_table("transcription_jobs") as table:
        table.drop_column("declared_bytes")
        table.drop_column("is_fetching")
