"""What operators and waiting clients ask of the whole: can it work, how much is there to do, what has happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from batchscribe.database import jobs, metrics, workers
from batchscribe.database.connection import reading
from batchscribe.database.event_log import EventReader
from batchscribe.database.jobs import JobEvent
from batchscribe.database.metrics import Load
from batchscribe.database.workers import TakeoverRecord
from batchscribe.domain.ports import MediaStore
from batchscribe.errors import ServiceUnavailable, StorageFull

#: For so long an answer to "is the queue full?" is good: a flood of uploads must not become one of questions. Where it
#: is full the answer is asked for sooner, so that uploads are taken in again as soon as there is room.
QUEUE_LOOK_SECONDS = 1.0
FULL_QUEUE_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether one part can do its work, and a sentence about it."""

    is_ok: bool
    sentence: str


class Monitor:
    """Answers from the database and the store. Every method may be called from any thread, and waits for the disk.

    Those that read the database raise ServiceUnavailable where it does not answer.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: MediaStore,
        max_queued_jobs: int,
        readiness_checks: dict[str, Callable[[], Readiness]],
        free_bytes: Callable[[], int] | None,
    ) -> None:
        """Use these parts. ``free_bytes`` tells the room that the store has, where there is an end to it."""
        self._database = database
        self._store = store
        self.max_queued_jobs = max_queued_jobs
        self._readiness_checks = readiness_checks
        self._free_bytes = free_bytes
        #: Until when the last answer is good, by the steady clock, and the answer.
        self._queue_answer: tuple[float, bool] = (0.0, False)

    def is_queue_full(self) -> bool:
        """Whether so many jobs wait that no more are accepted; the answer may be a second old."""
        good_until, is_full = self._queue_answer
        now = time.monotonic()
        if now >= good_until:
            with reading(self._database) as connection:
                is_full = jobs.count_queued(connection, self.max_queued_jobs) >= self.max_queued_jobs
            self._queue_answer = (now + (FULL_QUEUE_LOOK_SECONDS if is_full else QUEUE_LOOK_SECONDS), is_full)
        return is_full

    def load(self) -> Load:
        """Return how much there is to do at present."""
        with reading(self._database) as connection:
            return metrics.read_load(connection, most_queued=self.max_queued_jobs, at=datetime.now(UTC))

    def free_bytes(self) -> int | None:
        """Return the room that the store has; None where that is not known. Raises OSError."""
        return None if self._free_bytes is None else self._free_bytes()

    def event_reader(self) -> EventReader:
        """Begin to read the event log behind its newest event; :meth:`new_events` reads on."""
        with reading(self._database) as connection:
            return EventReader(connection)

    def new_events(self, reader: EventReader) -> list[JobEvent]:
        """Return the events that this reader has not been given yet, about 1,000 at most."""
        with reading(self._database) as connection:
            return reader.read(connection)

    def latest_event_id(self) -> int:
        """Return the id of the last event."""
        with reading(self._database) as connection:
            return jobs.latest_event_id(connection)

    def events_after(self, event_id: int) -> list[JobEvent]:
        """Return the events after this id, in order."""
        with reading(self._database) as connection:
            return jobs.events_after(connection, event_id)

    def latest_takeover_id(self) -> int:
        """Return the id of the last takeover, or 0."""
        with reading(self._database) as connection:
            return workers.latest_takeover_id(connection)

    def takeovers_after(self, takeover_id: int) -> list[TakeoverRecord]:
        """Return the takeovers after this id, in order, at most 1,000."""
        with reading(self._database) as connection:
            return workers.takeovers_after(connection, takeover_id)

    def readiness(self) -> dict[str, Readiness]:
        """Ask every part whether it can do its work."""
        checks = {"database": self._database_readiness, "storage": self._storage_readiness, **self._readiness_checks}
        return {name: check() for name, check in checks.items()}

    def _database_readiness(self) -> Readiness:
        try:
            with self._database.connect() as connection:
                workers.latest_takeover_id(connection)
        except SQLAlchemyError:
            return Readiness(is_ok=False, sentence="The database does not answer.")
        return Readiness(is_ok=True, sentence=f"{self._database.dialect.name} answers.")

    def _storage_readiness(self) -> Readiness:
        try:
            self._store.begin_upload().abort()
        except (OSError, StorageFull, ServiceUnavailable) as error:
            return Readiness(is_ok=False, sentence=f"The media store takes no uploads: {error}")
        return Readiness(is_ok=True, sentence="The media store can be written.")
