"""The one door to uploads that arrive in several requests: creating, adding to, finishing and dropping them.

A recording is kept in slices until it is whole. A slice is stored under a key of its own, and becomes part of the
recording in one transaction, which names the fence that its request was given. So nothing that a request has begun to
write, or is about to, can reach a recording that another request has taken over: at worst it lies there unused.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy import Engine as Database
from sqlalchemy.exc import IntegrityError

from batchscribe.acceptance import Acceptance, Incoming
from batchscribe.admission import Admission
from batchscribe.database import idempotency as idempotency_keys
from batchscribe.database import resumable
from batchscribe.database.connection import reading, writing
from batchscribe.domain.job import TranscriptionJob
from batchscribe.domain.keys import ApiKey
from batchscribe.domain.media import checked_format
from batchscribe.domain.ports import MediaStore
from batchscribe.domain.resumable import LIFETIME, ResumableUpload, Slice, slices_prefix
from batchscribe.domain.submission import Idempotency, name_of_owner
from batchscribe.errors import (
    IdempotencyConflict,
    InvalidRequest,
    MediaMissing,
    QuotaUsedUp,
    ServiceUnavailable,
    StoreUnavailable,
    UploadNotFound,
    UploadOffsetConflict,
)
from batchscribe.slices import MOST_ABSORBED, SliceWriter
from batchscribe.storage import store_errors_are_said
from batchscribe.webhooks.addresses import AddressSeal

#: So many uploads of one owner may be under way.
MOST_OPEN_UPLOADS = 1000
#: Whoever makes a job and is not heard of for so long is taken for dead.
FINISHING_SECONDS = 15.0


class ResumableUploads:
    """Every method may be called from any thread, in any api; all raise ServiceUnavailable."""

    def __init__(
        self,
        database: Database,
        store: MediaStore,
        admission: Admission,
        acceptance: Acceptance,
        *,
        addresses: AddressSeal,
    ) -> None:
        """Use these parts; ``addresses`` seals those of webhooks."""
        self._database = database
        self._store = store
        self._admission = admission
        self._acceptance = acceptance
        self._addresses = addresses

    def create(
        self,
        *,
        length_bytes: int,
        file_name: str,
        fields: Mapping[str, str],
        metadata: str = "",
        idempotency_key: str | None = None,
        key: ApiKey | None = None,
    ) -> ResumableUpload:
        """Begin an upload, or return the one that the same request has begun before, by its idempotency key.

        Raises what a submission with these fields would raise; StorageFull, UploadTooLarge where there is no room for
        so many bytes; QueueFull, QuotaUsedUp; IdempotencyConflict.
        """
        owner = "" if key is None else key.id
        self._admission.check_fields(fields, owner=owner)
        now = datetime.now(UTC)
        asked = repr((length_bytes, file_name, sorted(fields.items())))
        upload = ResumableUpload(
            id=secrets.token_hex(16),
            owner=owner,
            file_name=file_name,
            fields=fields,
            metadata=metadata,
            length_bytes=length_bytes,
            idempotency_key=idempotency_key,
            fingerprint=hashlib.sha256(asked.encode()).hexdigest(),
            created_at=now,
            expires_at=now + LIFETIME,
        )
        if (earlier := self._earlier(upload)) is not None:
            return earlier
        self._admission.check_admission(key)
        try:
            with self._database.begin() as connection:
                count, needed_bytes = resumable.open_uploads(connection, at=now, owner=owner)
                if count >= MOST_OPEN_UPLOADS:
                    raise QuotaUsedUp(f"{count} of your uploads are under way already. Finish or delete some.")
                with store_errors_are_said():
                    self._store.check_room(length_bytes, needed_bytes + 2 * length_bytes)
                resumable.add_upload(connection, self._sealed(upload))
        except IntegrityError as error:
            # The same request was faster, in the moment since we looked.
            if (earlier := self._earlier(upload)) is None:
                raise ServiceUnavailable("The upload could not be created. Try again in a moment.") from error
            return earlier
        return upload

    def get(self, upload_id: str, *, owner: str) -> ResumableUpload:
        """Return an upload of this owner. Raises UploadNotFound, also once its time is over."""
        with reading(self._database) as connection:
            upload = _found(connection, upload_id, owner=owner)
        return replace(upload, metadata=self._addresses.open(upload.metadata) or "")

    def take_over(self, upload_id: str, *, offset_bytes: int, owner: str) -> SliceWriter:
        """Begin to add to an upload at its offset; whoever was adding to it can do so no more.

        Raises UploadNotFound, UploadOffsetConflict.
        """
        with writing(self._database) as connection:
            at = _found(connection, upload_id, owner=owner).offset_bytes
            fence = resumable.take_over(connection, upload_id, offset_bytes=offset_bytes)
            if fence is None:
                raise UploadOffsetConflict(f"The upload is at byte {at}, not at {offset_bytes}. Go on from there.")
            upload = _found(connection, upload_id, owner=owner)
            tail = resumable.last_slices(connection, upload_id, MOST_ABSORBED)
        return SliceWriter(self._database, self._store, upload, fence=fence, tail=tail)

    def finish(self, upload_id: str, *, owner: str, key: ApiKey | None) -> ResumableUpload:
        """Make the job of a whole recording, once; return the upload, without a job while another request makes it.

        Raises UploadNotFound and what an upload's acceptance raises; then the upload stays, and may be finished later.
        """
        upload = self.get(upload_id, owner=owner)
        if upload.job_name is not None or not upload.is_whole:
            return upload
        with writing(self._database) as connection:
            is_ours = resumable.claim_finishing(connection, upload.id, at=datetime.now(UTC), until=_patience())
            slices = resumable.slices_of(connection, upload.id)
        if not is_ours:
            return self.get(upload_id, owner=owner)
        job: TranscriptionJob | None = None
        try:
            job = self._make_job(upload, slices, key)
        except UploadNotFound:
            now = self.get(upload_id, owner=owner)
            if now.job_name is None:
                raise
            # Whoever was faster has taken the slices away.
            return now
        finally:
            if job is None:
                with suppress(ServiceUnavailable), writing(self._database) as connection:
                    resumable.extend_finishing(connection, upload.id, until=None)
        with writing(self._database) as connection:
            resumable.note_job(connection, upload.id, job.name)
        self._forget_slices(upload.id)
        return self.get(upload_id, owner=owner)

    def delete(self, upload_id: str, *, owner: str) -> None:
        """Drop an upload with all that has arrived; a job that it became stays. Raises UploadNotFound."""
        upload = self.get(upload_id, owner=owner)
        with writing(self._database) as connection:
            resumable.delete_upload(connection, upload.id)
        self._forget_slices(upload.id)

    def _make_job(self, upload: ResumableUpload, slices: list[Slice], key: ApiKey | None) -> TranscriptionJob:
        """Have the job made as for any upload. Its name is tied to this upload, so that a second one is never made."""
        # No caller's own name has spaces in it.
        name = f"resumable upload {upload.id}"
        if upload.idempotency_key is not None:
            name = name_of_owner(upload.owner, upload.idempotency_key)
        return self._acceptance.accept(
            Incoming(
                media_format=checked_format(upload.file_name, upload.head),
                commit=lambda media_key: self._joined(self._kept_alive(upload, slices), media_key),
                upload_seconds=upload.upload_seconds,
            ),
            submission=self._admission.check_fields(self._opened_fields(upload), owner=upload.owner),
            idempotency=Idempotency(
                key=name,
                fingerprint=hashlib.sha256(f"{upload.id} {upload.fingerprint}".encode()).hexdigest(),
            ),
            key=key,
        )

    def _joined(self, slice_keys: Iterator[str], media_key: str) -> int:
        """Join slices to a recording under its key and return its size in bytes. Raises UploadNotFound."""
        try:
            return self._store.join(slice_keys, media_key)
        except MediaMissing as error:
            raise UploadNotFound("The upload was deleted while its job was made. Begin again.") from error

    def _sealed(self, upload: ResumableUpload) -> ResumableUpload:
        """Return an upload as it is kept: the address of its webhook stands twice in it."""
        url = upload.fields.get("webhook_url", "").strip()
        if not url:
            return upload
        fields = {**upload.fields, "webhook_url": self._addresses.seal(url)}
        return replace(upload, fields=fields, metadata=self._addresses.seal(upload.metadata))

    def _opened_fields(self, upload: ResumableUpload) -> Mapping[str, str]:
        """Return the form's fields as they came. Raises InvalidRequest."""
        if (kept := upload.fields.get("webhook_url")) is None:
            return upload.fields
        url = self._addresses.open(kept)
        if url is None:
            raise InvalidRequest(
                "The webhook's address cannot be read any more: the server's secret key was changed. Begin again."
            )
        return {**upload.fields, "webhook_url": url}

    def _kept_alive(self, upload: ResumableUpload, slices: list[Slice]) -> Iterator[str]:
        """Yield the keys of the slices; while they are drawn, nobody else begins to join them."""
        said_at = time.monotonic()
        for each in slices:
            if time.monotonic() > said_at + FINISHING_SECONDS / 3:
                with suppress(ServiceUnavailable), writing(self._database) as connection:
                    resumable.extend_finishing(connection, upload.id, until=_patience())
                said_at = time.monotonic()
            yield each.key

    def _earlier(self, upload: ResumableUpload) -> ResumableUpload | None:
        """Return the upload that the same request has created before. Raises IdempotencyConflict."""
        if upload.idempotency_key is None:
            return None
        name = name_of_owner(upload.owner, upload.idempotency_key)
        with writing(self._database) as connection:
            earlier = resumable.find_by_idempotency_key(connection, upload.owner, upload.idempotency_key)
            if earlier is not None and earlier.expires_at <= upload.created_at:
                resumable.delete_upload(connection, earlier.id)
                earlier = None
            is_used = earlier is None and idempotency_keys.find(connection, name, at=upload.created_at) is not None
        if is_used or (earlier is not None and earlier.fingerprint != upload.fingerprint):
            raise IdempotencyConflict("This Idempotency-Key was used for another recording or other fields.")
        return earlier

    def _forget_slices(self, upload_id: str) -> None:
        """Remove the slices of an upload that is gone; what the store does not remove now, housekeeping will."""
        with suppress(OSError, StoreUnavailable):
            self._store.delete_prefix(slices_prefix(upload_id))


def _found(connection: Connection, upload_id: str, *, owner: str) -> ResumableUpload:
    """Return an upload of this owner whose time is not over. Raises UploadNotFound."""
    # No upload's name has such a byte, and PostgreSQL does not take it even in a question.
    upload = resumable.find_upload(connection, upload_id.replace("\0", "?"))
    if upload is None or upload.owner != owner or upload.expires_at <= datetime.now(UTC):
        raise UploadNotFound("There is no such upload, or its time is over. Begin again.")
    return upload


def _patience() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=FINISHING_SECONDS)
