"""The first step of a job whose recording lies elsewhere: it is fetched into the media store, and the job goes its way.

A try that fails is followed by another, later and by any worker; nobody's place is held meanwhile. The way is the same
as an upload's: the recording is on disk before the row says so, and the row's change and what follows are one
transaction.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from batchscribe.database import jobs, media_sources
from batchscribe.database.media_sources import MediaSource
from batchscribe.domain.job import Failure, JobStatus, TranscriptionJob, media_key
from batchscribe.domain.media import MediaFormat, checked_format, sniff
from batchscribe.domain.media_sources import best_name, is_bucket_address, name_in_address, read_bucket_address
from batchscribe.domain.ports import MediaStore
from batchscribe.egress import Egress
from batchscribe.errors import (
    AddressNotAllowed,
    Cancelled,
    MediaMissing,
    MediaNotRecognised,
    MediaRefused,
    MediaUnreachable,
    UnsupportedMediaFormat,
    UploadTooLarge,
)
from batchscribe.sealing import Seal
from batchscribe.storage.buckets import MediaBuckets
from batchscribe.workflow.dispatch import Dispatcher
from batchscribe.workflow.download import Download
from batchscribe.workflow.in_flight import InFlight
from batchscribe.workflow.intake import SLICE_BYTES, FetchLimits, Intake, Watch

logger = logging.getLogger(__name__)

#: What no other try would better.
FINAL_ERRORS = (AddressNotAllowed, MediaMissing, MediaNotRecognised, MediaRefused, UploadTooLarge)
#: How often a fetch is looked at: whether it is still wanted, and fast enough.
LOOK_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """Fetches recordings."""

    database: Database
    store: MediaStore
    dispatcher: Dispatcher
    in_flight: InFlight
    egress: Egress
    buckets: MediaBuckets
    seal: Seal
    limits: FetchLimits

    def fetch(self, job_name: str, attempt: int) -> None:
        """Fetch a job's recording and send the job on its way, or have it tried again later, or end the job FAILED."""
        with self.in_flight.hold(job_name):
            with self.database.begin() as connection:
                source = media_sources.begin(connection, job_name, attempt)
                job = jobs.find_job(connection, job_name)
            if source is None or job is None:
                return
            try:
                self._fetch(job, self._unsealed(source))
            except Cancelled:
                return
            except MediaUnreachable as error:
                self._try_later(job, source, attempt, error)
            except FINAL_ERRORS as error:
                self.fail(job_name, Failure(code=error.code, reason=str(error)))

    def fail(self, job_name: str, failure: Failure) -> None:
        """End a job FAILED, unless it has ended already."""
        with self.database.begin() as connection:
            failed = jobs.move_job(connection, job_name, JobStatus.FAILED, at=datetime.now(UTC), failure=failure)
        if failed:
            logger.info("job failed", extra={"job_name": job_name, "code": failure.code})

    def _unsealed(self, source: MediaSource) -> str:
        """Return the address in clear. Raises MediaRefused where the server's key is another now."""
        address = self.seal.open(source.sealed_address)
        if address is None:
            raise MediaRefused(
                "The address cannot be read any more: the server's secret key was changed. Submit it again."
            )
        return address

    def _fetch(self, job: TranscriptionJob, address: str) -> None:
        began_at = time.monotonic()
        intake = Intake(upload=self.store.begin_upload())
        try:
            if is_bucket_address(address):
                name = self._from_bucket(job, address, intake)
            else:
                name = self._from_host(job, address, intake)
            intake.flush()
            media_format = _format(name, intake)
            self._keep(job, intake, media_format, seconds=time.monotonic() - began_at)
        finally:
            intake.upload.abort()

    def _from_host(self, job: TranscriptionJob, address: str, intake: Intake) -> str:
        """Take in what a host gives; return what it is called."""
        download = Download(address=address, max_bytes=self.limits.max_bytes, write=intake.write)
        try:
            asyncio.run(self._watched(job, download))
        finally:
            if download.was_reached:
                with self.database.begin() as connection:
                    media_sources.note_reached(connection, job.name)
        if sniff(intake.head) is None and download.content_type in {"text/html", "application/xhtml+xml"}:
            raise MediaNotRecognised("The address leads to a web page, not to a recording.")
        return best_name(*download.names)

    async def _watched(self, job: TranscriptionJob, download: Download) -> None:
        """Run a download while it is wanted, and fast enough. Raises Cancelled, MediaUnreachable and its own."""
        watch = Watch(self.limits)
        running = asyncio.create_task(download.run(self.egress))
        try:
            while not (await asyncio.wait({running}, timeout=LOOK_SECONDS))[0]:
                self._check_wanted(job)
                watch.check(download.received_bytes)
                if watch.is_to_be_noted():
                    self._note_progress(job, download.received_bytes, download.declared_bytes)
            running.result()
        except MediaUnreachable as error:
            error.was_reached = download.was_reached
            raise
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _from_bucket(self, job: TranscriptionJob, address: str, intake: Intake) -> str:
        """Take in what a bucket has; return what it is called."""
        source = read_bucket_address(address)
        watch = Watch(self.limits)
        with self._opened(source.bucket, source.key) as (size_bytes, pieces):
            if size_bytes > self.limits.max_bytes:
                raise UploadTooLarge(f"The recording is larger than the limit of {self.limits.max_bytes} bytes.")
            for piece in pieces:
                intake.write(piece)
                self._check_wanted(job)
                if watch.is_to_be_noted():
                    self._note_progress(job, intake.received_bytes, size_bytes)
        return name_in_address(address)

    @contextmanager
    def _opened(self, bucket: str, key: str) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Open an object of a bucket: our own store's, or another that may be read. Yields its size and its bytes."""
        if bucket != self.store.bucket:
            yield self.buckets.open(bucket, key)
            return
        with self.store.open(key) as media:
            yield self.store.size(key), iter(lambda: media.read(SLICE_BYTES), b"")

    def _check_wanted(self, job: TranscriptionJob) -> None:
        if self.in_flight.is_ended(job.name):
            raise Cancelled("Cancelled by request.")

    def _note_progress(self, job: TranscriptionJob, received_bytes: int, declared_bytes: int | None) -> None:
        try:
            with self.database.begin() as connection:
                media_sources.note_progress(connection, job.name, received_bytes, declared_bytes)
        except SQLAlchemyError as error:
            # Progress is a courtesy: what has come must not be fetched anew for it.
            logger.warning("progress could not be stored: %s", type(error).__name__, extra={"job_name": job.name})

    def _keep(self, job: TranscriptionJob, intake: Intake, media_format: MediaFormat, *, seconds: float) -> None:
        """Store the recording, then say so and send the job on; where nobody waits any more, remove it again."""
        key = media_key(job.name, media_format.value, job.created_at)
        with self.database.begin() as connection:
            url = f"s3://{self.store.bucket}/{key}"
            is_wanted = media_sources.settle(
                connection, job.name, media_format=media_format, media_key=key, media_url=url
            )
        if not is_wanted:
            return
        size_bytes = intake.upload.commit(key)
        with self.database.begin() as connection:
            is_wanted = media_sources.end(connection, job.name, size_bytes=size_bytes, seconds=seconds)
            if is_wanted:
                self._send_on(job)(connection, job.name, priority_rank=job.priority.rank, size_bytes=size_bytes)
            now = jobs.find_job(connection, job.name)
        # Another worker may have stored it meanwhile: then it is needed.
        if not is_wanted and (now is None or now.is_fetching):
            self.store.delete(key)

    def _send_on(self, job: TranscriptionJob) -> Callable[..., None]:
        return self.dispatcher.enqueue_recording if job.engine is None else self.dispatcher.enqueue_hand_over

    def _try_later(self, job: TranscriptionJob, source: MediaSource, attempt: int, error: MediaUnreachable) -> None:
        """Have it tried again after a pause that grows, or give it up."""
        limits = self.limits
        pause_seconds = min(limits.first_pause_seconds * 2 ** min(attempt, 20), limits.longest_pause_seconds)
        pause_seconds = max(pause_seconds * random.uniform(0.8, 1.2), error.retry_after_seconds)  # noqa: S311
        was_reached = source.was_reached or error.was_reached
        patience = limits.patience if was_reached else limits.patience_unreached
        now = datetime.now(UTC)
        if now + timedelta(seconds=pause_seconds) > (source.failing_since or now) + patience:
            tries = f"{attempt + 1} tries" if attempt else "one try"
            self.fail(job.name, Failure(code=error.code, reason=f"{error} Given up after {tries}."))
            return
        logger.info(
            "a recording could not be fetched; trying again",
            extra={"job_name": job.name, "attempt": attempt + 1, "seconds": round(pause_seconds, 1)},
        )
        with self.database.begin() as connection:
            if media_sources.end_attempt(connection, job.name, attempt, at=now):
                self.dispatcher.enqueue_fetch(
                    connection,
                    job.name,
                    priority_rank=job.priority.rank,
                    attempt=attempt + 1,
                    delay_seconds=pause_seconds,
                )


def _format(name: str, intake: Intake) -> MediaFormat:
    """Return a recording's format as an upload's. Raises MediaNotRecognised."""
    try:
        return checked_format(name, intake.head)
    except UnsupportedMediaFormat as error:
        supported = ", ".join(each.value for each in MediaFormat)
        raise MediaNotRecognised(
            f"What the address leads to is no recording of a supported format: {supported}"
        ) from error
