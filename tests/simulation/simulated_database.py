"""Our real tables in a database that can fail, and the durable engine's queue beside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from simulated_world import Signal, World
from sqlalchemy import Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import OperationalError

from batchscribe.database.schema import metadata
from batchscribe.workflow.dispatch import chunk_priority

_WORK_TABLE = """
CREATE TABLE work (
    id TEXT PRIMARY KEY, job_name TEXT NOT NULL, chunk_index INTEGER, priority INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'ENQUEUED', executor TEXT
)
"""


class SimulatedDatabase:
    """Our real tables in memory. A transaction is one moment; before and after it, and between reads, is a point."""

    def __init__(self, world: World, on_commit: Callable[[sqlite3.Connection], None]) -> None:
        self._world = world
        self._on_commit = on_commit
        self.raw, self._engine, empty = _memory()
        self.raw.rollback()
        self.raw.deserialize(empty)
        self.dialect = self._engine.dialect
        #: Of the transaction that is open.
        self._statements: list[tuple[str, Any]] = []
        #: How many commits will yet happen whose connection broke.
        self.late_commits = 0
        event.listen(self._engine, "before_cursor_execute", self._before_statement)

    def close(self) -> None:
        """Leave the connection to the next simulation."""
        event.remove(self._engine, "before_cursor_execute", self._before_statement)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Run a transaction, as SQLAlchemy's engine does."""
        self._world.point("before a transaction")
        self._refuse_in_outage()
        with self._engine.begin() as connection:
            self._statements.clear()
            yield connection
            if self._world.chance(self._world.faults.database_error):
                self._world.note("database error at the commit; nothing was committed")
                raise _lost()
            is_submission = "INTO transcription_jobs" in self._statements[0][0] if self._statements else False
            if is_submission and self._world.chance(self._world.faults.late_commit):
                self._world.note("the connection breaks at the commit, which will happen later")
                statements = list(self._statements)
                self.late_commits += 1
                self._world.later(self._world.dice.uniform(0.0, 3.0), lambda: self._commit_late(statements))
                raise _lost()
        self._on_commit(self.raw)
        self._world.point("after a transaction")
        if self._world.chance(self._world.faults.database_false_error):
            self._world.note("database error at the commit, although it was committed")
            raise _lost()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Read, as SQLAlchemy's engine does."""
        self._world.point("before a read")
        self._refuse_in_outage()
        if self._world.chance(self._world.faults.database_error):
            self._world.note("database error at a read")
            raise _lost()
        with self._engine.connect() as connection:
            yield connection

    def _before_statement(self, _connection: Any, _cursor: Any, sql: str, values: Any, *_: Any) -> None:
        # Within a transaction nobody else runs, which is what SQLite promises to one that writes.
        if not self.raw.in_transaction:
            self._world.point("between statements")
            self._statements.clear()
        self._statements.append((sql, values))

    def _commit_late(self, statements: list[tuple[str, Any]]) -> None:
        self.late_commits -= 1
        try:
            with self.raw:
                for sql, values in statements:
                    self.raw.execute(sql, values)
        except sqlite3.IntegrityError:
            return
        self._on_commit(self.raw)

    def _refuse_in_outage(self) -> None:
        if self._world.is_out(self._world.faults.database_outage):
            raise _lost()


class _Memory(sqlite3.Connection):
    """The database itself: SQLAlchemy closes what was in use when a greenlet is killed, but here all share it."""

    def close(self) -> None:
        """Stay open."""


@cache
def _memory() -> tuple[sqlite3.Connection, Engine, bytes]:
    """Return one connection for all simulations, since SQLAlchemy is slow to begin, and the empty tables."""
    raw = sqlite3.connect(":memory:", isolation_level="IMMEDIATE", factory=_Memory)
    engine = create_engine("sqlite://", poolclass=StaticPool, creator=lambda: raw)
    metadata.create_all(engine)
    raw.execute(_WORK_TABLE)
    raw.commit()
    raw.execute("PRAGMA foreign_keys=ON")
    return raw, engine, raw.serialize()


def _lost() -> OperationalError:
    cause = sqlite3.OperationalError("the connection was lost")
    return OperationalError("simulated", None, cause, connection_invalidated=True)


@dataclass(frozen=True, kw_only=True)
class Work:
    """One piece of work that an executor has claimed."""

    id: str
    job_name: str
    #: None for a recording.
    index: int | None


class SimulatedQueue:
    """The durable engine: work is enqueued in the caller's transaction, claimed by one, recovered from the dead."""

    def __init__(self, world: World, database: SimulatedDatabase) -> None:
        self._world, self._database = world, database
        self.changed = Signal(world)

    # What the product calls (workflow/dispatch.py).

    def enqueue_recording(self, connection: Connection, job_name: str, *, priority_rank: int, size_bytes: int) -> None:
        """Add the work of a recording, once."""
        self._enqueue(connection, job_name, job_name, None, chunk_priority(priority_rank, size_bytes))

    def enqueue_chunk(self, connection: Connection, job_name: str, index: int, *, priority_rank: int) -> None:
        """Add the work of a chunk, once."""
        self._enqueue(connection, f"{job_name}:{index}", job_name, index, chunk_priority(priority_rank, index))

    def forget_finished(self, *, most: int = 500) -> int:
        """Drop the records of finished work."""
        with self._database.begin() as connection:
            sql = "DELETE FROM work WHERE id IN (SELECT id FROM work WHERE status = 'SUCCESS' LIMIT ?)"
            return connection.exec_driver_sql(sql, (most,)).rowcount

    # What the model of a worker calls.

    def claim(self, executor: str, *, is_chunk: bool, most: int) -> list[Work]:
        """Give an executor work, best first."""
        kind = "IS NOT NULL" if is_chunk else "IS NULL"
        rows = self._run(
            f"UPDATE work SET status = 'PENDING', executor = ? WHERE id IN (SELECT id FROM work"  # noqa: S608
            f" WHERE status = 'ENQUEUED' AND chunk_index {kind} ORDER BY priority, rowid LIMIT ?)"
            " RETURNING id, job_name, chunk_index",
            executor,
            most,
        )
        return [Work(id=row[0], job_name=row[1], index=row[2]) for row in sorted(rows)]

    def finish(self, work: Work, executor: str) -> None:
        """Record that work has ended, unless it was taken away meanwhile."""
        self._run("UPDATE work SET status = 'SUCCESS' WHERE id = ? AND executor = ?", work.id, executor)

    def recover(self, executor: str) -> None:
        """Put an executor's work back."""
        self._run(
            "UPDATE work SET status = 'ENQUEUED', executor = NULL WHERE status = 'PENDING' AND executor = ?", executor
        )
        self.changed.send()

    def unfinished(self) -> list[str]:
        """Return the work that has not ended."""
        return [row[0] for row in self._run("SELECT id FROM work WHERE status != 'SUCCESS'")]

    def has_queued(self, *, is_chunk: bool) -> bool:
        """Whether work waits."""
        kind = "IS NOT NULL" if is_chunk else "IS NULL"
        return bool(self._run(f"SELECT 1 FROM work WHERE status = 'ENQUEUED' AND chunk_index {kind} LIMIT 1"))  # noqa: S608

    def _enqueue(self, connection: Connection, work_id: str, job_name: str, index: int | None, priority: int) -> None:
        sql = "INSERT OR IGNORE INTO work (id, job_name, chunk_index, priority) VALUES (?, ?, ?, ?)"
        connection.exec_driver_sql(sql, (work_id, job_name, index, priority))

    def _run(self, sql: str, *values: object) -> list[Any]:
        rows = self._database.raw.execute(sql, values).fetchall()
        self._database.raw.commit()
        return rows
