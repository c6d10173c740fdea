"""The languages that were identified, for jobs that ask for it."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column that the version before can leave alone."""
    op.add_column("transcription_jobs", sa.Column("languages", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    """Remove it."""
    with op.batch_alter_table("transcription_jobs") as table:
        table.drop_column("languages")
