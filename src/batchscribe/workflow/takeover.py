"""Takes over the work of dead workers. PostgreSQL only: over SQLite there is one worker, which takes up its own.

The durable engine takes up what a process left behind only when a process of the same id starts. So every worker has an
id of its own and gives two signs of life; one of them (the janitor, by an advisory lock) looks once a second, and the
others now and then, should the janitor be the one that is dead:

* an advisory lock on a connection of the worker's own, which the database lets go when the connection ends: a worker
  that was killed is found within a second;
* a count that moves on (``liveness.py``): a worker that is frozen or cut off is found when its count has stood still
  for :data:`~batchscribe.workflow.liveness.PATIENCE_SECONDS` by the janitor's own steady clock: no clock need be right.

A worker that was taken for dead wrongly does no harm: whatever it still writes is refused where the job has moved on.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime

from dbos import DBOS
from sqlalchemy import Connection, text
from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from batchscribe.database import workers
from batchscribe.workflow.liveness import PATIENCE_SECONDS

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
#: How long the end of the thread is waited for, should the database not answer.
STOP_SECONDS = 5.0
#: How often a worker that is not the janitor looks, at the most.
DEPUTY_SECONDS = 4.0
#: After this worker's own connection broke, a free lock says nothing for so long: everybody's may have broken.
RETURN_SECONDS = 4.0
#: The first half of our advisory locks' keys ("BSCR"), and the second half of the janitor's.
_LOCK_SPACE = 0x42534352
_JANITOR = 0


class Takeover:
    """Shows that this worker lives, and looks after the others where it is the janitor."""

    def __init__(self, database: Database, executor_id: str) -> None:
        """Start nothing yet."""
        self._database = database
        self._executor_id = executor_id
        self._thread = threading.Thread(target=self._run, name="takeover", daemon=True)
        self._stopped = threading.Event()
        self._is_shown_alive = threading.Event()
        self._is_janitor = False
        #: The count last seen of each worker, and when it was first seen by the steady clock.
        self._seen: dict[str, tuple[int, float]] = {}
        #: Before this moment by the steady clock, only standing still is death.
        self._locks_speak_at = 0.0

    def start(self) -> None:
        """Begin, in a thread of its own that holds a connection of its own; return once the lock is held.

        A worker must not be registered before: it would be found registered and unlocked, which is to be dead.
        """
        self._thread.start()
        self._is_shown_alive.wait()

    def stop(self) -> None:
        """Let go of the locks, where there are any; return once the connection that holds them is closed."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def is_janitor(self) -> bool:
        """Whether this worker looks after what one of all workers has to."""
        return self._is_janitor

    def find_dead(self, connection: Connection, now: float, *, by_locks: bool = True) -> list[str]:
        """Return the workers that hold work and are dead, given the steady clock's time.

        Without ``by_locks`` only those whose count has stood still are found, by two questions however many there are.
        """
        counts = workers.beats(connection)
        self._seen = {
            name: self._seen[name] if self._seen.get(name, (None,))[0] == count else (count, now)
            for name, count in counts.items()
        }
        holders = set(connection.execute(text(_HOLDERS)).scalars())
        return [
            name for name in sorted(counts.keys() | holders) if self._is_dead(connection, name, now, by_locks=by_locks)
        ]

    def _is_dead(self, connection: Connection, name: str, now: float, *, by_locks: bool) -> bool:
        if name == self._executor_id:
            return False
        if name not in self._seen or now - self._seen[name][1] > PATIENCE_SECONDS:
            return True
        if not by_locks or now < self._locks_speak_at:
            return False
        # The lock is free only when the worker's connection is gone; it is let go again at once.
        key = {"space": _LOCK_SPACE, "key": _lock_key(name)}
        is_free: bool = connection.execute(text(_TRY_LOCK), key).scalar_one()
        if is_free:
            connection.execute(text("SELECT pg_advisory_unlock(:space, :key)"), key)
        return is_free

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                # Locks belong to the session, so it must not go back to the pool with them.
                with self._database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.detach()
                    self._hold(connection)
            except SQLAlchemyError as error:
                self._is_janitor = False
                self._locks_speak_at = time.monotonic() + RETURN_SECONDS
                logger.warning("lost the connection that shows this worker alive: %s", type(error).__name__)
                self._stopped.wait(LOOK_SECONDS)

    def _hold(self, connection: Connection) -> None:
        """Keep this worker's lock, and look after the others whenever the janitor's lock is to be had."""
        connection.execute(
            text("SELECT pg_advisory_lock(:space, :key)"), {"space": _LOCK_SPACE, "key": _lock_key(self._executor_id)}
        )
        self._is_shown_alive.set()
        look_at = 0.0
        while not self._stopped.wait(LOOK_SECONDS):
            if not self._is_janitor:
                key = {"space": _LOCK_SPACE, "key": _JANITOR}
                self._is_janitor = connection.execute(text(_TRY_LOCK), key).scalar_one()
            now = time.monotonic()
            if self._is_janitor or now >= look_at:
                self._hand_on(connection, self.find_dead(connection, now, by_locks=self._is_janitor))
                # The janitor may itself be frozen with its lock held: so the others look too, less often.
                look_at = now + DEPUTY_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - spreads the load

    def _hand_on(self, connection: Connection, dead: Iterable[str]) -> None:
        """Put the work of dead workers back on the queues."""
        for name in dead:
            # One that is frozen keeps its session, and with it its locks; the janitor's may be among them.
            connection.execute(text(_END_SESSIONS), {"space": _LOCK_SPACE, "key": _lock_key(name) & 0xFFFFFFFF})
            handed_on = recover(name)
            workers.note_takeover(connection, name, workflows=handed_on, at=datetime.now(UTC))
            workers.forget(connection, name)
            logger.warning("took over from a dead worker", extra={"executor_id": name, "workflows": handed_on})


def recover(executor_id: str) -> int:
    """Put a dead worker's work back on the queues, once however often it is asked; return how much there was.

    The one place that leans on a private part of the durable engine (its contract is tested): the public ``resume``
    forgets how often a piece of work was begun, and revives what was cancelled.
    """
    return len(DBOS._recover_pending_workflows([executor_id]))  # noqa: SLF001 - see above


_TRY_LOCK = "SELECT pg_try_advisory_lock(:space, :key)"

#: Ends the session that holds a worker's lock. The two halves of a key stand in ``classid`` and ``objid``, unsigned.
_END_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND classid = :space AND objid = :key AND objsubid = 2 AND pid <> pg_backend_pid()
"""

#: Which workers hold work, by the durable engine's own table.
_HOLDERS = "SELECT DISTINCT executor_id FROM dbos.workflow_status WHERE status = 'PENDING' AND executor_id IS NOT NULL"


def _lock_key(executor_id: str) -> int:
    """Return the second half of a worker's advisory lock's key: a signed 32-bit number that is not the janitor's."""
    return (zlib.crc32(executor_id.encode()) | 1) - (1 << 31)
