"""The parts around the product's own code in the simulation: what they promise is kept, and what they may do wrong, done."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from simulated_world import Signal, World
from sqlalchemy import Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import OperationalError

from batchscribe.database.schema import metadata
from batchscribe.domain.media import MediaInfo
from batchscribe.domain.options import Capabilities, TranscriptionOptions
from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ, ChunkAudio
from batchscribe.domain.transcript import Segment
from batchscribe.engines.scripted import ScriptedEngine
from batchscribe.errors import (
    Cancelled,
    DecoderCrashed,
    EngineCrashed,
    MediaDamaged,
    MediaMissing,
    StorageFull,
    StoreUnavailable,
)
from batchscribe.workflow.dispatch import chunk_priority

_WORK_TABLE = """
CREATE TABLE work (
    id TEXT PRIMARY KEY, job_name TEXT NOT NULL, chunk_index INTEGER, priority INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'ENQUEUED', executor TEXT
)
"""


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


class SimulatedDatabase:
    """Our real tables in memory. A transaction is one moment; before and after it, and between reads, is a point."""

    def __init__(self, world: World, on_commit: Callable[[sqlite3.Connection], None]) -> None:
        self._world = world
        self._on_commit = on_commit
        self.raw, self._engine, empty = _memory()
        self.raw.rollback()
        self.raw.deserialize(empty)
        self.dialect = self._engine.dialect
        #: Of the transaction that is open.
        self._statements: list[tuple[str, Any]] = []
        #: How many commits will yet happen whose connection broke.
        self.late_commits = 0
        event.listen(self._engine, "before_cursor_execute", self._before_statement)

    def close(self) -> None:
        """Leave the connection to the next simulation."""
        event.remove(self._engine, "before_cursor_execute", self._before_statement)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Run a transaction, as SQLAlchemy's engine does."""
        self._world.point("before a transaction")
        self._refuse_in_outage()
        with self._engine.begin() as connection:
            self._statements.clear()
            yield connection
            if self._world.chance(self._world.faults.database_error):
                self._world.note("database error at the commit; nothing was committed")
                raise _lost()
            is_submission = "INTO transcription_jobs" in self._statements[0][0] if self._statements else False
            if is_submission and self._world.chance(self._world.faults.late_commit):
                self._world.note("the connection breaks at the commit, which will happen later")
                statements = list(self._statements)
                self.late_commits += 1
                self._world.later(self._world.dice.uniform(0.0, 3.0), lambda: self._commit_late(statements))
                raise _lost()
        self._on_commit(self.raw)
        self._world.point("after a transaction")
        if self._world.chance(self._world.faults.database_false_error):
            self._world.note("database error at the commit, although it was committed")
            raise _lost()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Read, as SQLAlchemy's engine does."""
        self._world.point("before a read")
        self._refuse_in_outage()
        if self._world.chance(self._world.faults.database_error):
            self._world.note("database error at a read")
            raise _lost()
        with self._engine.connect() as connection:
            yield connection

    def _before_statement(self, _connection: Any, _cursor: Any, sql: str, values: Any, *_: Any) -> None:
        # Within a transaction nobody else runs, which is what SQLite promises to one that writes.
        if not self.raw.in_transaction:
            self._world.point("between statements")
            self._statements.clear()
        self._statements.append((sql, values))

    def _commit_late(self, statements: list[tuple[str, Any]]) -> None:
        self.late_commits -= 1
        try:
            with self.raw:
                for sql, values in statements:
                    self.raw.execute(sql, values)
        except sqlite3.IntegrityError:
            return
        self._on_commit(self.raw)

    def _refuse_in_outage(self) -> None:
        if self._world.is_out(self._world.faults.database_outage):
            raise _lost()


class _Memory(sqlite3.Connection):
    """The database itself: SQLAlchemy closes what was in use when a greenlet is killed, but here all share it."""

    def close(self) -> None:
        """Stay open."""


@cache
def _memory() -> tuple[sqlite3.Connection, Engine, bytes]:
    """Return one connection for all simulations, since SQLAlchemy is slow to begin, and the empty tables."""
    raw = sqlite3.connect(":memory:", isolation_level="IMMEDIATE", factory=_Memory)
    engine = create_engine("sqlite://", poolclass=StaticPool, creator=lambda: raw)
    metadata.create_all(engine)
    raw.execute(_WORK_TABLE)
    raw.commit()
    raw.execute("PRAGMA foreign_keys=ON")
    return raw, engine, raw.serialize()


def _lost() -> OperationalError:
    cause = sqlite3.OperationalError("the connection was lost")
    return OperationalError("simulated", None, cause, connection_invalidated=True)


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


@dataclass
class SimulatedAudio:
    """A recording while it is decoded."""

    world: World
    recording: Recording
    info: MediaInfo
    warnings: list[str]

    def blocks(self) -> Iterator[bytes]:
        """Yield PCM. Raises what a damaged recording or a killed child raises."""
        pcm = self.recording.pcm()
        for start in range(0, len(pcm), 1 << 15):
            self.world.sleep(0.005)
            if self.world.chance(self.world.faults.decoder_crash):
                self.world.note("the decoder is killed")
                raise DecoderCrashed("The decoder died.")
            if self.recording.kind == "damaged" and start >= len(pcm) // 2:
                raise MediaDamaged("The recording is damaged.")
            yield pcm[start : start + (1 << 15)]


class SimulatedDecoder:
    """Reads :class:`Recording` again, in virtual time."""

    def __init__(self, world: World) -> None:
        self._world = world

    @contextmanager
    def open(self, media: BinaryIO) -> Iterator[SimulatedAudio]:
        """Begin to decode; headers lie about the length now and then."""
        self._world.point("before decoding")
        recording = read_recording(media.read())
        info = MediaInfo(
            container="mp3",
            codec="mp3float",
            sample_rate_hertz=44_100,
            channels=1,
            declared_duration=None if recording.number % 2 else recording.seconds * 2,
        )
        yield SimulatedAudio(self._world, recording, info, [])

    def close(self) -> None:
        """Do nothing."""


class SimulatedEngine:
    """The scripted engine in virtual time, with processes that can die."""

    def __init__(
        self, world: World, *, poison: Callable[[ChunkAudio], bool], extra_seconds: Callable[[ChunkAudio], float]
    ) -> None:
        self._world = world
        self._poison = poison
        self._extra_seconds = extra_seconds
        self._scripted = ScriptedEngine()
        self.capabilities: Capabilities = self._scripted.capabilities

    def recognise(
        self,
        chunk: ChunkAudio,
        options: TranscriptionOptions,
        *,
        on_progress: Callable[[float], None],
        is_cancelled: Callable[[], bool],
    ) -> tuple[Segment, ...]:
        """Recognise one chunk. Raises Cancelled, EngineCrashed."""
        self._world.note(f"engine begins {chunk.job_name} chunk {chunk.index}")
        for step in range(1, 4):
            self._world.sleep(chunk.duration * self._world.dice.uniform(0.1, 1.0) + self._extra_seconds(chunk) / 3)
            if is_cancelled():
                raise Cancelled("Cancelled by request.")
            on_progress(chunk.duration * step / 3)
        if self._poison(chunk) or self._world.chance(self._world.faults.engine_crash):
            self._world.note("the engine dies")
            raise EngineCrashed("Recognition failed each time it was tried.")
        return self._scripted.recognise(chunk, options, on_progress=lambda _: None, is_cancelled=lambda: False)

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One piece of work that an executor has claimed."""

    id: str
    job_name: str
    #: None for a recording.
    index: int | None


class SimulatedQueue:
    """The durable engine: work is enqueued in the caller's transaction, claimed by one executor, recovered from the dead."""

    def __init__(self, world: World, database: SimulatedDatabase) -> None:
        self._world, self._database = world, database
        self.changed = Signal(world)

    # What the product calls (workflow/dispatch.py).

    def enqueue_recording(self, connection: Connection, job_name: str, *, priority_rank: int, size_bytes: int) -> None:
        """Add the work of a recording, once."""
        self._enqueue(connection, job_name, job_name, None, chunk_priority(priority_rank, size_bytes))

    def enqueue_chunk(self, connection: Connection, job_name: str, index: int, *, priority_rank: int) -> None:
        """Add the work of a chunk, once."""
        self._enqueue(connection, f"{job_name}:{index}", job_name, index, chunk_priority(priority_rank, index))

    def forget_finished(self, *, most: int = 500) -> int:
        """Drop the records of finished work."""
        with self._database.begin() as connection:
            sql = "DELETE FROM work WHERE id IN (SELECT id FROM work WHERE status = 'SUCCESS' LIMIT ?)"
            return connection.exec_driver_sql(sql, (most,)).rowcount

    # What the model of a worker calls.

    def claim(self, executor: str, *, is_chunk: bool, most: int) -> list[Work]:
        """Give an executor work, best first."""
        kind = "IS NOT NULL" if is_chunk else "IS NULL"
        rows = self._run(
            f"UPDATE work SET status = 'PENDING', executor = ? WHERE id IN (SELECT id FROM work"  # noqa: S608
            f" WHERE status = 'ENQUEUED' AND chunk_index {kind} ORDER BY priority, rowid LIMIT ?)"
            " RETURNING id, job_name, chunk_index",
            executor,
            most,
        )
        return [Work(id=row[0], job_name=row[1], index=row[2]) for row in sorted(rows)]

    def finish(self, work: Work, executor: str) -> None:
        """Record that work has ended, unless it was taken away meanwhile."""
        self._run("UPDATE work SET status = 'SUCCESS' WHERE id = ? AND executor = ?", work.id, executor)

    def recover(self, executor: str) -> None:
        """Put an executor's work back."""
        self._run(
            "UPDATE work SET status = 'ENQUEUED', executor = NULL WHERE status = 'PENDING' AND executor = ?", executor
        )
        self.changed.send()

    def unfinished(self) -> list[str]:
        """Return the work that has not ended."""
        return [row[0] for row in self._run("SELECT id FROM work WHERE status != 'SUCCESS'")]

    def has_queued(self, *, is_chunk: bool) -> bool:
        """Whether work waits."""
        kind = "IS NOT NULL" if is_chunk else "IS NULL"
        return bool(self._run(f"SELECT 1 FROM work WHERE status = 'ENQUEUED' AND chunk_index {kind} LIMIT 1"))  # noqa: S608

    def _enqueue(self, connection: Connection, work_id: str, job_name: str, index: int | None, priority: int) -> None:
        sql = "INSERT OR IGNORE INTO work (id, job_name, chunk_index, priority) VALUES (?, ?, ?, ?)"
        connection.exec_driver_sql(sql, (work_id, job_name, index, priority))

    def _run(self, sql: str, *values: object) -> list[Any]:
        rows = self._database.raw.execute(sql, values).fetchall()
        self._database.raw.commit()
        return rows
