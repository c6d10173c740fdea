"""The first step to a remote engine: the intent is stored, and the recording copied to where the engine reads it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Engine as Database

from batchscribe.database import jobs, remote
from batchscribe.database.remote import RemoteStage
from batchscribe.domain.job import Failure, JobStatus, TranscriptionJob
from batchscribe.domain.media import CONTENT_TYPES
from batchscribe.domain.ports import Decoder, MediaStore
from batchscribe.domain.remote_ports import RemoteEngine
from batchscribe.errors import EngineUnavailable, RecordingFailed
from batchscribe.workflow.remote_terms import RemoteTerms, denied_since

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HandOver:
    """Gives jobs to a remote engine, up to where they wait for their start."""

    database: Database
    store: MediaStore
    decoder: Decoder
    engine: RemoteEngine
    terms: RemoteTerms
    #: How many recordings are copied at once.
    copying: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(4))

    def hand_over(self, job_name: str) -> None:
        """Bring a QUEUED job to where it waits for its start. Raises EngineUnavailable, and the store's errors."""
        with self.database.connect() as connection:
            job = jobs.find_job(connection, job_name)
        if job is None or job.status.is_final:
            return
        try:
            self._hand_over(job)
        except EngineUnavailable as error:
            if not self._is_denied(job_name, error):
                raise
        except RecordingFailed as error:
            self.fail(job_name, Failure(code=error.code, reason=str(error)))

    def fail(self, job_name: str, failure: Failure) -> None:
        """End a job FAILED, unless it has ended already, and have removed whatever the engine has of it."""
        now = datetime.now(UTC)
        with self.database.begin() as connection:
            jobs.move_job(connection, job_name, JobStatus.FAILED, at=now, failure=failure)
            remote.discard(connection, [job_name], at=now)
        logger.info("job failed", extra={"job_name": job_name, "code": failure.code})

    def _hand_over(self, job: TranscriptionJob) -> None:
        now = datetime.now(UTC)
        with self.database.begin() as connection:
            is_new = remote.add(
                connection,
                job.name,
                remote_name=job.name,
                media_key=job.media_key,
                media_uri=self.engine.media_uri(job.media_key),
                priority_rank=job.priority.rank,
                wanted_at=job.created_at,
                due_at=now,
                has_copy=self.engine.copies_media,
                attempts=0,
            )
            row = remote.find(connection, job.name)
        if row is None or (not is_new and row.stage is not RemoteStage.COPYING):
            return
        duration = None
        if self.engine.copies_media:
            with self.copying:
                duration = self._declared_duration(job)
                with self.store.open(job.media_key) as media:
                    self.engine.copy_media(job.media_key, media, CONTENT_TYPES[job.media_format])
        with self.database.begin() as connection:
            is_wanted = remote.move(
                connection,
                job.name,
                RemoteStage.COPYING,
                RemoteStage.WANTED,
                media_duration=duration,
                denied_since=None,
                due_at=datetime.now(UTC),
            )
        if not is_wanted and self.engine.copies_media:
            # Cancelled or deleted meanwhile, and perhaps removed before the copy was there.
            self.engine.delete_media(job.media_key)

    def _is_denied(self, job_name: str, error: EngineUnavailable) -> bool:
        """Remember since when a copy is refused; whether the job has been ended because that is too long."""
        with self.database.begin() as connection:
            row = remote.find(connection, job_name)
            if row is None:
                return False
            remote.note_denial(connection, job_name, since=denied_since(row, error, datetime.now(UTC)))
        denial = self.terms.denial(row, error)
        if denial is not None:
            self.fail(job_name, denial)
        return denial is not None

    def _declared_duration(self, job: TranscriptionJob) -> float | None:
        """Return the recording's length by its header; None where that cannot be read: the engine is to judge it."""
        try:
            with self.store.open(job.media_key) as media, self.decoder.open(media) as audio:
                return audio.info.declared_duration
        except RecordingFailed:
            return None
