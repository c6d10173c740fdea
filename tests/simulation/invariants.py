"""What must hold after every single commit, and what must hold when all is quiet."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from functools import cache, partial

from simulated_database import SimulatedQueue
from simulated_store import Recording, SimulatedStore
from simulated_world import Violation

from batchscribe.domain.chunks import ChunkLimits
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.ports import ChunkAudio
from batchscribe.domain.transcript import Fragment, join_fragments
from batchscribe.engines.scripted import ScriptedEngine
from batchscribe.wire import transcript_to_json
from batchscribe.workflow.cutting import cut

#: Recordings of a few seconds have several chunks in the simulation.
small_cut = partial(cut, limits=ChunkLimits(shortest=0.9, longest=1.5, pause=0.1))

_ORDER = {"QUEUED": 0, "IN_PROGRESS": 1, "COMPLETED": 2, "FAILED": 2}
_EVENT_WAYS = {
    ("job.queued",),
    ("job.queued", "job.started"),
    ("job.queued", "job.failed"),
    ("job.queued", "job.started", "job.completed"),
    ("job.queued", "job.started", "job.failed"),
}


@dataclass
class Promises:
    """What the clients were told."""

    #: The recording of each job that was answered with 201.
    accepted: dict[str, Recording] = field(default_factory=dict)
    #: Jobs that somebody asked to cancel, or to delete, whatever the answer.
    asked_to_cancel: set[str] = field(default_factory=set)
    asked_to_delete: set[str] = field(default_factory=set)
    #: Jobs whose deletion was confirmed.
    deleted: set[str] = field(default_factory=set)


class Checker:
    """Compares what the database says after each commit with what it said before."""

    def __init__(self, promises: Promises, uploads: dict[str, Recording], tolerated: set[str]) -> None:
        """Know the recording of every media key, and the codes that the faults themselves explain."""
        self._promises = promises
        self._uploads = uploads
        self._tolerated = tolerated
        self._jobs: dict[str, sqlite3.Row] = {}
        self._chunks: dict[tuple[str, int], sqlite3.Row] = {}
        self._gone: set[str] = set()
        #: The job that each idempotency key has made.
        self._by_key: dict[str, str] = {}

    def after_commit(self, raw: sqlite3.Connection, now: str) -> None:
        """Check every promise about what a commit may change; ``now`` is as SQLite has times."""
        cursor = raw.cursor()
        cursor.row_factory = sqlite3.Row
        jobs = {row["name"]: row for row in cursor.execute("SELECT * FROM transcription_jobs")}
        chunks = {(row["job_name"], row["index"]): row for row in cursor.execute("SELECT * FROM chunks")}
        transcripts = {row["job_name"]: row["body"] for row in cursor.execute("SELECT * FROM transcripts")}
        working = {row["job_name"] for row in cursor.execute("SELECT job_name FROM work WHERE status != 'SUCCESS'")}
        for name, job in jobs.items():
            _require(name not in self._gone, f"{name} came back after it was deleted")
            before = self._jobs.get(name)
            if before is None and (key := self._uploads[job["media_key"]].idempotency_key) is not None:
                _require(key not in self._by_key, f"{name} and {self._by_key.get(key)} have one idempotency key")
                self._by_key[key] = name
            is_final = _ORDER[job["status"]] == 2
            if before is not None:
                _require(_ORDER[job["status"]] >= _ORDER[before["status"]], f"{name} went back to {job['status']}")
                if _ORDER[before["status"]] == 2:
                    _require(_lasting(job) == _lasting(before), f"{name} changed after its end: {dict(job)}")
            _require(is_final or name in working, f"{name} is {job['status']} but nobody has its work: it is stuck")
            _require((name in transcripts) == (job["status"] == "COMPLETED"), f"{name}: {job['status']} and transcript")
            if job["status"] == "COMPLETED" and (before is None or before["status"] != "COMPLETED"):
                self._check_transcript(job, transcripts[name])
        for name in self._jobs.keys() - jobs.keys():
            is_expired = (self._jobs[name]["delete_at"] or "9") <= now
            is_asked = name in self._promises.asked_to_delete
            _require(is_asked or is_expired, f"{name} vanished and nobody deleted it")
            self._gone.add(name)
        for place, chunk in chunks.items():
            _require(place[0] in jobs, f"chunk {place} without its job")
            self._check_chunk(place, chunk, jobs[place[0]])
        for name in transcripts:
            _require(name in jobs, f"transcript of {name} without its job")
        self._jobs, self._chunks = jobs, chunks

    def _check_chunk(self, key: tuple[str, int], chunk: sqlite3.Row, job: sqlite3.Row) -> None:
        before = self._chunks.get(key)
        if before is None:
            return
        plan = ("start", "duration", "audio_key")
        _require(all(chunk[each] == before[each] for each in plan), f"the plan of {key} changed")
        if before["recognised_at"] is None:
            return
        _require(chunk["recognised_at"] == before["recognised_at"], f"{key} was recognised twice")
        kept = chunk["fragment"] == before["fragment"]
        _require(kept or (chunk["fragment"] is None and _ORDER[job["status"]] == 2), f"the fragment of {key} changed")

    def _check_transcript(self, job: sqlite3.Row, body: str) -> None:
        recording = self._uploads[job["media_key"]]
        _require(body == undisturbed_transcript(recording), f"{job['name']} has another transcript than undisturbed")

    def at_rest(self, raw: sqlite3.Connection, now: str, queue: SimulatedQueue, store: SimulatedStore) -> None:
        """Check what must hold once every process had time to finish and to tidy."""
        self.after_commit(raw, now)
        promises = self._promises
        for name, recording in promises.accepted.items():
            if name in self._gone:
                continue
            _require(name in self._jobs, f"{name} was answered with 201 and is lost")
            _require(_ORDER[self._jobs[name]["status"]] == 2, f"{name} was answered with 201 and never ended")
            self._check_end(self._jobs[name], recording)
        for name, job in self._jobs.items():
            _require(_ORDER[job["status"]] == 2, f"{name} never ended: {job['status']}")
            _require((job["delete_at"] or "9") > now, f"{name} should have been deleted at {job['delete_at']}")
        _require(not promises.deleted & self._jobs.keys(), "a deleted job is there")
        _require(not queue.unfinished(), f"work is left: {queue.unfinished()}")
        self._check_events(raw)
        wanted = {
            job["media_key"].rpartition(".")[0]
            for job in self._jobs.values()
            if job["delete_media_after_seconds"] is None or job["delete_media_at"] is not None
        }
        left = sorted(store.objects.keys() - wanted)
        _require(not left, f"left in the store: {left}")
        missing = sorted(wanted - store.objects.keys())
        missing = [
            key for key in missing if key.rpartition("/")[2] in promises.accepted.keys() - promises.asked_to_delete
        ]
        _require(not missing, f"recordings lost: {missing}")

    def _check_end(self, job: sqlite3.Row, recording: Recording) -> None:
        name, code = job["name"], job["failure_code"]
        if job["status"] == "COMPLETED":
            return
        foreseen = {"damaged": {"media_damaged"}, "poison": {"engine_crashed"}}.get(recording.kind, set())
        foreseen |= self._tolerated
        if name in self._promises.asked_to_cancel:
            foreseen.add("cancelled")
        if name in self._promises.asked_to_delete:
            foreseen.add("media_missing")
        _require(code in foreseen, f"{name} ({recording.kind}) FAILED with {code}: {job['failure_reason']}")

    def _check_events(self, raw: sqlite3.Connection) -> None:
        ways: dict[str, list[str]] = {}
        for name, kind in raw.execute("SELECT job_name, type FROM job_events WHERE type LIKE 'job.%' ORDER BY id"):
            ways.setdefault(name, []).append(kind)
        for name, way in ways.items():
            is_gone = way[-1] == "job.deleted"
            _require(is_gone == (name in self._gone), f"{name}: {way} and gone: {name in self._gone}")
            _require(tuple(way[:-1] if is_gone else way) in _EVENT_WAYS, f"events of {name}: {way}")
        _require(ways.keys() == self._jobs.keys() | self._gone, "a job without events")


@cache
def undisturbed_transcript(recording: Recording) -> str:
    """Return the transcript's stored form when nothing goes wrong."""
    engine, start, fragments = ScriptedEngine(), 0.0, []
    for index, pcm in enumerate(small_cut([recording.pcm()])):
        chunk = ChunkAudio(job_name="", index=index, start=start, pcm=pcm)
        segments = engine.recognise(
            chunk, TranscriptionOptions(), on_progress=lambda _: None, is_cancelled=lambda: False
        )
        fragments.append(Fragment(index=index, segments=segments))
        start += chunk.duration
    transcript = join_fragments(fragments, language_code="en-US", duration=start)
    return json.dumps(transcript_to_json(transcript), ensure_ascii=False, separators=(",", ":"))


def _lasting(job: sqlite3.Row) -> tuple[object, ...]:
    """Return everything about a job that may never change after its end."""
    return tuple(job[column] for column in job.keys() if column != "delete_media_at")  # noqa: SIM118 - a row's keys


def _require(is_so: bool, sentence: str) -> None:
    if not is_so:
        raise Violation(sentence)
