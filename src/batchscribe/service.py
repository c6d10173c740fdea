"""The one door to jobs: every face (HTTP, and what may come) submits, reads, cancels and deletes here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import BinaryIO

from sqlalchemy import Engine as Database

from batchscribe.acceptance import Acceptance, Incoming
from batchscribe.admission import Admission
from batchscribe.database import jobs, transcripts
from batchscribe.database.connection import reading, writing
from batchscribe.direct_uploads import DirectUpload, DirectUploadService
from batchscribe.domain.job import (
    CANCELLED,
    JobPage,
    JobStatus,
    TranscriptionJob,
    is_job_name,
    work_prefix,
)
from batchscribe.domain.keys import ApiKey
from batchscribe.domain.media import checked_format
from batchscribe.domain.options import Capabilities
from batchscribe.domain.ports import MediaStore, Upload
from batchscribe.domain.submission import (
    Idempotency,
    Submission,
    Terms,
)
from batchscribe.domain.transcript import Transcript, check_labels
from batchscribe.egress import EgressRules
from batchscribe.errors import (
    JobAlreadyEnded,
    JobNotFinished,
    JobNotFound,
    MediaMissing,
    MediaNotFound,
    ServiceUnavailable,
    StoreUnavailable,
)
from batchscribe.key_ring import KeyRing
from batchscribe.live import LiveReader
from batchscribe.media_addresses import MediaAddresses
from batchscribe.monitor import Monitor, Readiness
from batchscribe.resumable import ResumableUploads
from batchscribe.storage import store_errors_are_said
from batchscribe.storage.buckets import MediaBuckets
from batchscribe.vocabularies import Vocabularies
from batchscribe.webhook_service import WebhookService
from batchscribe.workflow.dispatch import Dispatcher

#: Younger leftovers of a crash are left to the next look: they may belong to another api that is about to take hold.
ABANDONED_UPLOAD_SECONDS = 60.0


class TranscriptionService:
    """Submits jobs and answers for them. Every method may be called from any thread; most wait for the disk."""

    def __init__(
        self,
        *,
        database: Database,
        store: MediaStore,
        dispatcher: Dispatcher,
        engines: Mapping[str, Capabilities],
        terms: Terms | None = None,
        webhooks: WebhookService | None = None,
        addresses: MediaAddresses | None = None,
        direct_uploads: DirectUploadService | None = None,
        readiness_checks: dict[str, Callable[[], Readiness]] | None = None,
        free_bytes: Callable[[], int] | None = None,
    ) -> None:
        """Use these parts; the last two are the monitor's. Of ``engines``, by name, the first is the default."""
        self._database = database
        self._store = store
        self._engines = engines
        self._terms = terms or Terms()
        #: The endpoints that are told of jobs. By default there is no key to sign with, so none can be made.
        self.webhooks = webhooks or WebhookService(database, server_key=None, rules=EgressRules())
        self._direct_uploads = direct_uploads or DirectUploadService(None, max_bytes=0)
        self._addresses = addresses or MediaAddresses(
            database, store, seal=None, rules=EgressRules(), buckets=MediaBuckets()
        )
        #: The API keys.
        self.ring = KeyRing(database)
        #: For those who follow jobs while they run.
        self.live = LiveReader(database)
        #: The lists of words that submissions may name.
        self.vocabularies = Vocabularies(database)
        #: What is asked of the whole rather than of a job.
        self.monitor = Monitor(
            database=database,
            store=store,
            max_queued_jobs=self._terms.max_queued_jobs,
            readiness_checks=readiness_checks or {},
            free_bytes=free_bytes,
        )
        self._admission = Admission(
            engines=engines,
            webhooks=self.webhooks,
            vocabularies=self.vocabularies,
            ring=self.ring,
            monitor=self.monitor,
        )
        #: Makes jobs of recordings, also of those that lie in the store already.
        self.acceptance = Acceptance(
            database=database,
            store=store,
            dispatcher=dispatcher,
            engines=engines,
            terms=self._terms,
            admission=self._admission,
            addresses=self.webhooks.addresses,
        )
        #: For recordings that arrive in several requests.
        self.resumable = ResumableUploads(
            database, store, self._admission, self.acceptance, addresses=self.webhooks.addresses
        )

    def check_submission(self, *, file_name: str | None, head: bytes, fields: Mapping[str, str]) -> Submission:
        """Return what a submission asks for. Raises as :meth:`~batchscribe.admission.Admission.check_submission`."""
        return self._admission.check_submission(file_name=file_name, head=head, fields=fields)

    def begin_upload(self, *, key: ApiKey | None = None) -> Upload:
        """Start taking in a recording. Raises StorageFull, QueueFull, QuotaUsedUp, ServiceUnavailable."""
        self._admission.check_admission(key)
        with store_errors_are_said():
            return self._store.begin_upload()

    def begin_direct_upload(self, *, owner: str, key: ApiKey | None, size_bytes: int | None) -> DirectUpload:
        """Let a client put a recording into the store itself. Raises what :meth:`begin_upload` does.

        NotSetUp where the store takes none, UploadTooLarge where the recording is known to be.
        """
        self._admission.check_admission(key)
        return self._direct_uploads.begin(owner=owner, size_bytes=size_bytes)

    def reclaim_uploads(self) -> None:
        """Remove what uploads left behind that were cut off by a crash."""
        self._store.reclaim(ABANDONED_UPLOAD_SECONDS)

    def submit(
        self,
        upload: Upload,
        *,
        file_name: str,
        head: bytes,
        submission: Submission,
        upload_seconds: float,
        idempotency: Idempotency | None = None,
        key: ApiKey | None = None,
    ) -> TranscriptionJob:
        """Accept a recording: when this returns, it and its job are on disk and the job will be worked on.

        With an idempotency key that was used before, nothing is stored and the first submission's job is returned.
        Raises, and keeps nothing then: UnsupportedMediaFormat; InvalidRequest, UnsupportedLanguage for what the engine
        does not do; IdempotencyConflict; QuotaUsedUp; ServiceUnavailable when store or database do not take it.
        """
        incoming = Incoming(
            media_format=checked_format(file_name, head), commit=upload.commit, upload_seconds=upload_seconds
        )
        return self.acceptance.accept(incoming, submission=submission, idempotency=idempotency, key=key)

    def submit_address(
        self,
        address: str,
        *,
        submission: Submission,
        idempotency: Idempotency | None = None,
        key: ApiKey | None = None,
    ) -> TranscriptionJob:
        """Accept a recording by its address, which is fetched later; otherwise as :meth:`submit`.

        Raises AddressNotAllowed for an address that is not taken, NotSetUp where none is.
        """
        if idempotency is not None and (earlier := self.acceptance.earlier_job(idempotency)) is not None:
            return earlier
        incoming = self._addresses.incoming(address, owner="" if key is None else key.id)
        return self.acceptance.accept(incoming, submission=submission, idempotency=idempotency, key=key)

    def submit_upload(
        self,
        upload_id: str,
        *,
        submission: Submission,
        idempotency: Idempotency | None = None,
        key: ApiKey | None = None,
    ) -> TranscriptionJob:
        """Accept a recording that its owner has put into the store; otherwise as :meth:`submit`.

        Raises UploadNotFound, UploadTooLarge, NotSetUp where the store takes none.
        """
        if idempotency is not None and (earlier := self.acceptance.earlier_job(idempotency)) is not None:
            return earlier
        owner = "" if key is None else key.id
        incoming = self._direct_uploads.incoming(upload_id, owner=owner)
        job = self.acceptance.accept(incoming, submission=submission, idempotency=idempotency, key=key)
        self._direct_uploads.drop(upload_id, owner=owner)
        return job

    def get(self, job_name: str, *, owner: str | None = None) -> TranscriptionJob:
        """Return a job, with its text when it is COMPLETED; of this owner alone where one is given. Raises JobNotFound.

        Everything below that takes an owner raises JobNotFound for another's job, and takes as long.
        """
        if not is_job_name(job_name):
            raise JobNotFound(f"Job not found: {job_name}")
        with reading(self._database) as connection:
            job = jobs.find_job(connection, job_name, with_text=True)
        if job is None or owner not in {None, job.owner}:
            raise JobNotFound(f"Job not found: {job_name}")
        return job

    def list(
        self, *, status: JobStatus | None, max_results: int, next_token: str | None, owner: str | None = None
    ) -> JobPage:
        """Return one page of jobs, latest first. Raises InvalidRequest for a token that is not ours."""
        with reading(self._database) as connection:
            return jobs.list_jobs(
                connection, status=status, max_results=max_results, next_token=next_token, owner=owner
            )

    def cancel(self, job_name: str, *, owner: str | None = None) -> TranscriptionJob:
        """End a job FAILED with code ``cancelled``; its worker stops soon. Raises JobNotFound, JobAlreadyEnded."""
        self.get(job_name, owner=owner)
        with writing(self._database) as connection:
            is_cancelled = jobs.cancel_job(connection, job_name, at=datetime.now(UTC), failure=CANCELLED)
        job = self.get(job_name)
        if not is_cancelled:
            raise JobAlreadyEnded(f"The job has already ended: {job.status.value}.")
        with suppress(OSError, StoreUnavailable):
            self._store.delete_prefix(work_prefix(job_name))
        return job

    def delete(self, job_name: str, *, owner: str | None = None) -> None:
        """Remove a job with its recording and transcript, whatever its status. Raises JobNotFound."""
        job = self.get(job_name, owner=owner)
        # The recording goes first: once the row is gone, nothing says any more that there is a recording to remove.
        try:
            self._store.delete(job.media_key)
        except OSError as error:
            raise ServiceUnavailable("The recording could not be deleted. Try again in a moment.") from error
        with writing(self._database) as connection:
            is_deleted = jobs.delete_job(connection, job_name, at=datetime.now(UTC))
        if not is_deleted:
            raise JobNotFound(f"Job not found: {job_name}")
        # Whatever is left of the working audio goes with the next housekeeping.
        with suppress(OSError, StoreUnavailable):
            self._store.delete_prefix(work_prefix(job_name))

    def transcript(self, job_name: str, *, owner: str | None = None) -> Transcript:
        """Return the transcript of a COMPLETED job. Raises JobNotFound, JobNotFinished."""
        job = self.get(job_name, owner=owner)
        with reading(self._database) as connection:
            transcript = transcripts.find_transcript(connection, job_name)
        if transcript is None:
            if job.failure is not None:
                raise JobNotFinished(f"The job has no transcript because it failed: {job.failure.reason}")
            raise JobNotFinished(f"The job has no transcript yet. Job status: {job.status.value}.")
        return transcript

    def name_speakers(self, job_name: str, names: Mapping[str, str | None], *, owner: str | None = None) -> Transcript:
        """Give speakers names, or with None take them. Raises JobNotFound, JobNotFinished, InvalidRequest."""
        check_labels(self.transcript(job_name, owner=owner), names)
        with writing(self._database) as connection:
            transcripts.name_speakers(connection, job_name, names)
        return self.transcript(job_name)

    def open_media(self, job_name: str, *, owner: str | None = None) -> tuple[TranscriptionJob, BinaryIO]:
        """Return a job and its recording, opened for reading. Raises JobNotFound, MediaNotFound."""
        job = self.get(job_name, owner=owner)
        try:
            return job, self._store.open(job.media_key)
        except MediaMissing as error:
            raise MediaNotFound("The recording is no longer kept.") from error
