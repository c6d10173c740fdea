"""What the metrics are made of: facts beside events, and takeovers."""

import sqlalchemy as sa
from alembic import op

from batchscribe.database.utc_date_time import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add a column that the version before can leave alone, and a table."""
    op.add_column("job_events", sa.Column("data", sa.JSON))
    op.create_table(
        "takeovers",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("executor_id", sa.String(200), nullable=False),
        sa.Column("workflows", sa.Integer, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_takeovers"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("takeovers")
    with op.batch_alter_table("job_events") as table:
        table.drop_column("data")
