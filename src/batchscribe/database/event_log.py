"""Reading the event log on: each event once, also one whose transaction ended after those of later events.

PostgreSQL gives out ids when an event is written, not when its transaction ends, so an id that is missing between two
others may still come. It is looked for again until :data:`GAP_SECONDS` have gone by; one that a transaction took and
gave up never comes. SQLite, which has one writer at a time, has no such gaps.
"""

from __future__ import annotations

import time

from sqlalchemy import Connection, or_, select

from batchscribe.database import jobs
from batchscribe.database.jobs import EVENT_COLUMNS, JobEvent, read_event
from batchscribe.database.schema import events

#: None of our transactions takes so long.
GAP_SECONDS = 60.0
#: An unfinished transaction's id may lie so far before the newest when the reading begins.
BACKLOG = 200
#: The most events that are read at once.
PAGE = 1000


class EventReader:
    """Where one reader of the event log has come to. To be used by one thread at a time."""

    def __init__(self, connection: Connection) -> None:
        """Begin behind the newest event."""
        self._last_id = jobs.latest_event_id(connection)
        self._gaps: dict[int, float] = {}
        first = max(0, self._last_id - BACKLOG)
        known = set(connection.execute(select(events.c.id).where(events.c.id > first)).scalars())
        self._note_gaps(first, known)

    def read(self, connection: Connection) -> list[JobEvent]:
        """Return what is new, by id, at most :data:`PAGE` and those that come late."""
        self._forget_old_gaps()
        is_new = events.c.id > self._last_id
        rows = connection.execute(
            select(*EVENT_COLUMNS)
            .where(or_(is_new, events.c.id.in_(self._gaps)) if self._gaps else is_new)
            .order_by(events.c.id)
            .limit(PAGE + len(self._gaps))
        ).all()
        first = self._last_id
        self._note_gaps(first, {row.id for row in rows if row.id > first})
        for row in rows:
            self._gaps.pop(row.id, None)
        return [read_event(row) for row in rows]

    @property
    def resume_id(self) -> int:
        """The id behind which to read on later without missing what may still come late."""
        return min(self._gaps, default=self._last_id + 1) - 1

    def _note_gaps(self, first: int, ids: set[int]) -> None:
        """Move on to the highest of these ids, and remember those that are missing after the first."""
        if ids:
            self._last_id = max(self._last_id, *ids)
            missing = set(range(max(first, self._last_id - PAGE) + 1, self._last_id)) - ids
            self._gaps |= dict.fromkeys(missing, time.monotonic())

    def _forget_old_gaps(self) -> None:
        limit = time.monotonic() - GAP_SECONDS
        newest = sorted(self._gaps)[-PAGE:]
        self._gaps = {event_id: self._gaps[event_id] for event_id in newest if self._gaps[event_id] > limit}
