"""Recordings that clients put into the bucket themselves, by addresses that are signed for them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import timedelta

import obstore
from obstore.store import S3Store as Bucket

from batchscribe.domain.ports import UploadedMedia
from batchscribe.errors import StoreUnavailable, UploadNotFound
from batchscribe.storage.s3_upload import UPLOADS, remove


class S3DirectUploads:
    """The :class:`~batchscribe.domain.ports.DirectUploads` of a bucket.

    They lie among the uploads that are not committed yet, so those that are never submitted are reclaimed with them.
    """

    def __init__(self, objects: Bucket, answering: Callable[[], AbstractContextManager[None]]) -> None:
        """Use ``objects``; ``answering`` turns what goes wrong there into StoreUnavailable."""
        self._objects = objects
        self._answering = answering

    def sign(self, name: str, *, seconds: float) -> str:
        """Return the address that a recording can be PUT to for so many seconds. Raises StoreUnavailable."""
        with self._answering():
            return obstore.sign(self._objects, "PUT", _path(name), timedelta(seconds=seconds))

    def find(self, name: str, *, head_bytes: int) -> UploadedMedia:
        """Return a recording's size and its first bytes. Raises UploadNotFound, StoreUnavailable."""
        with self._answering():
            try:
                size_bytes = self._objects.head(_path(name))["size"]
                length = min(head_bytes, size_bytes)
                head = bytes(self._objects.get_range(_path(name), start=0, length=length)) if length else b""
            except FileNotFoundError:
                raise UploadNotFound("Nothing has been uploaded under this upload_id, or it is used up.") from None
        return UploadedMedia(size_bytes=size_bytes, head=head)

    def commit(self, name: str, key: str) -> int:
        """Copy a recording to ``key`` and return its size in bytes. Raises StoreUnavailable."""
        with self._answering():
            self._objects.copy(_path(name), key)
            return self._objects.head(key)["size"]

    def drop(self, name: str) -> None:
        """Remove a recording; where that fails, it is reclaimed later."""
        with suppress(StoreUnavailable), self._answering():
            remove(self._objects, [_path(name)])


def _path(name: str) -> str:
    return f"{UPLOADS}/direct-{name}"
