"""Uploads that arrive in several requests."""

import sqlalchemy as sa
from alembic import op

from batchscribe.database.utc_date_time import UtcDateTime

revision = "0050"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables."""
    op.create_table(
        "resumable_uploads",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(40), nullable=False),
        sa.Column("file_name", sa.Text, nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("length_bytes", sa.BigInteger, nullable=False),
        sa.Column("offset_bytes", sa.BigInteger, nullable=False),
        sa.Column("head", sa.LargeBinary, nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("upload_seconds", sa.Float, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("finishing_until", UtcDateTime),
        sa.Column("job_name", sa.String(200)),
        sa.PrimaryKeyConstraint("id", name="pk_resumable_uploads"),
    )
    op.create_index("ix_resumable_uploads_expires_at", "resumable_uploads", ["expires_at"])
    op.create_index(
        "ix_resumable_uploads_owner_idempotency_key", "resumable_uploads", ["owner", "idempotency_key"], unique=True
    )
    op.create_table(
        "upload_slices",
        sa.Column("upload_id", sa.String(32), nullable=False),
        sa.Column("offset_bytes", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "offset_bytes", name="pk_upload_slices"),
        sa.ForeignKeyConstraint(
            ["upload_id"],
            ["resumable_uploads.id"],
            name="fk_upload_slices_upload_id",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("upload_slices")
    op.drop_table("resumable_uploads")
