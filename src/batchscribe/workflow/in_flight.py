"""The jobs that this worker has in hand: which of them were cancelled, and how far each chunk is."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from batchscribe.database import chunks, jobs

logger = logging.getLogger(__name__)

#: How long a cancelled job may go unnoticed, and progress unwritten, in seconds.
INTERVAL_SECONDS = 0.5


class InFlight:
    """Watches the rows of the jobs in hand: one small query an interval, none while there is nothing to do."""

    def __init__(self, engine: Engine) -> None:
        """Start nothing yet; see :meth:`start`."""
        self._engine = engine
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._ended: set[str] = set()
        self._progress: dict[tuple[str, int], float] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to watch, in a thread of its own."""
        threading.Thread(target=self._run, name="in-flight", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    @contextmanager
    def hold(self, job_name: str) -> Iterator[None]:
        """Watch a job while the context lasts."""
        with self._lock:
            self._held[job_name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[job_name] -= 1
                if not self._held[job_name]:
                    del self._held[job_name]
                    self._ended.discard(job_name)

    def is_ended(self, job_name: str) -> bool:
        """Whether a held job has ended or was deleted meanwhile, so that work on it is wasted."""
        return job_name in self._ended

    def note_progress(self, job_name: str, index: int, done_seconds: float) -> None:
        """Remember how far a chunk is; it is written with the next look."""
        with self._lock:
            self._progress[job_name, index] = done_seconds

    def look(self) -> None:
        """Read the statuses of the held jobs and write the progress made since the last look."""
        with self._lock:
            held = list(self._held)
            progress, self._progress = self._progress, {}
        if held:
            with self._engine.connect() as connection:
                statuses = jobs.statuses(connection, held)
            ended = {name for name in held if name not in statuses or statuses[name].is_final}
            with self._lock:
                self._ended = ended & self._held.keys()
        if progress:
            with self._engine.begin() as connection:
                chunks.note_progress(connection, progress)

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            try:
                self.look()
            except SQLAlchemyError:
                # Progress is a courtesy and cancellation is looked at again: neither may end the watch.
                logger.warning("could not look at the jobs in hand; trying again", exc_info=True)
