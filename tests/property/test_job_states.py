"""Whatever happens to jobs, in whatever order, and wherever the work on them is cut off."""

from __future__ import annotations

import functools
import itertools
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from sqlalchemy import event, text

from batchscribe import parts
from batchscribe import settings as our_settings
from batchscribe.database import jobs, transcripts
from batchscribe.database.chunks import CHUNK_EVENT
from batchscribe.database.connection import connect
from batchscribe.domain.job import JobStatus, TranscriptionJob
from batchscribe.domain.media import MediaInfo
from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ, ChunkAudio
from batchscribe.domain.submission import Submission
from batchscribe.engines.scripted import Script, ScriptedEngine
from batchscribe.errors import JobAlreadyEnded, JobNotFound, MediaDamaged
from batchscribe.storage.folder import FolderStore
from batchscribe.workflow.dispatch import Dispatcher
from batchscribe.workflow.in_flight import InFlight
from batchscribe.workflow.pipeline import Pipeline

#: What may be submitted: recordings of no chunk that can be read, of one, of two and of three.
RECORDINGS = (b"ID3 damaged", b"ID3 1", b"ID3 155", b"ID3 310")
_BLOCK_SECONDS = 31
_NOISE = np.random.default_rng(5).integers(-900, 900, _BLOCK_SECONDS * SAMPLE_RATE_HERTZ, dtype="<i2").tobytes()

#: Every way that events may tell of a job.
BEGUN, FAILED, DONE = ("job.queued", "job.started"), "job.failed", "job.completed"
WAYS: dict[JobStatus, set[tuple[str, ...]]] = {
    JobStatus.QUEUED: {("job.queued",)},
    JobStatus.IN_PROGRESS: {BEGUN},
    JobStatus.COMPLETED: {(*BEGUN, DONE)},
    JobStatus.FAILED: {("job.queued", FAILED), (*BEGUN, FAILED)},
}


class Killed(BaseException):
    """The worker dies here; no ``except`` of the work's own may catch it."""


class NoiseAudio:
    """A recording that says itself how many seconds of noise it is."""

    def __init__(self, media: BinaryIO, meanwhile: Callable[[], None]) -> None:
        words = media.read().split()
        if words[1] == b"damaged":
            raise MediaDamaged("The recording is damaged.")
        self._seconds = int(words[1])
        self._meanwhile = meanwhile
        self.info = MediaInfo(
            container="wav", codec="pcm", sample_rate_hertz=8000, channels=1, declared_duration=float(self._seconds)
        )
        self.warnings: list[str] = []
        self.channels = 1

    def blocks(self) -> Iterator[bytes]:
        """Yield noise, and let something else happen in the middle."""
        for start in range(0, self._seconds, _BLOCK_SECONDS):
            if start > 2 * _BLOCK_SECONDS:
                self._meanwhile()
            seconds = min(_BLOCK_SECONDS, self._seconds - start)
            yield _NOISE[: seconds * SAMPLE_RATE_HERTZ * BYTES_PER_SAMPLE]


class NoiseDecoder:
    """Satisfies ``domain.ports.Decoder`` in this process."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] = lambda: None

    @contextmanager
    def open(self, media: BinaryIO, *, channels_apart: bool = False) -> Iterator[NoiseAudio]:  # noqa: ARG002
        """Read a recording of :data:`RECORDINGS`."""
        yield NoiseAudio(media, self.meanwhile)

    def close(self) -> None:
        """Hold nothing."""


@functools.cache
def prepared_folder() -> Path:
    """Make a data folder once for all examples."""
    folder = Path(tempfile.mkdtemp()) / "data"
    folder.mkdir()
    parts.upgrade_database(our_settings.load(data_dir=folder))
    return folder


class JobStates(RuleBasedStateMachine):
    """Jobs are submitted, worked on, cancelled and deleted; the worker dies at any statement."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copytree(prepared_folder(), self.folder / "data")
        ours = our_settings.load(data_dir=self.folder / "data", min_free_bytes=0)
        self.media = ours.media_folder
        self.database = connect(ours.effective_database_url)
        event.listen(self.database, "before_cursor_execute", self._count_statement)
        self.statements_left: int | None = None
        self.service = parts.build_service(ours, self.database)
        self.dispatcher = Dispatcher(self.database)
        self.decoder = NoiseDecoder()
        self.in_flight = InFlight(self.database)
        self.engine = ScriptedEngine(Script(words_per_second=0.05), say=self._say)
        self.pipeline = Pipeline(
            database=self.database,
            store=FolderStore(ours.media_folder, bucket="b", min_free_bytes=0),
            decoder=self.decoder,
            engine=self.engine,
            dispatcher=self.dispatcher,
            in_flight=self.in_flight,
            decoding=threading.Semaphore(1),
        )
        self.recordings: dict[str, bytes] = {}
        self.deleted: dict[str, str] = {}
        self.ended: dict[str, tuple[TranscriptionJob, int]] = {}
        self.recognised: dict[tuple[str, int], tuple[Any, ...]] = {}

    def teardown(self) -> None:
        """Let whatever is queued run to its end, and look whether every job got there."""
        try:
            self._finish_everything()
        finally:
            self.engine.close()
            self.dispatcher.close()
            self.database.dispose()
            shutil.rmtree(self.folder)

    @rule(target=names, data=st.sampled_from(RECORDINGS))
    def submit(self, data: bytes) -> str:
        """Submit a recording."""
        upload = self.service.begin_upload()
        upload.write(data)
        job = self.service.submit(upload, file_name="a.mp3", head=data, submission=Submission(), upload_seconds=0.0)
        self.recordings[job.name] = data
        return job.name

    @rule(name=names)
    def cancel(self, name: str) -> None:
        """Cancel a job, which succeeds unless it has ended."""
        has_ended = name in self.ended
        try:
            self.service.cancel(name)
        except JobAlreadyEnded:
            assert has_ended
        except JobNotFound:
            assert name in self.deleted
        else:
            assert not has_ended

    @rule(name=consumes(names))
    def delete(self, name: str) -> None:
        """Delete a job."""
        if name not in self.deleted:
            job = self.service.get(name)
            self.service.delete(name)
            self.deleted[name] = job.media_key

    @rule(
        turn=st.integers(0, 1000),
        dies_after=st.none() | st.integers(0, 30),
        meanwhile=st.sampled_from(["nothing", "nothing", "cancel", "delete", "look"]),
    )
    def work(self, turn: int, dies_after: int | None, meanwhile: str) -> None:
        """Take any piece of queued work, perhaps again, and perhaps die of it."""
        queued = self._queued()
        if not queued:
            return
        piece = queued[turn % len(queued)]
        self.decoder.meanwhile = functools.partial(self._meanwhile, piece, meanwhile)
        self.statements_left = dies_after
        try:
            self._run(piece)
        except Killed:
            pass
        finally:
            self.statements_left = None
            self.decoder.meanwhile = lambda: None

    @invariant()
    def what_has_ended_never_changes(self) -> None:
        """Status, times, failure, text, progress and recognised chunks of an ended job stay as they were."""
        for name in self.recordings.keys() - self.deleted.keys():
            job = self.service.get(name)
            if job.status.is_final:
                with self.database.connect() as connection:
                    query = text("SELECT count(*) FROM chunks WHERE job_name = :name AND recognised_at IS NOT NULL")
                    recognised = connection.execute(query, {"name": name}).scalar_one()
                assert self.ended.setdefault(name, (job, recognised)) == (job, recognised)
            assert job.status.is_final is (name in self.ended)

    @invariant()
    def a_transcript_is_there_exactly_when_the_job_is_completed(self) -> None:
        """Neither before, nor never."""
        with self.database.connect() as connection:
            for name in self.recordings.keys() - self.deleted.keys():
                job = jobs.find_job(connection, name)
                assert job is not None
                has_transcript = transcripts.find_transcript(connection, name) is not None
                assert has_transcript is (job.status is JobStatus.COMPLETED)

    @invariant()
    def events_tell_the_way(self) -> None:
        """One event a transition, in order, and the deletion last."""
        told: dict[str, list[str]] = {}
        for each in self.service.monitor.events_after(0):
            if each.type != CHUNK_EVENT:
                told.setdefault(each.job_name, []).append(each.type)
        assert told.keys() == self.recordings.keys()
        for name, types in told.items():
            if name in self.deleted:
                assert types.pop() == "job.deleted"
                assert tuple(types) in set[tuple[str, ...]]().union(*WAYS.values())
            else:
                assert tuple(types) in WAYS[self.service.get(name).status]

    @invariant()
    def deleted_jobs_are_gone(self) -> None:
        """With their chunks, their transcripts and their recordings."""
        with self.database.connect() as connection:
            for table in ("chunks", "transcripts"):
                names = set(connection.execute(text(f"SELECT job_name FROM {table}")).scalars())  # noqa: S608
                assert not names & self.deleted.keys()
        for name, key in self.deleted.items():
            assert not (self.media / key).with_suffix("").exists()
            assert name not in self.service_list()

    @invariant()
    def a_recognised_chunk_stays_as_it_is(self) -> None:
        """Neither is it recognised nor begun again."""
        with self.database.connect() as connection:
            rows = connection.execute(
                text('SELECT job_name, "index", attempts, recognised_at FROM chunks WHERE recognised_at IS NOT NULL')
            ).all()
        for name, index, *facts in rows:
            assert self.recognised.setdefault((name, index), tuple(facts)) == tuple(facts)

    def run_all_work(self, job_name: str = "", *, chunks_first: bool = False) -> None:
        """Run the queued work of a job, or of all, until each piece has returned."""
        done: set[str] = set()
        while waiting := {piece for piece in self._queued() if piece.startswith(job_name)} - done:
            for piece in sorted(waiting, reverse=chunks_first):
                self._run(piece)
            done |= waiting

    def service_list(self) -> set[str]:
        """Return the names of all jobs by the list."""
        page = self.service.list(status=None, max_results=1000, next_token=None)
        return {job.name for job in page.jobs}

    def _queued(self) -> list[str]:
        """Return the ids of all work that the durable engine was ever given."""
        with self.database.connect() as connection:
            return list(connection.execute(text("SELECT workflow_uuid FROM workflow_status ORDER BY 1")).scalars())

    def _run(self, piece: str) -> None:
        """Do what the durable engine does for a piece of work."""
        name, _, index = piece.partition(":")
        if index:
            self.pipeline.recognise(name, int(index))
        else:
            self.pipeline.transcribe(name)

    def _meanwhile(self, piece: str, what: str) -> None:
        """Something happens to the job in hand; the worker's clock for dying stands still."""
        left, self.statements_left = self.statements_left, None
        name = piece.partition(":")[0]
        if what == "cancel":
            self.cancel(name)
            self.what_has_ended_never_changes()
        if what == "delete":
            self.delete(name)
        if what != "nothing":
            self.in_flight.look()
        self.statements_left = left

    def _say(self, chunk: ChunkAudio) -> str:
        """Say which chunk it is, after something else may have happened; it is none that is recognised already."""
        left, self.statements_left = self.statements_left, None
        with self.database.connect() as connection:
            query = text('SELECT recognised_at FROM chunks WHERE job_name = :name AND "index" = :index')
            at = connection.execute(query, {"name": chunk.job_name, "index": chunk.index}).scalar_one()
        assert at is None
        self.statements_left = left
        self.decoder.meanwhile()
        return f"chunk {chunk.index} of {chunk.duration:.2f} seconds"

    def _count_statement(self, *_: object) -> None:
        if self.statements_left is None:
            return
        if self.statements_left == 0:
            raise Killed
        self.statements_left -= 1

    def _finish_everything(self) -> None:
        """Run the queued work until each piece has returned; then nothing may be left to do, nor lie about."""
        self.run_all_work()
        self.what_has_ended_never_changes()
        alive = self.recordings.keys() - self.deleted.keys()
        assert self.ended.keys() >= alive
        for name in alive:
            job, _ = self.ended[name]
            if self.recordings[name] == RECORDINGS[0]:
                assert job.status is JobStatus.FAILED
            if job.status is JobStatus.COMPLETED:
                assert job.text == expected_text(self.recordings[name])
            else:
                assert job.failure is not None
                assert job.failure.code in {"cancelled", "media_damaged"}
        for folder in ("work", "uploads"):
            assert [path for path in (self.media / folder).rglob("*") if path.is_file()] == []


@functools.cache
def expected_text(data: bytes) -> str:
    """Return what the engine says of a recording when nothing disturbs it."""
    from batchscribe.workflow.cutting import cut

    if data == RECORDINGS[0]:
        return ""
    folder = Path(tempfile.mkdtemp())
    (folder / "recording").write_bytes(data)
    with (folder / "recording").open("rb") as media:
        chunks = list(cut(NoiseAudio(media, lambda: None).blocks()))
    shutil.rmtree(folder)
    seconds = [len(chunk) / BYTES_PER_SAMPLE / SAMPLE_RATE_HERTZ for chunk in chunks]
    return " ".join(f"chunk {index} of {each:.2f} seconds" for index, each in enumerate(seconds))


TestJobStates = JobStates.TestCase
TestJobStates.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_work_may_be_cut_off_before_every_single_statement() -> None:
    """The worker dies before the first, the second, … the last statement of a job's way; the job gets there always."""
    states = JobStates()
    try:
        # Each statement twice: whoever takes the work over may begin with the recording or with its chunks.
        for turn in itertools.count():
            statements, chunks_first = divmod(turn, 2)
            name = str(states.submit(data=RECORDINGS[2]))
            states.statements_left = statements
            try:
                states.run_all_work(name)
            except Killed:
                has_died = True
            else:
                has_died = False
            states.statements_left = None
            states.a_recognised_chunk_stays_as_it_is()
            states.a_transcript_is_there_exactly_when_the_job_is_completed()
            states.run_all_work(name, chunks_first=bool(chunks_first))
            assert states.service.get(name).status is JobStatus.COMPLETED
            if not has_died:
                break
        states.events_tell_the_way()
        assert statements > 30
    finally:
        states.teardown()


@pytest.mark.parametrize("data", RECORDINGS[1:])
@pytest.mark.parametrize("what", ["cancel", "delete"])
@pytest.mark.parametrize("moment", range(4))
def test_a_job_may_be_ended_at_every_moment_of_its_work(data: bytes, what: str, moment: int) -> None:
    """While it is read, and while each of its chunks is recognised: nothing of it comes later."""
    states = JobStates()
    try:
        name = str(states.submit(data=data))
        moments = itertools.count()
        states.decoder.meanwhile = lambda: states._meanwhile(name, what) if next(moments) == moment else None
        states.run_all_work()
        states.decoder.meanwhile = lambda: None
        states.what_has_ended_never_changes()
        states.a_transcript_is_there_exactly_when_the_job_is_completed()
        states.events_tell_the_way()
        states.deleted_jobs_are_gone()
    finally:
        states.teardown()
