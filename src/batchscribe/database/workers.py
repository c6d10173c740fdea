"""Queries for workers: who is at work, told by a count that only a living worker moves on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from batchscribe.database.schema import takeovers, workers

#: A worker that gave a sign of life within so many seconds is at work.
LIVELY_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeoverRecord:
    """One time that a dead worker's work was handed on. Ids grow."""

    id: int
    #: How many pieces of work it had in hand.
    workflows: int


def beat(connection: Connection, executor_id: str, *, host: str, pid: int) -> bool:
    """Move a worker's count on; register it where it is not known, and then return False.

    A worker that finds itself unknown has just begun, or was taken for dead and lost its work to another.
    """
    now = func.now()
    known = connection.execute(
        update(workers).where(workers.c.executor_id == executor_id).values(beats=workers.c.beats + 1, beat_at=now)
    )
    if known.rowcount:
        return True
    try:
        with connection.begin_nested():
            connection.execute(insert(workers).values(executor_id=executor_id, host=host, pid=pid, beat_at=now))
    except IntegrityError:
        return True
    return False


def beats(connection: Connection) -> dict[str, int]:
    """Return every registered worker's count."""
    return {row.executor_id: row.beats for row in connection.execute(select(workers.c.executor_id, workers.c.beats))}


def forget(connection: Connection, executor_id: str) -> None:
    """Strike a worker off: it has stopped, or was found dead."""
    connection.execute(delete(workers).where(workers.c.executor_id == executor_id))


def seconds_since_beats(connection: Connection) -> list[float]:
    """Return for each registered worker how long ago it last gave a sign, by the database's own clock."""
    if connection.dialect.name == "sqlite":
        age = (func.julianday(func.now()) - func.julianday(workers.c.beat_at)) * 86400.0
    else:
        age = func.extract("epoch", func.now() - workers.c.beat_at)
    return [float(value) for value in connection.execute(select(age)).scalars()]


def lively_count(connection: Connection) -> int:
    """Return how many workers are at work."""
    return sum(seconds < LIVELY_SECONDS for seconds in seconds_since_beats(connection))


def note_takeover(connection: Connection, executor_id: str, *, workflows: int, at: datetime) -> None:
    """Record that a dead worker's work was handed on."""
    connection.execute(insert(takeovers).values(executor_id=executor_id, workflows=workflows, created_at=at))


def latest_takeover_id(connection: Connection) -> int:
    """Return the id of the last takeover, or 0."""
    return connection.execute(select(func.max(takeovers.c.id))).scalar_one_or_none() or 0


def takeovers_after(connection: Connection, takeover_id: int) -> list[TakeoverRecord]:
    """Return the takeovers after this id, in order, at most 1,000. One worker at a time writes them."""
    query = select(takeovers.c.id, takeovers.c.workflows).where(takeovers.c.id > takeover_id)
    rows = connection.execute(query.order_by(takeovers.c.id).limit(1000))
    return [TakeoverRecord(id=row.id, workflows=row.workflows) for row in rows]
