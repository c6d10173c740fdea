"""Finds work that this worker has in hand by the database's word, and does not do.

The durable engine claims work in one transaction, reads it in another and notes its end in a third. Where the database
goes away between two of them, the claim stays with a worker that lives: no other takes it over, and the durable engine
begins it only when this worker is started anew. So each worker compares its claims with what it does every few seconds,
and puts back on the queue what it has not been doing for a while. Should it be wrong, work is begun twice, which every
part of the pipeline bears.
"""

from __future__ import annotations

import logging
import threading
import time

from dbos._dbos import _get_dbos_instance
from sqlalchemy import Engine as Database
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from batchscribe.workflow.dispatch import RECORDINGS_QUEUE

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
#: A claim that nobody works on for so long is stranded; from claim to beginning it takes milliseconds.
PATIENCE_SECONDS = 5.0


class StrandedWork:
    """Looks through this worker's claims, once the durable engine runs in this process."""

    def __init__(self, database: Database, executor_id: str) -> None:
        """Start nothing yet."""
        self._database = database
        self._executor_id = executor_id
        self._stopped = threading.Event()
        #: When each claim that nobody works on was first seen, by the steady clock.
        self._idle_since: dict[str, float] = {}
        table = "workflow_status" if database.dialect.name == "sqlite" else "dbos.workflow_status"
        self._claims = text(f"SELECT workflow_uuid FROM {table} WHERE status = 'PENDING' AND executor_id = :holder")  # noqa: S608 - our own words

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name="stranded-work", daemon=True).start()

    def stop(self) -> None:
        """Stop before the next look."""
        self._stopped.set()

    def find(self, now: float) -> list[str]:
        """Return the work that is claimed and not done, given the steady clock's time. Raises SQLAlchemyError."""
        with self._database.connect() as connection:
            claimed = set(connection.execute(self._claims, {"holder": self._executor_id}).scalars())
        # Asked after the claims: what has ended meanwhile would otherwise look claimed and not done.
        idle = claimed.difference(_get_dbos_instance()._active_workflows_set.activeList())  # noqa: SLF001 - no public way
        self._idle_since = {name: self._idle_since.get(name, now) for name in idle}
        return sorted(name for name, since in self._idle_since.items() if now - since > PATIENCE_SECONDS)

    def put_back(self, now: float) -> None:
        """Put stranded work back on its queue. Raises SQLAlchemyError."""
        for name in self.find(now):
            # No public way, as in takeover.py: ``resume`` forgets how often work was begun and revives the cancelled.
            _get_dbos_instance()._sys_db.reenqueue_for_recovery(name, [self._executor_id], RECORDINGS_QUEUE)  # noqa: SLF001
            del self._idle_since[name]
            logger.warning("work was claimed and not begun; it is back on its queue", extra={"workflow": name})

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                self.put_back(time.monotonic())
            except SQLAlchemyError as error:
                logger.warning("could not look for stranded work: %s", type(error).__name__)
