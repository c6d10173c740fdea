"""Clears what interrupted work and finished work leave behind."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePosixPath

from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from batchscribe.database import deliveries, idempotency, jobs, resumable, retention
from batchscribe.domain.job import work_prefix
from batchscribe.domain.ports import MediaStore
from batchscribe.domain.resumable import INCOMING, slices_prefix
from batchscribe.errors import StoreUnavailable
from batchscribe.workflow.dispatch import Dispatcher

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 600.0
#: How often what has expired is looked for.
RETENTION_SECONDS = 5.0
#: Recordings without a job are kept this long: their submission may still be on its way.
ORPHAN_AGE = timedelta(hours=24)
#: Slices that are part of no resumable upload are kept this long: their request may still be on its way.
SLICE_AGE = timedelta(hours=1)
#: Deliveries of webhooks are in the log for so long after they have ended.
DELIVERY_LOG_AGE = timedelta(days=30)
#: Uploads that nobody holds, and working audio, are looked at when they are older than this.
LEFTOVER_SECONDS = 60.0


class Housekeeper:
    """Looks through the store and the durable engine's records, at start and then every ten minutes."""

    def __init__(
        self,
        database: Database,
        store: MediaStore,
        dispatcher: Dispatcher,
        *,
        is_in_charge: Callable[[], bool] = lambda: True,
    ) -> None:
        """Start nothing yet; see :meth:`start`. ``is_in_charge`` says whether the rounds are this worker's to do."""
        self._is_in_charge = is_in_charge
        self._database = database
        self._store = store
        self._dispatcher = dispatcher
        self._stopped = threading.Event()
        #: When the store was last looked through for recordings without a job.
        self._media_seen_on: date | None = None

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name="housekeeping", daemon=True).start()

    def stop(self) -> None:
        """Stop before the next round."""
        self._stopped.set()

    def tidy(self) -> None:
        """Do one round."""
        uploads = self._store.reclaim(LEFTOVER_SECONDS)
        work = self._reclaim_work()
        media = self._reclaim_media()
        slices = self._reclaim_slices()
        with self._database.begin() as connection:
            idempotency.forget_expired(connection, at=datetime.now(UTC))
        self._forget_deliveries()
        while self._dispatcher.forget_finished():
            if self._stopped.is_set():
                return
        if uploads or work or media or slices:
            extra = {"uploads": uploads, "work": work, "media": media, "slices": slices}
            logger.info("reclaimed orphans", extra=extra)

    def _forget_deliveries(self) -> None:
        """Remove the log of deliveries that ended long ago, a little at a time."""
        while not self._stopped.is_set():
            with self._database.begin() as connection:
                if not deliveries.forget_old(connection, before=datetime.now(UTC) - DELIVERY_LOG_AGE):
                    return

    def _reclaim_work(self) -> int:
        """Remove the working audio of jobs that have ended or are gone."""
        names = {PurePosixPath(key).parts[1] for key in self._store.keys_older_than("work/", LEFTOVER_SECONDS)}
        with self._database.connect() as connection:
            statuses = jobs.statuses(connection, sorted(names))
        ended = [name for name in names if name not in statuses or statuses[name].is_final]
        for name in ended:
            self._store.delete_prefix(work_prefix(name))
        return len(ended)

    def _reclaim_media(self) -> int:
        """Remove recordings whose submission was interrupted before its job was stored."""
        # All of them once a day, for a deletion that was interrupted may have been of a recording of any day.
        today = datetime.now(UTC).date()
        if self._media_seen_on != today:
            folders = ["audio/"]
        else:
            folders = [f"audio/batch/{today - timedelta(days=days):%Y-%m-%d}/" for days in range(3)]
        keys = [key for folder in folders for key in self._store.keys_older_than(folder, ORPHAN_AGE.total_seconds())]
        count = 0
        for start in range(0, len(keys), 500):
            names = {PurePosixPath(key).stem: key for key in keys[start : start + 500]}
            with self._database.connect() as connection:
                known = jobs.statuses(connection, sorted(names))
            for name in names.keys() - known.keys():
                self._store.delete(names[name])
                count += 1
        self._media_seen_on = today
        return count

    def _reclaim_slices(self) -> int:
        """Remove what was stored for resumable uploads and is part of none, or of one that is over."""
        keys: dict[str, list[str]] = {}
        for key in self._store.keys_older_than(INCOMING, SLICE_AGE.total_seconds()):
            keys.setdefault(PurePosixPath(key).parts[1], []).append(key)
        count = 0
        for upload_id, stored in keys.items():
            with self._database.begin() as connection:
                used = {each.key for each in resumable.slices_of(connection, upload_id)}
                if not used.issuperset(stored):
                    # What was stored so long ago may yet be added by a process that slept, unless it is shut out.
                    resumable.shut_out(connection, upload_id)
                    used = {each.key for each in resumable.slices_of(connection, upload_id)}
            for key in stored:
                if key not in used:
                    self._store.delete(key)
                    count += 1
        return count

    def delete_expired_uploads(self) -> int:
        """Delete resumable uploads whose time is over; return how many."""
        count = 0
        while not self._stopped.is_set():
            with self._database.begin() as connection:
                gone = resumable.delete_expired(connection, at=datetime.now(UTC))
            # Without its row nothing can be added to it; what a broken store keeps of it, the next round removes.
            for upload_id in gone:
                self._store.delete_prefix(slices_prefix(upload_id))
            if not gone:
                break
            count += len(gone)
        return count

    def delete_expired(self) -> int:
        """Delete jobs and recordings whose time is over, in small batches; return how many."""
        count = 0
        while not self._stopped.is_set():
            now = datetime.now(UTC)
            with self._database.connect() as connection:
                expired = retention.expired_jobs(connection, at=now)
            # Recordings go first: once a row is gone, nothing says any more that there is a recording to remove.
            for name, media_key in expired:
                self._store.delete(media_key)
                self._store.delete_prefix(work_prefix(name))
            if expired:
                with self._database.begin() as connection:
                    jobs.delete_jobs(connection, [name for name, _ in expired], at=now)
            with self._database.connect() as connection:
                stale = retention.expired_media(connection, at=now)
            for _, media_key in stale:
                self._store.delete(media_key)
            if stale:
                with self._database.begin() as connection:
                    retention.media_is_deleted(connection, [name for name, _ in stale])
            count += len(expired) + len(stale)
            if not expired and not stale:
                break
        return count

    def _run(self) -> None:
        tidy_at = 0.0
        while not self._stopped.wait(RETENTION_SECONDS):
            if not self._is_in_charge():
                continue
            try:
                self.delete_expired()
                self.delete_expired_uploads()
                if time.monotonic() >= tidy_at:
                    self.tidy()
                    tidy_at = time.monotonic() + INTERVAL_SECONDS
            except (SQLAlchemyError, OSError, StoreUnavailable):
                logger.warning("housekeeping was interrupted; trying again later", exc_info=True)
