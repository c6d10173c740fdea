"""A recording on its way into a bucket: in parts, in constant memory, with nothing on local disk."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from queue import Empty, Queue

from obstore.exceptions import BaseError
from obstore.store import S3Store as Bucket

from batchscribe.errors import StoreUnavailable, UploadTooLarge

#: The folder of uploads that are not committed yet.
UPLOADS = "uploads"
#: A smaller recording is stored by one request, a larger one in parts of this size (S3's least is 5 MiB).
PART_BYTES = 8 << 20
#: What the thread of a transfer is called.
THREAD_NAME = "upload to the bucket"
#: Parts on their way at once; each is held in memory until the bucket has it.
_PARTS_AT_ONCE = 2
#: What CopyObject copies at most: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
LARGEST_BYTES = 5 << 30


class S3Upload:
    """An :class:`~batchscribe.domain.ports.Upload` into a bucket."""

    def __init__(self, objects: Bucket, answering: Callable[[], AbstractContextManager[None]]) -> None:
        """Write to ``objects``; ``answering`` turns what goes wrong there into StoreUnavailable."""
        self._objects = objects
        self._answering = answering
        self._path = f"{UPLOADS}/{uuid.uuid4().hex}"
        #: The beginning, until there is enough of it for a transfer in parts.
        self._head = bytearray()
        self._transfer: _Transfer | None = None
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        """Append bytes; waits while the bucket is slower. Raises StoreUnavailable, UploadTooLarge."""
        self._size_bytes += len(data)
        check_size(self._size_bytes)
        if self._transfer is None:
            self._head += data
            if len(self._head) < PART_BYTES:
                return
            self._transfer = _Transfer(self._objects, self._path)
            data, self._head = bytes(self._head), bytearray()
        with self._answering():
            self._transfer.feed(data)

    def commit(self, key: str) -> int:
        """Make the recording durable under ``key`` and return its size in bytes. Raises StoreUnavailable."""
        with self._answering():
            if self._transfer is None:
                self._objects.put(key, bytes(self._head), use_multipart=False)
            else:
                self._transfer.finish()
                self._objects.copy(self._path, key)
            size_bytes = self._objects.head(key)["size"]
            if size_bytes != self._size_bytes:
                raise OSError(f"{size_bytes} of {self._size_bytes} bytes were stored")
        self.abort()
        return size_bytes

    def abort(self) -> None:
        """Drop everything that was written. Harmless after commit, and twice; what stays is reclaimed later."""
        self._head = bytearray()
        transfer, self._transfer = self._transfer, None
        # A transfer that failed has dropped its parts itself.
        if transfer is not None and transfer.stop():
            with suppress(StoreUnavailable), self._answering():
                remove(self._objects, [self._path])


def check_size(size_bytes: int) -> None:
    """Raise UploadTooLarge where no recording may have so many bytes."""
    if size_bytes > LARGEST_BYTES:
        raise UploadTooLarge(f"The media store takes recordings of up to {LARGEST_BYTES} bytes.")


def remove(objects: Bucket, paths: list[str]) -> None:
    """Remove objects, whether they are there or not. Raises an error of obstore's."""
    try:
        objects.delete(paths)
    except BaseError as error:
        if not _is_cut_off(error):
            raise
        objects.delete(paths)


def _is_cut_off(error: BaseError) -> bool:
    """Whether the connection broke. Obstore repeats no DELETE and POST then, but those that we send may be repeated."""
    return "error sending request" in str(error)


class _Abandoned(Exception):
    """Ends a transfer that is no longer wanted."""


class _Transfer:
    """A multipart upload: obstore draws the pieces in a thread of its own, and drops the parts where that fails."""

    def __init__(self, objects: Bucket, path: str) -> None:
        self._objects = objects
        self._path = path
        #: None is the end; an _Abandoned is thrown.
        self._pieces: Queue[bytes | _Abandoned | None] = Queue(maxsize=1)
        self._has_begun = False
        self._has_ended = threading.Event()
        self._is_stored = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def feed(self, data: bytes) -> None:
        """Hand on bytes. Raises what the transfer failed with."""
        if self._has_ended.is_set():
            self._raise_failure()
        self._hand_on(data)

    def finish(self) -> None:
        """Wait until the object is stored. Raises what the transfer failed with."""
        self._hand_on(None)
        self._thread.join()
        if not self._is_stored:
            self._raise_failure()

    def stop(self) -> bool:
        """Give up where it is under way; return whether there is an object to remove."""
        self._hand_on(_Abandoned())
        self._thread.join()
        return self._is_stored

    def _hand_on(self, piece: bytes | _Abandoned | None) -> None:
        if not self._has_ended.is_set():
            self._pieces.put(piece)

    def _run(self) -> None:
        try:
            try:
                self._send()
            except BaseError as error:
                if self._has_begun or not _is_cut_off(error):
                    raise
                self._send()
            self._is_stored = True
        except _Abandoned:
            pass
        except (BaseError, OSError) as error:
            self._error = error
        finally:
            self._has_ended.set()
            # Whoever waits to hand on a piece need wait no longer.
            with suppress(Empty):
                self._pieces.get_nowait()

    def _send(self) -> None:
        self._objects.put(
            self._path,
            self._drawn_pieces(),
            use_multipart=True,
            chunk_size=PART_BYTES,
            max_concurrency=_PARTS_AT_ONCE,
        )

    def _drawn_pieces(self) -> Iterator[bytes]:
        self._has_begun = True
        while (piece := self._pieces.get()) is not None:
            if isinstance(piece, _Abandoned):
                raise piece
            yield piece

    def _raise_failure(self) -> None:
        raise self._error or OSError("the upload ended before its end")
