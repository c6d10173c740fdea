"""The one door to jobs: every face (HTTP, and what may come) submits, reads, cancels and deletes here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from batchscribe.database import jobs
from batchscribe.database.jobs import JobEvent
from batchscribe.domain.job import Failure, JobPage, JobStatus, TranscriptionJob, media_key, new_job_name, work_prefix
from batchscribe.domain.languages import DEFAULT_LANGUAGE_CODE, canonical_code
from batchscribe.domain.media import MediaFormat, choose_format, extension_of
from batchscribe.domain.options import Capabilities, TranscriptionOptions
from batchscribe.domain.ports import MediaStore, Upload
from batchscribe.domain.transcript import Transcript
from batchscribe.errors import (
    Cancelled,
    JobAlreadyEnded,
    JobNotFinished,
    JobNotFound,
    MediaMissing,
    MediaNotFound,
    ServiceUnavailable,
    StorageFull,
    UnsupportedLanguage,
    UnsupportedMediaFormat,
)
from batchscribe.workflow.dispatch import Dispatcher

#: What a job name may look like; anything else is no job's name.
JOB_NAME_PATTERN = re.compile(r"[0-9A-Za-z._-]{1,200}")

#: Younger leftovers of a crash are left to the next look: they may belong to another api that is about to take hold.
ABANDONED_UPLOAD_SECONDS = 60.0

CANCELLED = Failure(code=Cancelled.code, reason="Cancelled by request.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether one part can do its work, and a sentence about it."""

    is_ok: bool
    sentence: str


class TranscriptionService:
    """Submits jobs and answers for them. Every method may be called from any thread; most wait for the disk."""

    def __init__(
        self,
        *,
        database: Database,
        store: MediaStore,
        dispatcher: Dispatcher,
        capabilities: Capabilities,
        readiness_checks: dict[str, Callable[[], Readiness]] | None = None,
    ) -> None:
        """Use these parts; ``readiness_checks`` are asked by :meth:`readiness` beside the database and the store."""
        self._database = database
        self._store = store
        self._dispatcher = dispatcher
        self._capabilities = capabilities
        self._readiness_checks = readiness_checks or {}

    def check_submission(self, *, file_name: str, head: bytes, language_code: str | None) -> TranscriptionOptions:
        """Return what a submission asks for. Raises UnsupportedMediaFormat or UnsupportedLanguage.

        ``head`` is the recording's first bytes (:data:`~batchscribe.domain.media.SNIFF_BYTES` are enough).
        """
        self._choose_format(file_name, head)
        code = canonical_code(language_code or DEFAULT_LANGUAGE_CODE)
        if code not in self._capabilities.language_codes:
            raise UnsupportedLanguage(f"The engine cannot recognise the language {code}.")
        return TranscriptionOptions(language_code=code)

    def begin_upload(self) -> Upload:
        """Start taking in a recording. Raises StorageFull."""
        return self._store.begin_upload()

    def reclaim_uploads(self) -> None:
        """Remove what uploads left behind that were cut off by a crash."""
        self._store.reclaim(ABANDONED_UPLOAD_SECONDS)

    def submit(
        self, upload: Upload, *, file_name: str, head: bytes, options: TranscriptionOptions, upload_seconds: float
    ) -> TranscriptionJob:
        """Accept a recording: when this returns, it and its job are on disk and the job will be worked on.

        Raises UnsupportedMediaFormat; ServiceUnavailable when the store or the database does not take it (nothing is
        kept then).
        """
        media_format = self._choose_format(file_name, head)
        now = datetime.now(UTC)
        name = new_job_name()
        key = media_key(name, media_format.value, now)
        try:
            size_bytes = upload.commit(key)
        except OSError as error:
            # It may have its name already, but perhaps not on disk; a store that is broken may not delete either.
            with suppress(OSError):
                self._store.delete(key)
            raise ServiceUnavailable("The recording could not be stored. Try again in a moment.") from error
        job = TranscriptionJob(
            name=name,
            status=JobStatus.QUEUED,
            options=options,
            media_key=key,
            media_format=media_format,
            media_size_bytes=size_bytes,
            media_url=f"s3://{self._store.bucket}/{key}",
            upload_seconds=upload_seconds,
            created_at=now,
        )
        try:
            with self._database.begin() as connection:
                jobs.add_job(connection, job)
                self._dispatcher.enqueue_recording(connection, name, size_bytes=size_bytes)
        except SQLAlchemyError as error:
            # A commit may have happened although it was reported as failed: only a job that is not there is undone.
            if not self._is_stored(name):
                self._store.delete(key)
                raise ServiceUnavailable("The job could not be stored. Try again in a moment.") from error
        return job

    def get(self, job_name: str) -> TranscriptionJob:
        """Return a job, with its text when it is COMPLETED. Raises JobNotFound."""
        if not JOB_NAME_PATTERN.fullmatch(job_name):
            raise _not_found(job_name)
        with self._database.connect() as connection:
            job = jobs.find_job(connection, job_name, with_text=True)
        if job is None:
            raise _not_found(job_name)
        return job

    def list(self, *, status: JobStatus | None, max_results: int, next_token: str | None) -> JobPage:
        """Return one page of jobs, latest first. Raises InvalidRequest for a token that is not ours."""
        with self._database.connect() as connection:
            return jobs.list_jobs(connection, status=status, max_results=max_results, next_token=next_token)

    def cancel(self, job_name: str) -> TranscriptionJob:
        """End a job FAILED with code ``cancelled``; its worker stops soon. Raises JobNotFound, JobAlreadyEnded."""
        self.get(job_name)
        with self._database.begin() as connection:
            is_cancelled = jobs.move_job(
                connection, job_name, JobStatus.FAILED, at=datetime.now(UTC), failure=CANCELLED
            )
        job = self.get(job_name)
        if not is_cancelled:
            raise JobAlreadyEnded(f"The job has already ended: {job.status.value}.")
        self._store.delete_prefix(work_prefix(job_name))
        return job

    def delete(self, job_name: str) -> None:
        """Remove a job with its recording and transcript, whatever its status. Raises JobNotFound."""
        job = self.get(job_name)
        with self._database.begin() as connection:
            is_deleted = jobs.delete_job(connection, job_name, at=datetime.now(UTC))
        if not is_deleted:
            raise _not_found(job_name)
        self._store.delete(job.media_key)
        self._store.delete_prefix(work_prefix(job_name))

    def transcript(self, job_name: str) -> Transcript:
        """Return the transcript of a COMPLETED job. Raises JobNotFound, JobNotFinished."""
        job = self.get(job_name)
        with self._database.connect() as connection:
            transcript = jobs.find_transcript(connection, job_name)
        if transcript is None:
            if job.failure is not None:
                raise JobNotFinished(f"The job has no transcript because it failed: {job.failure.reason}")
            raise JobNotFinished(f"The job has no transcript yet. Job status: {job.status.value}.")
        return transcript

    def open_media(self, job_name: str) -> tuple[TranscriptionJob, BinaryIO]:
        """Return a job and its recording, opened for reading. Raises JobNotFound, MediaNotFound."""
        job = self.get(job_name)
        try:
            return job, self._store.open(job.media_key)
        except MediaMissing as error:
            raise MediaNotFound("The recording is no longer kept.") from error

    def latest_event_id(self) -> int:
        """Return the id of the last event."""
        with self._database.connect() as connection:
            return jobs.latest_event_id(connection)

    def events_after(self, event_id: int) -> Sequence[JobEvent]:
        """Return the events after this id, in order."""
        with self._database.connect() as connection:
            return jobs.events_after(connection, event_id)

    def readiness(self) -> dict[str, Readiness]:
        """Ask every part whether it can do its work."""
        checks = {"database": self._database_readiness, "storage": self._storage_readiness, **self._readiness_checks}
        return {name: check() for name, check in checks.items()}

    def _database_readiness(self) -> Readiness:
        try:
            with self._database.connect() as connection:
                jobs.latest_event_id(connection)
        except SQLAlchemyError:
            return Readiness(is_ok=False, sentence="The database does not answer.")
        return Readiness(is_ok=True, sentence=f"{self._database.dialect.name} answers.")

    def _storage_readiness(self) -> Readiness:
        try:
            self._store.begin_upload().abort()
        except (OSError, StorageFull) as error:
            return Readiness(is_ok=False, sentence=f"The media store takes no uploads: {error}")
        return Readiness(is_ok=True, sentence="The media store can be written.")

    def _is_stored(self, job_name: str) -> bool:
        """Whether a job is in the database. Raises ServiceUnavailable where that cannot be told."""
        try:
            with self._database.connect() as connection:
                return jobs.find_job(connection, job_name) is not None
        except SQLAlchemyError as error:
            raise ServiceUnavailable("It is not known whether the job was stored. Look for it in the list.") from error

    def _choose_format(self, file_name: str, head: bytes) -> MediaFormat:
        media_format = choose_format(file_name, head)
        if media_format is None:
            supported = ", ".join(each.value for each in MediaFormat)
            raise UnsupportedMediaFormat(
                f"Unsupported file format: {extension_of(file_name)[:100]}. Supported formats: {supported}"
            )
        return media_format


def _not_found(job_name: str) -> JobNotFound:
    return JobNotFound(f"Job not found: {job_name}")
