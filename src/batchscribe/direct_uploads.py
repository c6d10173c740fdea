"""Recordings that clients put into the bucket themselves: permission now, the job when it is there."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from batchscribe.acceptance import Incoming
from batchscribe.domain.media import SNIFF_BYTES, MediaFormat, sniff
from batchscribe.domain.ports import DirectUploads
from batchscribe.errors import NotSetUp, UnsupportedMediaFormat, UploadNotFound, UploadTooLarge
from batchscribe.storage import store_errors_are_said

#: For so long a signed address is good: a slow line needs hours for a large recording.
LIFETIME = timedelta(hours=6)
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectUpload:
    """Permission to put one recording into the bucket."""

    id: str
    #: A secret: whoever has it may put the recording there.
    url: str
    expires_at: datetime
    max_bytes: int


class DirectUploadService:
    """Gives permissions, each of one owner. May be used from any thread."""

    def __init__(self, uploads: DirectUploads | None, *, max_bytes: int) -> None:
        """Use the store's ``uploads``; None where it takes recordings from nobody else."""
        self._uploads = uploads
        self._max_bytes = max_bytes

    def begin(self, *, owner: str, size_bytes: int | None) -> DirectUpload:
        """Give permission for one recording. Raises NotSetUp, UploadTooLarge, ServiceUnavailable."""
        self._check_size(size_bytes or 0)
        upload_id = secrets.token_hex(16)
        expires_at = datetime.now(UTC) + LIFETIME
        with store_errors_are_said():
            url = self._store().sign(_name(upload_id, owner), seconds=LIFETIME.total_seconds())
        return DirectUpload(id=upload_id, url=url, expires_at=expires_at, max_bytes=self._max_bytes)

    def incoming(self, upload_id: str, *, owner: str) -> Incoming:
        """Return what becomes a job of an uploaded recording.

        Raises UploadNotFound for one that is not there or another's, UploadTooLarge, UnsupportedMediaFormat,
        NotSetUp, ServiceUnavailable.
        """
        name = _name(upload_id, owner)
        store = self._store()
        with store_errors_are_said():
            found = store.find(name, head_bytes=SNIFF_BYTES)
        if found.size_bytes > self._max_bytes:
            store.drop(name)
        self._check_size(found.size_bytes)
        media_format = sniff(found.head)
        if media_format is None:
            supported = ", ".join(each.value for each in MediaFormat)
            raise UnsupportedMediaFormat(f"What was uploaded is no recording. Supported formats: {supported}")
        return Incoming(media_format=media_format, commit=lambda key: store.commit(name, key), upload_seconds=0.0)

    def drop(self, upload_id: str, *, owner: str) -> None:
        """Remove an uploaded recording, whether it is there or not."""
        self._store().drop(_name(upload_id, owner))

    def _store(self) -> DirectUploads:
        if self._uploads is None:
            raise NotSetUp(
                "This server keeps recordings in a folder, where clients cannot put them themselves. "
                "Upload in one form, or resumably at /files."
            )
        return self._uploads

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise UploadTooLarge(f"The recording is larger than the limit of {self._max_bytes} bytes.")


def _name(upload_id: str, owner: str) -> str:
    """Return what an owner's upload is called in the store: another's key leads elsewhere. Raises UploadNotFound."""
    if not _ID.fullmatch(upload_id):
        raise UploadNotFound("There is no such upload_id.")
    return f"{owner or 'open'}-{upload_id}"
