"""The voices of chunks, for jobs that ask who speaks."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column that the version before can leave alone."""
    op.add_column("chunks", sa.Column("voices", sa.Text))


def downgrade() -> None:
    """Remove it."""
    with op.batch_alter_table("chunks") as table:
        table.drop_column("voices")
