"""Brings our tables to the newest version."""

from __future__ import annotations

from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine


def upgrade(engine: Engine) -> None:
    """Run the migrations that are missing, in one transaction. Harmless when there are none, and from many at once."""
    with as_file(files("batchscribe.database") / "migrations") as folder, engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            # Creating a table does not begin a transaction by itself: take the write lock before anything is looked at.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
