"""The database engine: one for our own queries and the durable engine's, so that both can share a transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from batchscribe.errors import ServiceUnavailable

#: How long a writer waits for another before it gives up, in milliseconds.
BUSY_TIMEOUT_MILLISECONDS = 30_000
WRITE_AHEAD_RETRY_SECONDS = 0.02


class ClosingPool(QueuePool):
    """A pool that closes what is given back after it was disposed of.

    A thread may have a connection in hand in that moment; SQLAlchemy would keep it open until Python collects it.
    """

    is_disposed = False

    def dispose(self) -> None:
        """Close what is here now, and later whatever comes back."""
        self.is_disposed = True
        super().dispose()

    def recreate(self) -> QueuePool:
        """Return what takes the place of a pool that was disposed of, for who comes too late; it keeps nothing."""
        successor = super().recreate()
        if isinstance(successor, ClosingPool):
            successor.is_disposed = True
        return successor

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        if self.is_disposed:
            super().dispose()


def connect(database_url: str, *, pool_size: int = 20) -> Engine:
    """Open the database; nothing is read or written yet. The folder of an SQLite file is made when it is missing."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = create_engine(url, poolclass=ClosingPool, pool_size=pool_size, max_overflow=pool_size, pool_timeout=30)
        event.listen(engine, "connect", _set_sqlite_pragmas)
        return engine
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return create_engine(url, poolclass=ClosingPool, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True)


def is_sqlite(engine: Engine) -> bool:
    """Whether the database is the embedded one."""
    return engine.dialect.name == "sqlite"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Read from the database. Raises ServiceUnavailable where it does not answer."""
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise ServiceUnavailable("The database does not answer at present. Try again in a moment.") from error


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Write to the database in one transaction. Raises ServiceUnavailable where it does not answer."""
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise ServiceUnavailable("The database does not answer at present. Try again in a moment.") from error


def _set_sqlite_pragmas(connection: sqlite3.Connection, _entry: ConnectionPoolEntry | Any) -> None:  # noqa: ANN401
    """Make every commit durable and every writer wait its turn."""
    # A deferred transaction that turns into a writer fails at once when another wrote meanwhile; IMMEDIATE waits.
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MILLISECONDS}")
    _write_ahead(connection)
    # NORMAL would lose acknowledged jobs on a power cut.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on; where it is on already, nothing is written."""
    patient_until = time.monotonic() + BUSY_TIMEOUT_MILLISECONDS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # SQLite's own patience does not hold for this change: of two that make it at once, one is refused.
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > patient_until:
                raise
            time.sleep(WRITE_AHEAD_RETRY_SECONDS)
        else:
            return
