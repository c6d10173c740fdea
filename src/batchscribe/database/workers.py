"""Queries for workers: who is at work, told by a count that only a living worker moves on."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from batchscribe.database.schema import workers


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
