"""The media store of one machine: a folder. Recordings are written once, and are on disk before anyone is told so."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from batchscribe.errors import MediaMissing, StorageFull

_UPLOADS = "uploads"
#: Free space is looked at each time this many bytes have been written.
_CHECK_EVERY_BYTES = 64 << 20
_COPY_BYTES = 1 << 20


class FolderStore:
    """A :class:`~batchscribe.domain.ports.MediaStore` in a folder of the local file system.

    A key becomes a path without its extension, so that no program takes a recording for what its name says.
    Files are readable by their owner alone.
    """

    def __init__(self, folder: Path, *, bucket: str, min_free_bytes: int) -> None:
        """Make the folder when it is missing. Uploads are refused while less than ``min_free_bytes`` are free."""
        self.bucket = bucket
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._making_folders = threading.Lock()
        self.make_folder(folder / _UPLOADS)

    def begin_upload(self) -> FolderUpload:
        """Start taking in a recording. Raises StorageFull when free space is below the reserve."""
        self.check_free_space()
        return FolderUpload(self, self._folder / _UPLOADS / uuid.uuid4().hex)

    def check_free_space(self) -> None:
        """Raise StorageFull when free space is below the reserve."""
        if self.free_bytes() < self._min_free_bytes:
            raise StorageFull("The server has too little free disk space to accept uploads. Try again later.")

    def check_room(self, recording_bytes: int, needed_bytes: int | None = None) -> None:
        """Raise StorageFull where so many bytes more would touch the reserve."""
        more_bytes = recording_bytes if needed_bytes is None else needed_bytes
        if self.free_bytes() - more_bytes < self._min_free_bytes:
            raise StorageFull(f"The server has too little free disk space for {recording_bytes} bytes more.")

    def join(self, keys: Iterable[str], key: str) -> int:
        """Copy what lies under ``keys`` into one file. Raises MediaMissing, StorageFull."""
        upload = FolderUpload(self, self._folder / _UPLOADS / uuid.uuid4().hex)
        try:
            for each in keys:
                with self.open(each) as media:
                    while data := media.read(_COPY_BYTES):
                        upload.write(data)
            return upload.commit(key)
        finally:
            upload.abort()

    def free_bytes(self) -> int:
        """Return how many bytes are free on the folder's file system."""
        return shutil.disk_usage(self._folder).free

    def direct_uploads(self) -> None:
        """Return None: no client reaches a folder."""

    def put(self, key: str, data: bytes) -> None:
        """Store bytes durably under ``key``, at once and whole, replacing what was there."""
        upload = FolderUpload(self, self._folder / _UPLOADS / uuid.uuid4().hex)
        try:
            upload.write(data)
            upload.commit(key)
        finally:
            upload.abort()

    def get(self, key: str) -> bytes:
        """Return all bytes under ``key``. Raises MediaMissing."""
        with self.open(key) as media:
            return media.read()

    def open(self, key: str) -> BinaryIO:
        """Open for reading, seekable. Raises MediaMissing."""
        try:
            descriptor = os.open(self.path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise MediaMissing("The recording is no longer in the media store. Upload it again.") from error
        return os.fdopen(descriptor, "rb")

    def size(self, key: str) -> int:
        """Return the size in bytes under ``key``. Raises MediaMissing."""
        with self.open(key) as media:
            return os.fstat(media.fileno()).st_size

    def delete(self, key: str) -> None:
        """Remove ``key``. Harmless when it is not there."""
        self.path(key).unlink(missing_ok=True)

    def delete_prefix(self, prefix: str) -> None:
        """Remove every key that begins with ``prefix`` (which ends in ``/``)."""
        shutil.rmtree(self._prefix_path(prefix), ignore_errors=True)

    def keys_older_than(self, prefix: str, seconds: float) -> list[str]:
        """Return the keys below ``prefix`` (which ends in ``/``), without extension, last written longer ago."""
        limit = time.time() - seconds
        found = []
        for path in self._prefix_path(prefix).rglob("*"):
            try:
                if path.is_file() and path.stat().st_mtime < limit:
                    found.append(path.relative_to(self._folder).as_posix())
            except FileNotFoundError:
                continue
        return found

    def reclaim(self, older_than_seconds: float) -> int:
        """Remove uploads that were never committed and are older than this; return how many.

        One that a living process still holds stays, however long it takes.
        """
        old = [self._folder / key for key in self.keys_older_than(f"{_UPLOADS}/", older_than_seconds)]
        return sum(map(_remove_if_abandoned, old))

    def path(self, key: str) -> Path:
        """Return where a key lies. Keys are ours; one that leaves the folder is our bug and raises ValueError."""
        return self._folder.joinpath(_checked(key).with_suffix(""))

    def make_folder(self, folder: Path) -> None:
        """Make a folder and the missing ones above it; when this returns, all of them are on disk."""
        # One at a time: who finds a folder that another thread has just made must not run ahead of its way to the disk.
        with self._making_folders:
            missing = [each for each in (folder, *folder.parents) if not each.exists()]
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for each in missing:
                _sync_folder(each.parent)

    def _prefix_path(self, prefix: str) -> Path:
        """Return the folder of all keys that begin with ``prefix``. Raises ValueError as :meth:`path` does."""
        if not prefix.endswith("/"):
            raise ValueError(f"not a prefix of the media store: {prefix!r}")
        return self._folder.joinpath(_checked(prefix))


class FolderUpload:
    """An :class:`~batchscribe.domain.ports.Upload` into a :class:`FolderStore`, on the store's own file system."""

    def __init__(self, store: FolderStore, path: Path) -> None:
        """Open ``path`` for writing; it must not exist."""
        self._store = store
        self._path = path
        self._unchecked_bytes = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        # Held while this process lives: see FolderStore.reclaim.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def write(self, data: bytes) -> None:
        """Append bytes. Raises StorageFull when the store's free-space reserve would be touched."""
        self._unchecked_bytes += len(data)
        if self._unchecked_bytes >= _CHECK_EVERY_BYTES:
            self._unchecked_bytes = 0
            self._store.check_free_space()
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise StorageFull("The server could not store the upload. Try again later.") from error

    def commit(self, key: str) -> int:
        """Make the recording durable under ``key`` and return its size in bytes."""
        os.fsync(self._descriptor)
        size_bytes = os.fstat(self._descriptor).st_size
        path = self._store.path(key)
        self._store.make_folder(path.parent)
        self._path.rename(path)
        self._close()
        # The rename must be on disk too.
        _sync_folder(path.parent)
        return size_bytes

    def abort(self) -> None:
        """Drop everything that was written. Harmless after commit, and twice."""
        self._close()
        self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _checked(key: str) -> PurePosixPath:
    """Return a key as a relative path. Raises ValueError where it does not stay below the folder."""
    path = PurePosixPath(key)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in key:
        raise ValueError(f"not a key of the media store: {key!r}")
    return path


def _remove_if_abandoned(path: Path) -> bool:
    """Remove an upload unless it is held; return whether it was removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
