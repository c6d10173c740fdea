"""Keeps a worker's share of the jobs at a remote engine going, without a thread or a call for any that waits.

One thread looks several times a second for what is due, takes slots and rows in one short transaction, and has a few
threads make the calls. Another waits for the engine's word that jobs have ended. A third, in one worker at a time, now
and then lists what the engine still works on: whatever we believe to run and is not there has ended unheard.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from batchscribe.database import remote, remote_slots
from batchscribe.database.remote import RemoteRow, RemoteStage
from batchscribe.domain.remote_ports import RemoteEvents
from batchscribe.errors import EngineUnavailable, RecordingFailed
from batchscribe.workflow.remote_quota import room_for_a_call
from batchscribe.workflow.remote_steps import RemoteSteps

logger = logging.getLogger(__name__)

#: How often is looked for what is due, while there is something and while there is nothing.
BUSY_SECONDS, IDLE_SECONDS = 0.1, 0.25
#: A claim holds longer than any call takes, the transcript's download included.
CLAIM_SECONDS = 180.0
#: How long a job must have run before a list without it means that it has ended.
GRACE_SECONDS = 5.0
#: After trouble with events, the list or the database.
TROUBLE_SECONDS = 5.0

#: Which rows each operation is made for, and how many of one operation this worker makes at once.
_WORK = {
    remote_slots.LOOK: ((RemoteStage.STARTED,), 8),
    remote_slots.START: ((RemoteStage.WANTED, RemoteStage.STARTING), 8),
    remote_slots.DELETE: ((RemoteStage.DISCARDED,), 2),
}


class RemoteWork:
    """The threads of one worker."""

    def __init__(self, database: Database, steps: RemoteSteps, events: RemoteEvents | None) -> None:
        """Start nothing yet; see :meth:`start`. Without ``events`` only the list tells of ends."""
        self._database = database
        self._steps = steps
        self._events = events
        self._terms = steps.terms
        self._stopped = threading.Event()
        self._woken = threading.Event()
        self._busy: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(sum(most for _, most in _WORK.values()), thread_name_prefix="remote-call")
        self._calls: dict[str, Callable[[RemoteRow, int], None]] = {
            remote_slots.START: steps.start,
            remote_slots.LOOK: steps.look,
            remote_slots.DELETE: steps.remove,
        }

    def start(self) -> None:
        """Begin, in threads of its own. Raises SQLAlchemyError where the database does not answer."""
        with self._database.begin() as connection:
            # A worker of this very name that went before, over SQLite, has nothing in hand any more.
            remote.release_all(connection, self._steps.executor_id)
            remote_slots.prepare(connection, self._terms.quotas, at=remote.database_now(connection))
        threads = [(self._run_work, "remote-work"), (self._run_poller, "remote-poller")]
        if self._events is not None:
            threads.append((self._run_events, "remote-events"))
        for target, name in threads:
            threading.Thread(target=target, name=name, daemon=True).start()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped.set()
        self._woken.set()

    def work(self) -> int:
        """Begin every call that is due and allowed; return how many. Raises SQLAlchemyError."""
        with self._database.connect() as connection:
            now = remote.database_now(connection)
            due = remote.due_stages(connection, at=now)
            room = self._terms.max_running - remote.running_count(connection)
        if room <= 0:
            due.discard(RemoteStage.WANTED)
        begun = 0
        for operation, (stages, most) in _WORK.items():
            places = most - self._busy[operation]
            if places > 0 and due & set(stages):
                begun += self._begin(operation, stages, places)
        return begun

    def poll(self) -> None:
        """List what the engine works on, where it is this worker's turn. Raises SQLAlchemyError, EngineUnavailable."""
        with self._database.begin() as connection:
            began_at = remote.database_now(connection)
            turn = remote_slots.take(connection, remote_slots.POLL, quota=1, most=1, at=began_at)
            waiting = remote.started_before(connection, began_at - timedelta(seconds=GRACE_SECONDS)) if turn else set()
        if not turn:
            return
        try:
            pages = self._steps.engine.unfinished()
            while waiting and (page := self._next_page(pages)) is not None:
                waiting -= page
        finally:
            seconds = self._terms.poll_seconds * random.uniform(0.8, 1.2)  # noqa: S311 - spreads the load
            with self._database.begin() as connection:
                free_at = began_at + timedelta(seconds=seconds)
                remote_slots.give_back(connection, remote_slots.POLL, turn, free_at=free_at)
        self._hasten(waiting)

    def listen(self) -> None:
        """Wait for news of ended jobs and have those looked at. Raises SQLAlchemyError, EngineUnavailable."""
        if self._events is None:
            return
        endings = self._events.receive()
        if endings:
            self._hasten({each.remote_name for each in endings})
            self._events.acknowledge(endings)

    def _hasten(self, remote_names: set[str]) -> None:
        if not remote_names:
            return
        with self._database.begin() as connection:
            remote.hasten(connection, remote_names, at=remote.database_now(connection))
        self._woken.set()

    def _next_page(self, pages: Iterator[frozenset[str]]) -> frozenset[str] | None:
        """Return the list's next page, once there is room for a call; None after the last."""
        with room_for_a_call(self._database, self._terms, remote_slots.LIST, self._stopped):
            return next(pages, None)

    def _begin(self, operation: str, stages: tuple[RemoteStage, ...], places: int) -> int:
        """Take slots and rows, and have the calls made; return how many."""
        with self._database.begin() as connection:
            if operation == remote_slots.START:
                # So that two workers do not both see the last room.
                remote_slots.lock(connection, operation)
            now = remote.database_now(connection)
            quota = self._terms.quotas[operation]
            slots = remote_slots.take(connection, operation, quota=quota, most=places, at=now)
            rows = []
            if operation == remote_slots.START:
                # One that may be running already takes no room.
                rows = self._claim(connection, (RemoteStage.STARTING,), len(slots), now)
                room = max(0, self._terms.max_running - remote.running_count(connection))
                stages = (RemoteStage.WANTED, RemoteStage.STARTING)
                rows += self._claim(connection, stages, min(len(slots) - len(rows), room), now)
            else:
                rows = self._claim(connection, stages, len(slots), now)
            remote_slots.give_back(connection, operation, slots[len(rows) :], free_at=now)
        for row, slot in zip(rows, slots, strict=False):
            with self._lock:
                self._busy[operation] += 1
            self._pool.submit(self._call, operation, row, slot)
        return len(rows)

    def _claim(
        self, connection: Connection, stages: tuple[RemoteStage, ...], most: int, now: datetime
    ) -> list[RemoteRow]:
        by = self._steps.executor_id
        return remote.claim(connection, stages, by=by, at=now, seconds=CLAIM_SECONDS, most=most)

    def _call(self, operation: str, row: RemoteRow, slot: int) -> None:
        try:
            self._calls[operation](row, slot)
        except SQLAlchemyError as error:
            # The claim and the slot come back by themselves.
            logger.warning("a call's outcome was not stored: %s", error, extra={"job_name": row.job_name})
        # The worker's edge: whatever broke, the other jobs go on, and the log has the trace.
        except Exception:
            logger.exception("work on a remote job failed", extra={"job_name": row.job_name})
            self._stumble(row)
        finally:
            with self._lock:
                self._busy[operation] -= 1
            self._woken.set()

    def _stumble(self, row: RemoteRow) -> None:
        try:
            self._steps.stumble(row)
        except SQLAlchemyError as error:
            logger.warning("a stumble was not stored: %s", error, extra={"job_name": row.job_name})

    def _run_work(self) -> None:
        while not self._stopped.is_set():
            self._woken.clear()
            try:
                seconds = BUSY_SECONDS if self.work() else IDLE_SECONDS
            except SQLAlchemyError as error:
                logger.warning("could not look for remote work: %s", type(error).__name__)
                seconds = TROUBLE_SECONDS
            self._woken.wait(seconds)

    def _run_poller(self) -> None:
        interval = min(TROUBLE_SECONDS, self._terms.poll_seconds / 2)
        while not self._stopped.wait(interval):
            try:
                self.poll()
            except (SQLAlchemyError, EngineUnavailable, RecordingFailed) as error:
                logger.warning("could not list the remote jobs: %s", error)

    def _run_events(self) -> None:
        while not self._stopped.is_set():
            try:
                self.listen()
            except (SQLAlchemyError, EngineUnavailable, RecordingFailed) as error:
                logger.warning("could not hear of remote jobs: %s", error)
                self._stopped.wait(TROUBLE_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the load
