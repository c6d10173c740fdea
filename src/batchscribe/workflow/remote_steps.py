"""A job's way through a remote engine: start, look, take over the transcript; and removing what is left there.

Every step may be made again at any time, by the same worker or another. The intent is stored before the engine is asked
for anything, and a job has one name at the engine, so a start that is made twice starts one job.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy import Engine as Database

from batchscribe.database import identification, jobs, remote, remote_slots, transcripts
from batchscribe.database.remote import RemoteRow, RemoteStage
from batchscribe.domain.job import Failure, JobStatus
from batchscribe.domain.remote_ports import RemoteEngine, RemoteJob, RemoteStart, RemoteStatus
from batchscribe.domain.transcript import Transcript
from batchscribe.errors import EngineRefused, EngineUnavailable, RecordingFailed
from batchscribe.finishing import finished_elsewhere
from batchscribe.workflow.remote_terms import RemoteTerms, denied_since, failure_of
from batchscribe.workflow.runtime import INTERNAL_ERROR

logger = logging.getLogger(__name__)

#: A started job that nobody speaks of is looked at by itself after this time, whatever events and lists say.
LOOK_SECONDS = 600.0
#: Work on a job is begun so often, where it fails as nobody foresaw.
MOST_ATTEMPTS = 8
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0


@dataclass(frozen=True, kw_only=True)
class RemoteSteps:
    """The steps of one worker."""

    database: Database
    engine: RemoteEngine
    terms: RemoteTerms
    executor_id: str

    def start(self, row: RemoteRow, slot: int) -> None:
        """Have the engine begin a job, or find that it did."""
        with self.database.connect() as connection:
            job = jobs.find_job(connection, row.job_name)
        if job is None or job.status is not JobStatus.QUEUED:
            # Cancelled or deleted: the row says so too by now, or says it from here on.
            self._settle(
                remote_slots.START, slot, lambda connection, now: remote.discard(connection, [row.job_name], at=now)
            )
            return
        wanted = RemoteStart(remote_name=row.remote_name, media_uri=row.media_uri, options=job.options)

        def note(connection: Connection, now: datetime, *, is_new: bool) -> None:
            # Of one that was there already it is not known how far it is.
            look_at = now + timedelta(seconds=LOOK_SECONDS if is_new else 0.0)
            if remote.note_started(connection, row.job_name, by=self.executor_id, at=now, look_at=look_at):
                jobs.move_job(connection, row.job_name, JobStatus.IN_PROGRESS, at=now)
            else:
                remote.release(connection, row.job_name, by=self.executor_id)

        def call() -> Callable[[Connection, datetime], None]:
            is_new = self.engine.start(wanted)
            return lambda connection, now: note(connection, now, is_new=is_new)

        if self._make(call, row, remote_slots.START, slot) and row.has_copy:
            self._remove_copy(row)

    def look(self, row: RemoteRow, slot: int) -> None:
        """See how far the engine is, and take over what it has finished."""
        is_over = False

        def call() -> Callable[[Connection, datetime], None]:
            nonlocal is_over
            seen = self.engine.look(row.remote_name)
            if seen.media_uri != row.media_uri:
                raise EngineRefused("The engine has another job of this name, with another recording.")
            if seen.status is RemoteStatus.FAILED:
                raise failure_of(seen)
            if seen.status is RemoteStatus.COMPLETED:
                transcript = finished_elsewhere(self.engine.fetch(seen))
                is_over = True
                return lambda connection, now: self._complete(connection, row, seen, transcript, now)
            return lambda connection, now: remote.release(
                connection, row.job_name, by=self.executor_id, due_at=now + timedelta(seconds=LOOK_SECONDS)
            )

        has_failed = self._make(call, row, remote_slots.LOOK, slot)
        if row.has_copy and (is_over or has_failed):
            self._remove_copy(row)

    def remove(self, row: RemoteRow, slot: int) -> None:
        """Remove what the engine has of a discarded job; later, where it still works on it."""

        def call() -> Callable[[Connection, datetime], None]:
            if row.attempts and not self.engine.delete(row.remote_name):
                # The engine still works on it.
                return lambda connection, now: self._let_go(connection, row, now, seconds=self.terms.poll_seconds)
            if row.has_copy:
                self.engine.delete_media(row.media_key)
            return lambda connection, _now: remote.forget(connection, row.job_name)

        self._make(call, row, remote_slots.DELETE, slot)

    def stumble(self, row: RemoteRow) -> None:
        """Try again later what failed as nobody foresaw; end the job where it has been tried often enough."""
        with self.database.begin() as connection:
            now = remote.database_now(connection)
            if row.attempts >= MOST_ATTEMPTS and row.stage is not RemoteStage.DISCARDED:
                self._give_up(connection, row, INTERNAL_ERROR, now)
            else:
                remote.count_attempt(connection, row.job_name)
                self._let_go(connection, row, now, seconds=LONGEST_WAIT_SECONDS)

    def _complete(
        self, connection: Connection, row: RemoteRow, seen: RemoteJob, transcript: Transcript, now: datetime
    ) -> None:
        """Take over a transcript: job, transcript and cost in one transaction."""
        if not remote.move(
            connection, row.job_name, RemoteStage.STARTED, RemoteStage.DONE, by=self.executor_id, ended_at=now
        ):
            remote.release(connection, row.job_name, by=self.executor_id)
            return
        duration = row.media_duration or transcript.duration
        cost = self.terms.cost(duration)
        jobs.describe_media(
            connection,
            row.job_name,
            media_sample_rate_hertz=seen.media_sample_rate_hertz,
            media_duration=duration,
            billed_seconds=cost.billed_seconds,
            estimated_cost_usd=cost.estimated_usd,
        )
        identification.note_languages(connection, row.job_name, transcript.language_code, transcript.languages)
        if jobs.move_job(connection, row.job_name, JobStatus.COMPLETED, at=now):
            transcripts.save_transcript(connection, row.job_name, transcript)

    def _make(
        self, call: Callable[[], Callable[[Connection, datetime], None]], row: RemoteRow, operation: str, slot: int
    ) -> bool:
        """Make a call, and store what came of it in the transaction that gives the slot back.

        Returns whether the job has failed.
        """
        try:
            store = call()
        except EngineUnavailable as error:
            self._wait(row, operation, slot, error)
            return False
        except RecordingFailed as error:
            failure = Failure(code=error.code, reason=str(error))
            self._settle(operation, slot, lambda connection, now: self._end(connection, row, failure, now))
            logger.info("job failed", extra={"job_name": row.job_name, "code": failure.code})
            return True
        self._settle(operation, slot, store)
        return False

    def _wait(self, row: RemoteRow, operation: str, slot: int, error: EngineUnavailable) -> None:
        """Try again later, more and more seldom, each with others' jitter; slots too, so that the whole slows down."""
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(row.attempts, 10))
        seconds = random.uniform(longest / 2, longest)  # noqa: S311 - spreads the load
        denial = self.terms.denial(row, error)
        logger.warning("a call waits: %s", error, extra={"job_name": row.job_name, "seconds": round(seconds, 1)})
        if denial is not None and row.stage is not RemoteStage.DISCARDED:
            self._settle(operation, slot, lambda connection, now: self._give_up(connection, row, denial, now))
            return

        def store(connection: Connection, now: datetime) -> None:
            remote.note_denial(connection, row.job_name, since=denied_since(row, error, now))
            self._let_go(connection, row, now, seconds=seconds)

        self._settle(operation, slot, store, pause_seconds=seconds)

    def _give_up(self, connection: Connection, row: RemoteRow, failure: Failure, now: datetime) -> None:
        """End a job of which it is not known what the engine does, and have whatever it does removed."""
        jobs.move_job(connection, row.job_name, JobStatus.FAILED, at=now, failure=failure)
        remote.release(connection, row.job_name, by=self.executor_id)
        remote.discard(connection, [row.job_name], at=now)

    def _end(self, connection: Connection, row: RemoteRow, failure: Failure, now: datetime) -> None:
        if remote.move(connection, row.job_name, row.stage, RemoteStage.DONE, by=self.executor_id, ended_at=now):
            jobs.move_job(connection, row.job_name, JobStatus.FAILED, at=now, failure=failure)
        else:
            remote.release(connection, row.job_name, by=self.executor_id)

    def _let_go(self, connection: Connection, row: RemoteRow, now: datetime, *, seconds: float = 0.0) -> None:
        remote.release(connection, row.job_name, by=self.executor_id, due_at=now + timedelta(seconds=seconds))

    def _settle(
        self,
        operation: str,
        slot: int,
        store: Callable[[Connection, datetime], None],
        *,
        pause_seconds: float = 0.0,
    ) -> None:
        with self.database.begin() as connection:
            now = remote.database_now(connection)
            free_at = now + timedelta(seconds=remote_slots.WINDOW_SECONDS + pause_seconds)
            remote_slots.give_back(connection, operation, [slot], free_at=free_at)
            store(connection, now)

    def _remove_copy(self, row: RemoteRow) -> None:
        """Remove the recording's copy; where that fails, the bucket's lifecycle rule does it."""
        try:
            self.engine.delete_media(row.media_key)
        except (EngineUnavailable, RecordingFailed) as error:
            logger.warning("a copy was not removed: %s", error, extra={"job_name": row.job_name})
