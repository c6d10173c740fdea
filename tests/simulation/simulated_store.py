"""Recordings made of a few words instead of sound, and a media store in memory that can fail."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from simulated_world import World

from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ
from batchscribe.domain.resumable import INCOMING
from batchscribe.errors import MediaMissing, StorageFull, StoreUnavailable


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What is uploaded: a few words for the simulated decoder and engine instead of sound."""

    number: int
    seconds: float
    #: How long the caller wants the job, and its recording alone, kept after its end; None is for ever.
    delete_after_seconds: int | None = None
    delete_media_after_seconds: int | None = None
    #: The caller's own name for the submission.
    idempotency_key: str | None = None
    #: ``good``, ``silent``, ``damaged`` (fails in the middle) or ``poison`` (the engine dies of its last chunk).
    kind: str

    @property
    def data(self) -> bytes:
        """The recording's bytes, taken for an MP3."""
        return b"ID3" + json.dumps(asdict(self)).encode()

    def pcm(self) -> bytes:
        """Return what the decoder makes of it: every hundredth of a second has a level of its own."""
        samples = SAMPLE_RATE_HERTZ // 100
        if self.kind == "silent":
            return bytes(round(self.seconds * 100) * samples * BYTES_PER_SAMPLE)
        levels = [(self.number * 37 + place * place * 11) % 251 for place in range(round(self.seconds * 100))]
        return b"".join(level.to_bytes(2, "little") * samples for level in levels)


def read_recording(data: bytes) -> Recording:
    """Read a recording's bytes again."""
    return Recording(**json.loads(data[3:]))


class SimulatedStore:
    """A media store in memory; whole objects, as ``domain/ports.py`` says."""

    bucket = "simulated"

    def __init__(self, world: World) -> None:
        self._world = world
        self.objects: dict[str, tuple[bytes, float]] = {}
        #: Every recording that was ever committed, by its whole key.
        self.committed: dict[str, Recording] = {}
        self._uploads = 0
        #: A folder raises the one, a store over the network the other.
        self._error = world.dice.choice([OSError(5, "simulated"), StoreUnavailable("simulated")])

    def begin_upload(self) -> SimulatedUpload:
        """Start taking in a recording."""
        with self._effect("begin_upload"):
            self._uploads += 1
            key = f"uploads/{self._uploads}"
            self.objects[key] = (b"", self._world.now)
        return SimulatedUpload(self, self._world, key)

    def direct_uploads(self) -> None:
        """Return None: nobody else puts anything here."""

    def check_room(self, recording_bytes: int, needed_bytes: int | None = None) -> None:
        """Have room."""

    def join(self, keys: Iterable[str], key: str) -> int:
        """Store what lies under keys as one."""
        data = b"".join(map(self.get, keys))
        self.put(key, data)
        return len(data)

    def put(self, key: str, data: bytes) -> None:
        """Store bytes."""
        with self._effect("put"):
            self.objects[_plain(key)] = (data, self._world.now)

    def get(self, key: str) -> bytes:
        """Return bytes. Raises MediaMissing."""
        with self._effect("get"):
            if _plain(key) not in self.objects:
                raise MediaMissing("The recording is no longer in the media store.")
            return self.objects[_plain(key)][0]

    def open(self, key: str) -> BinaryIO:
        """Open for reading. Raises MediaMissing."""
        return io.BytesIO(self.get(key))

    def size(self, key: str) -> int:
        """Return the size in bytes. Raises MediaMissing."""
        return len(self.get(key))

    def delete(self, key: str) -> None:
        """Remove a key."""
        with self._effect("delete"):
            self.objects.pop(_plain(key), None)

    def delete_prefix(self, prefix: str) -> None:
        """Remove keys one by one: it can be interrupted."""
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            self.delete(key)

    def keys_older_than(self, prefix: str, seconds: float) -> list[str]:
        """Return old keys without their extension."""
        # Resumable uploads are not simulated: nothing is asked of the dice for them.
        if prefix == INCOMING:
            return []
        with self._effect("keys_older_than"):
            limit = self._world.now - seconds
            return [
                key for key, (_, moment) in sorted(self.objects.items()) if key.startswith(prefix) and moment < limit
            ]

    def reclaim(self, older_than_seconds: float) -> int:
        """Remove old uploads."""
        old = self.keys_older_than("uploads/", older_than_seconds)
        for key in old:
            self.delete(key)
        return len(old)

    def recording_of(self, job_name: str) -> Recording:
        """Return the recording that was uploaded for a job."""
        return next(recording for key, recording in self.committed.items() if job_name in key)

    @contextmanager
    def _effect(self, label: str) -> Iterator[None]:
        world = self._world
        world.point(f"before store.{label}")
        if world.is_out(world.faults.store_outage) or world.chance(world.faults.store_error):
            world.note(f"store error before {label}")
            raise self._error
        yield
        world.point(f"after store.{label}")
        if world.chance(world.faults.store_false_error):
            world.note(f"store error after {label}")
            raise self._error


def _plain(key: str) -> str:
    """Return a key without its extension, as stores keep them."""
    return str(PurePosixPath(key).with_suffix(""))


class SimulatedUpload:
    """A recording on its way into the store."""

    def __init__(self, store: SimulatedStore, world: World, key: str) -> None:
        self._store, self._world, self._key = store, world, key
        self._data = b""

    def write(self, data: bytes) -> None:
        """Append bytes."""
        try:
            with self._store._effect("write"):
                self._data += data
                self._store.objects[self._key] = (self._data, self._world.now)
        except OSError as error:
            raise StorageFull("simulated") from error

    def commit(self, key: str) -> int:
        """Make the recording durable."""
        with self._store._effect("commit"):
            if self._key not in self._store.objects:
                raise FileNotFoundError(self._key)
            self._store.objects[_plain(key)] = (self._data, self._world.now)
            self._store.objects.pop(self._key, None)
            self._store.committed[key] = read_recording(self._data)
        return len(self._data)

    def abort(self) -> None:
        """Drop what was written."""
        self._world.point("before abort")
        self._store.objects.pop(self._key, None)
