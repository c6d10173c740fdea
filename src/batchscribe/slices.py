"""Adds to an upload that arrives in several requests: slices are stored, then made part of the recording."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Engine as Database

from batchscribe.database import resumable
from batchscribe.database.connection import writing
from batchscribe.domain.media import SNIFF_BYTES, checked_format
from batchscribe.domain.ports import MediaStore
from batchscribe.domain.resumable import LIFETIME, ResumableUpload, Slice, absorbed, new_slice
from batchscribe.errors import MediaMissing, StoreUnavailable, UploadNotFound, UploadOffsetConflict, UploadTooLarge
from batchscribe.storage import store_errors_are_said

#: More slices than this are never stored anew together.
MOST_ABSORBED = 32


class SliceWriter:
    """Adds to one upload, until somebody else takes it over."""

    def __init__(
        self, database: Database, store: MediaStore, upload: ResumableUpload, *, fence: int, tail: list[Slice]
    ) -> None:
        self._database = database
        self._store = store
        self._upload = upload
        self._fence = fence
        #: The last slices, also those that are stored and not yet part of the recording.
        self._tail = tail
        self._head = upload.head
        self._offset_bytes = upload.offset_bytes
        #: Stored, and part of the recording with the next :meth:`commit`; and those that they are in the place of.
        self._new: list[Slice] = []
        self._replaced: list[Slice] = []
        self._began_at = time.monotonic()
        # A request that is cancelled leaves a thread behind that goes on for a moment: it must not add what is dropped.
        self._in_turn = threading.Lock()

    @property
    def upload(self) -> ResumableUpload:
        """The upload as it is after the last commit."""
        return self._upload

    @property
    def missing_bytes(self) -> int:
        """How many bytes may yet be written."""
        return self._upload.length_bytes - self._offset_bytes

    def write(self, data: bytes) -> None:
        """Store bytes, about ``SLICE_BYTES`` at most, for the next commit.

        Raises UploadTooLarge, UnsupportedMediaFormat, StorageFull, ServiceUnavailable.
        """
        if len(data) > self.missing_bytes:
            raise UploadTooLarge(f"The upload was announced with {self._upload.length_bytes} bytes.")
        if not data:
            return
        with self._in_turn:
            self._write(data)

    def commit(self) -> None:
        """Make what was written part of the recording. Raises UploadOffsetConflict where it is ours no more."""
        with self._in_turn:
            self._commit()

    def abort(self) -> None:
        """Drop what was written since the last commit. Nothing more can be written then."""
        with self._in_turn:
            fresh, self._new, self._replaced = self._new, [], []
            self._forget(fresh)

    def _write(self, data: bytes) -> None:
        head = self._head + data[: SNIFF_BYTES - len(self._head)]
        end = self._offset_bytes + len(data)
        if len(self._head) < SNIFF_BYTES and (len(head) == SNIFF_BYTES or end == self._upload.length_bytes):
            checked_format(self._upload.file_name, head)
        taken_in = absorbed(self._tail, len(data))
        try:
            with store_errors_are_said():
                whole = b"".join([*(self._store.get(each.key) for each in taken_in), data]) if taken_in else data
                self._store.check_room(len(whole))
                fresh = new_slice(self._upload.id, offset_bytes=end - len(whole), size_bytes=len(whole))
                self._store.put(fresh.key, whole)
        except MediaMissing as error:
            raise UploadNotFound("The upload was deleted. Begin again.") from error
        self._tail = [*self._tail[: len(self._tail) - len(taken_in)], fresh][-MOST_ABSORBED:]
        dropped = [each for each in taken_in if each in self._new]
        self._replaced += [each for each in taken_in if each not in dropped]
        self._new = [*(each for each in self._new if each not in dropped), fresh]
        self._head, self._offset_bytes = head, end
        self._forget(dropped)

    def _commit(self) -> None:
        if not self._new:
            return
        now, at = time.monotonic(), datetime.now(UTC)
        # Where the database does not tell whether it has taken them, they stay, and housekeeping looks later.
        new, replaced = self._new, self._replaced
        self._new, self._replaced = [], []
        with writing(self._database) as connection:
            is_ours = resumable.add_slices(
                connection,
                self._upload.id,
                fence=self._fence,
                offset_bytes=self._offset_bytes,
                head=self._head,
                new=new,
                in_place_of=replaced,
                seconds=now - self._began_at,
                at=at,
            )
        self._began_at = now
        self._forget(replaced if is_ours else new)
        if not is_ours:
            raise UploadOffsetConflict("Another request has taken this upload over, or it was deleted.")
        self._upload = replace(self._upload, offset_bytes=self._offset_bytes, expires_at=at + LIFETIME)

    def _forget(self, slices: list[Slice]) -> None:
        with suppress(OSError, StoreUnavailable):
            for each in slices:
                self._store.delete(each.key)
