"""Names of speakers, lists of words, and channels that are transcribed apart."""

import sqlalchemy as sa
from alembic import op

from batchscribe.database.utc_date_time import UtcDateTime

revision = "0020"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns that the version before can leave alone, and tables."""
    op.add_column("transcripts", sa.Column("speaker_names", sa.JSON))
    op.add_column("chunks", sa.Column("channels", sa.Integer, nullable=False, server_default="1"))
    op.create_table(
        "word_lists",
        sa.Column("owner", sa.String(40), nullable=False, server_default=""),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("language_code", sa.String(20), nullable=False),
        sa.Column("words", sa.JSON, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("owner", "kind", "name", name="pk_word_lists"),
    )
    op.create_table(
        "job_words",
        sa.Column("job_name", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("words", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("job_name", "kind", name="pk_job_words"),
        sa.ForeignKeyConstraint(
            ["job_name"], ["transcription_jobs.name"], name="fk_job_words_job_name", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("job_words")
    op.drop_table("word_lists")
    with op.batch_alter_table("chunks") as table:
        table.drop_column("channels")
    with op.batch_alter_table("transcripts") as table:
        table.drop_column("speaker_names")
