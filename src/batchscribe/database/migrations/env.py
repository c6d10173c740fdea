"""Alembic's entry: runs the migrations on the connection that ``database/upgrade.py`` hands over."""

from alembic import context

from batchscribe.database.schema import metadata
from batchscribe.database.upgrade import VERSION_TABLE


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Leave the durable engine's tables, which share an SQLite file with ours, to itself."""
    return kind != "table" or name in metadata.tables


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    include_name=_is_ours,
    render_as_batch=connection.dialect.name == "sqlite",
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
