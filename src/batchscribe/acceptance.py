"""The one place where a recording becomes a job, however it came: at once, in parts, or yet to be fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Connection
from sqlalchemy import Engine as Database
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from batchscribe.admission import Admission
from batchscribe.database import idempotency as idempotency_keys
from batchscribe.database import jobs, word_lists
from batchscribe.database.connection import reading
from batchscribe.domain.job import TranscriptionJob, accepted_job, media_key, new_job_name
from batchscribe.domain.keys import ApiKey
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.options import Capabilities
from batchscribe.domain.ports import MediaStore
from batchscribe.domain.submission import Idempotency, Submission, Terms, choose_engine
from batchscribe.errors import RequestRefused, ServiceUnavailable, StoreUnavailable
from batchscribe.key_ring import check_quotas
from batchscribe.storage import store_errors_are_said
from batchscribe.webhooks.addresses import AddressSeal
from batchscribe.workflow.dispatch import Dispatcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A recording that is to become a job."""

    media_format: MediaFormat
    #: Makes the recording durable under the key that it is given, and returns its size in bytes, as
    #: :meth:`~batchscribe.domain.ports.Upload.commit` does.
    commit: Callable[[str], int]
    #: Seconds that it took to arrive.
    upload_seconds: float
    #: What changes in the transaction that stores the job, given its name: whatever it raises undoes the job.
    alongside: Callable[[Connection, str], None] | None = None
    #: Whether it is yet to be fetched from an address, which ``alongside`` stores.
    is_fetched: bool = False


class Acceptance:
    """Makes jobs of recordings. May be used from any thread."""

    def __init__(
        self,
        *,
        database: Database,
        store: MediaStore,
        dispatcher: Dispatcher,
        engines: Mapping[str, Capabilities],
        terms: Terms,
        admission: Admission,
        addresses: AddressSeal,
    ) -> None:
        """Use these parts. Of ``engines``, by name, the first is the default; ``addresses`` seals jobs' webhooks."""
        self._database = database
        self._store = store
        self._dispatcher = dispatcher
        self._engines = engines
        self._terms = terms
        self._admission = admission
        self._addresses = addresses

    def accept(
        self,
        incoming: Incoming,
        *,
        submission: Submission,
        idempotency: Idempotency | None = None,
        key: ApiKey | None = None,
    ) -> TranscriptionJob:
        """Accept a recording: when this returns, it and its job are on disk and the job will be worked on.

        With an idempotency key that was used before, nothing is stored and the first submission's job is returned.
        Raises, and keeps nothing then: InvalidRequest, UnsupportedLanguage for what the engine does not do;
        IdempotencyConflict; QuotaUsedUp; ServiceUnavailable when store or database do not take it.
        """
        if idempotency is not None and (earlier := self.earlier_job(idempotency)) is not None:
            return earlier
        engine = choose_engine(submission, self._engines)
        owner = "" if key is None else key.id
        named_lists = self._admission.named_lists(submission, owner=owner)
        if submission.webhook is not None:
            submission = replace(submission, webhook=self._addresses.sealed(submission.webhook))
        now = datetime.now(UTC)
        name = new_job_name()
        media = media_key(name, incoming.media_format.value, now)
        job = accepted_job(
            submission,
            self._terms,
            name=name,
            engine=engine,
            media_key=media,
            media_format=incoming.media_format,
            media_size_bytes=self._commit(incoming, media),
            media_url=f"s3://{self._store.bucket}/{media}",
            upload_seconds=incoming.upload_seconds,
            created_at=now,
            owner=owner,
            is_fetching=incoming.is_fetched,
        )
        try:
            with self._database.begin() as connection:
                jobs.add_job(connection, job)
                if key is not None:
                    check_quotas(connection, key, is_counted=True)
                for words in named_lists:
                    word_lists.keep_words(connection, name, words)
                if idempotency is not None:
                    idempotency_keys.remember(connection, idempotency, name, at=now)
                if incoming.alongside is not None:
                    incoming.alongside(connection, name)
                self._enqueue(connection, job)
        except RequestRefused:
            self._forget_recording(media)
            raise
        except IntegrityError as error:
            # Another submission with this key was faster, in the moment since we looked.
            self._forget_recording(media)
            if idempotency is None or (earlier := self.earlier_job(idempotency)) is None:
                raise ServiceUnavailable("The job could not be stored. Try again in a moment.") from error
            return earlier
        except SQLAlchemyError as error:
            # A commit may have happened although it was reported as failed: only a job that is not there is undone.
            if not self._is_stored(name):
                # Where the connection broke it may be happening yet: then the recording stays until housekeeping looks.
                if not (isinstance(error, DBAPIError) and error.connection_invalidated):
                    self._forget_recording(media)
                raise ServiceUnavailable("The job could not be stored. Try again in a moment.") from error
        return job

    def earlier_job(self, idempotency: Idempotency) -> TranscriptionJob | None:
        """Return the job that the same submission has made before, or None. Raises IdempotencyConflict."""
        with reading(self._database) as connection:
            return idempotency_keys.earlier_job(connection, idempotency, at=datetime.now(UTC))

    def _commit(self, incoming: Incoming, media: str) -> int:
        """Make the recording durable and return its size in bytes. Raises ServiceUnavailable."""
        try:
            with store_errors_are_said():
                return incoming.commit(media)
        except ServiceUnavailable:
            # It may have its name already, but perhaps not on disk.
            self._forget_recording(media)
            raise

    def _enqueue(self, connection: Connection, job: TranscriptionJob) -> None:
        if job.is_fetching:
            self._dispatcher.enqueue_fetch(connection, job.name, priority_rank=job.priority.rank)
            return
        enqueue = self._dispatcher.enqueue_recording if job.engine is None else self._dispatcher.enqueue_hand_over
        enqueue(connection, job.name, priority_rank=job.priority.rank, size_bytes=job.media_size_bytes)

    def _forget_recording(self, key: str) -> None:
        """Remove a recording that has no job; where the store does not do it, housekeeping will a day later."""
        with suppress(OSError, StoreUnavailable):
            self._store.delete(key)

    def _is_stored(self, job_name: str) -> bool:
        """Whether a job is in the database. Raises ServiceUnavailable where that cannot be told."""
        try:
            with self._database.connect() as connection:
                return jobs.find_job(connection, job_name) is not None
        except SQLAlchemyError as error:
            raise ServiceUnavailable("It is not known whether the job was stored. Look for it in the list.") from error
