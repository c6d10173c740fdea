"""Brings our tables to the newest version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

VERSION_TABLE = "batchscribe_schema_version"


def upgrade(engine: Engine) -> None:
    """Run the migrations that are missing, in one transaction. Harmless when there are none, and from many at once."""
    with _configuration() as config, engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            # Creating a table does not begin a transaction by itself: take the write lock before anything is looked at.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(connection: Connection) -> bool:
    """Whether our tables are of the newest version that this program knows."""
    with _configuration() as config:
        newest = ScriptDirectory.from_config(config).get_current_head()
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision() == newest


@contextmanager
def _configuration() -> Iterator[Config]:
    """Tell Alembic where the migrations are."""
    with as_file(files("batchscribe.database") / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        yield config
