"""A job's way: a real worker process with the durable engine, the real decoder and the scripted engine."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine, text

from batchscribe import parts
from batchscribe.database.chunks import CHUNK_EVENT
from batchscribe.database.connection import connect
from batchscribe.domain.job import JobStatus, TranscriptionJob
from batchscribe.domain.ports import ChunkAudio
from batchscribe.domain.submission import read_submission
from batchscribe.domain.word_lists import WordListKind
from batchscribe.engines.scripted import SPANISH_WORDS, WORDS, Act, ScriptedEngine
from batchscribe.errors import JobNotFound
from batchscribe.service import TranscriptionService
from batchscribe.settings import Settings, load, to_environment
from batchscribe.wire import job_to_json, listed_to_json
from batchscribe.workflow import runtime
from batchscribe.workflow.dispatch import Dispatcher
from batchscribe.workflow.in_flight import InFlight
from batchscribe.workflow.pipeline import Pipeline

RATE_HERTZ = 8000


def wav(seconds: float, *, seed: int = 1) -> bytes:
    """Return a recording of noise that is different for each seed."""
    block = random.Random(seed).randbytes(2 * RATE_HERTZ)  # noqa: S311 - noise
    file = BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setparams((1, 2, RATE_HERTZ, 0, "NONE", ""))
        recording.writeframes((block * (int(seconds) + 1))[: round(seconds * RATE_HERTZ) * 2])
    return file.getvalue()


@dataclass
class Works:
    """A data folder with a worker that may be started, killed and started again."""

    settings: Settings
    database: Engine
    service: TranscriptionService
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, *, real_time_factor: float = 0.0) -> subprocess.Popen[bytes]:
        """Start a worker whose engine takes so long for each second of audio."""
        settings = self.settings.model_copy(update={"scripted_real_time_factor": real_time_factor})
        environment = os.environ | to_environment(settings) | {"PYTHONPATH": os.pathsep.join(sys.path)}
        worker = subprocess.Popen([sys.executable, "-m", "batchscribe", "worker"], env=environment)
        self.workers.append(worker)
        return worker

    def submit(self, data: bytes, *, file_name: str = "talk.wav", **fields: str) -> TranscriptionJob:
        """Submit a recording with these fields of the form."""
        upload = self.service.begin_upload()
        try:
            upload.write(data)
            return self.service.submit(
                upload,
                file_name=file_name,
                head=data[:64],
                submission=read_submission(fields),
                upload_seconds=0.1,
            )
        finally:
            upload.abort()

    def ended(self, job_name: str) -> TranscriptionJob:
        """Wait until a job has ended."""
        until(lambda: self.service.get(job_name).status.is_final)
        return self.service.get(job_name)

    def event_types(self, job_name: str) -> list[str]:
        """Return the types of a job's events."""
        events = [each for each in self.service.monitor.events_after(0) if each.job_name == job_name]
        return [each.type for each in events if each.type != CHUNK_EVENT]

    def files(self) -> list[str]:
        """Return every file in the media store, from its folder."""
        folder = self.settings.media_folder
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def unfinished_work(self) -> int:
        """Count the durable engine's workflows that have not ended."""
        with self.database.connect() as connection:
            count: int = connection.execute(
                text("SELECT count(*) FROM workflow_status WHERE status NOT IN ('SUCCESS', 'ERROR', 'CANCELLED')")
            ).scalar_one()
            return count

    def recognised_chunks(self, job_name: str) -> int:
        """Count the recognised chunks of a job."""
        with self.database.connect() as connection:
            query = text("SELECT count(*) FROM chunks WHERE job_name = :name AND recognised_at IS NOT NULL")
            count: int = connection.execute(query, {"name": job_name}).scalar_one()
            return count


def until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come so"
        time.sleep(0.02)


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    """Return a data folder that is ready; every worker that was started over it is ended."""
    settings = load(data_dir=tmp_path / "data", engine="scripted", min_free_bytes=0, log_level="WARNING")
    settings.data_dir.mkdir()
    parts.upgrade_database(settings)
    database = connect(settings.effective_database_url)
    made = Works(settings=settings, database=database, service=parts.build_service(settings, database))
    yield made
    for worker in made.workers:
        worker.kill()
        worker.wait()
    database.dispose()


def test_recordings_become_transcripts(works: Works) -> None:
    """A short one and one of several chunks, each with its own words, and only the recordings are kept."""
    works.start_worker()
    short, again, other, long = (
        works.ended(works.submit(data).name) for data in (wav(5), wav(5), wav(5, seed=2), wav(360))
    )
    for job in (short, again, other, long):
        assert job.status is JobStatus.COMPLETED, job.failure
        assert job.media_sample_rate_hertz == RATE_HERTZ
        assert job.progress == 1.0
        assert job.text
        assert works.event_types(job.name) == ["job.queued", "job.started", "job.completed"]
        assert job.created_at <= (job.started_at or job.created_at) <= (job.completed_at or job.created_at)
    assert short.text == again.text != other.text
    assert short.media_duration == pytest.approx(5.0)
    assert long.media_duration == pytest.approx(360.0)
    transcript = works.service.transcript(long.name)
    assert len(transcript.segments) in {3, 4}
    assert transcript.segments[0].start == 0.0
    assert transcript.segments[-1].end == pytest.approx(360.0)
    for before, after in pairwise(transcript.segments):
        assert after.start == pytest.approx(before.end)
        assert 90.0 <= before.end - before.start <= 150.0
    assert transcript.text == long.text
    until(lambda: works.unfinished_work() == 0)
    assert works.files() == sorted(job.media_key.removesuffix(".wav") for job in (short, again, other, long))


def stereo(seconds: float) -> bytes:
    """Return a recording with noise on the left and silence on the right."""
    left = wav(seconds)[44:]
    samples = b"".join(left[at : at + 2] + bytes(2) for at in range(0, len(left), 2))
    file = BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setparams((2, 2, RATE_HERTZ, 0, "NONE", ""))
        recording.writeframes(samples)
    return file.getvalue()


@pytest.mark.parametrize("seconds", [5, 200])
def test_channels_are_transcribed_apart(works: Works, seconds: int) -> None:
    """In one chunk or in several, each segment says its channel, and one where nothing is said is there too."""
    works.start_worker()
    job = works.ended(works.submit(stereo(seconds), channel_identification="true").name)
    assert job.status is JobStatus.COMPLETED, job.failure
    assert job.media_duration == pytest.approx(seconds)
    transcript = works.service.transcript(job.name)
    assert transcript.segments
    assert {segment.channel_label for segment in transcript.segments} == {"ch_0"}
    assert [speaker.label for speaker in transcript.speakers] == ["ch_0", "ch_1"]
    assert transcript.segments[-1].end == pytest.approx(seconds)
    mono = works.ended(works.submit(wav(5), channel_identification="true").name)
    assert [speaker.label for speaker in works.service.transcript(mono.name).speakers] == ["ch_0"]


def test_speakers_are_told_apart_over_the_chunks_of_a_recording(works: Works) -> None:
    """The voices of all chunks become speakers, whose labels every segment has; nothing else is kept of them."""
    works.start_worker()
    job = works.ended(works.submit(wav(400), show_speaker_labels="true", max_speaker_labels="2").name)
    assert job.status is JobStatus.COMPLETED, job.failure
    transcript = works.service.transcript(job.name)
    assert len(transcript.segments) >= 3
    assert [segment.speaker_label for segment in transcript.segments[:3]] == ["spk_0", "spk_1", "spk_0"]
    assert [speaker.label for speaker in transcript.speakers] == ["spk_0", "spk_1"]
    with works.database.connect() as connection:
        assert set(connection.scalars(text("SELECT voices FROM chunks"))) == {None}


def test_progress_of_channels_counts_the_recordings_seconds(works: Works) -> None:
    """Half of it is done when one of two channels is."""
    works.start_worker(real_time_factor=0.1)
    name = works.submit(stereo(20), channel_identification="true").name
    seen = [0.0]
    while not (job := works.service.get(name)).status.is_final:
        seen.append(job.progress)
        time.sleep(0.02)
    assert job.status is JobStatus.COMPLETED
    assert seen == sorted(seen)
    assert any(0.2 < each < 0.8 for each in seen)


def test_words_of_a_vocabulary_and_of_a_filter_are_heeded(works: Works) -> None:
    """The engine is given the phrases; the filter is applied before anything is stored."""
    put = works.service.vocabularies.put
    put(WordListKind.VOCABULARY, "names", language_code="en-US", words=["Ann", "Bob"])
    put(WordListKind.VOCABULARY_FILTER, "some", language_code="en-US", words=["ann"])
    works.start_worker()
    plain = works.ended(works.submit(wav(5), vocabulary_name="names").name)
    assert plain.text
    assert set(plain.text.split()) == {"Ann", "Bob"}
    filtered = works.ended(
        works.submit(
            wav(5), vocabulary_name="names", vocabulary_filter_name="some", vocabulary_filter_method="mask"
        ).name
    )
    assert filtered.text == plain.text.replace("Ann", "***")


def test_nothing_that_was_redacted_is_stored_in_clear(works: Works) -> None:
    """Neither in the transcript, nor in its text, nor in what is left of the chunks."""
    words = ["4111111111111111", "hello"]
    works.service.vocabularies.put(WordListKind.VOCABULARY, "cards", language_code="en-US", words=words)
    works.start_worker()
    job = works.ended(works.submit(wav(200), vocabulary_name="cards", redact_types="CREDIT_DEBIT_NUMBER").name)
    assert job.text
    assert "[CREDIT_DEBIT_NUMBER]" in job.text
    with works.database.connect() as connection:
        for column in ("transcripts.text", "transcripts.body", "chunks.fragment"):
            table, _, name = column.partition(".")
            values = connection.execute(text(f"SELECT {name} FROM {table}")).scalars()  # noqa: S608 - our own words
            assert not any("4111" in (value or "") for value in values), column


def test_a_recording_that_cannot_be_transcribed_fails_with_its_reason(works: Works) -> None:
    """Empty, damaged, without a sound, no longer there: each has its code, and the worker goes on."""
    gone = works.submit(wav(1))
    parts.build_store(works.settings).delete(gone.media_key)
    expected = {
        works.submit(b"").name: "media_empty",
        works.submit(b"RIFF\xff\xff\xff\xffWAVEjunk" + bytes(100)).name: "media_damaged",
        works.submit(b"no recording at all").name: "media_not_recognised",
        works.submit(wav(0)).name: "media_empty",
        gone.name: "media_missing",
    }
    works.start_worker()
    found = {}
    for name in expected:
        job = works.ended(name)
        assert job.status is JobStatus.FAILED
        assert job.failure is not None
        assert job.failure.reason.endswith(".")
        assert works.event_types(name) == ["job.queued", "job.started", "job.failed"]
        found[name] = job.failure.code
    assert found == expected
    assert works.ended(works.submit(wav(1)).name).status is JobStatus.COMPLETED


def test_progress_grows_until_it_is_whole(works: Works) -> None:
    """Seconds recognised so far over seconds in all, seen while the job runs."""
    works.start_worker(real_time_factor=0.02)
    name = works.submit(wav(240)).name
    seen = [0.0]
    while not (job := works.service.get(name)).status.is_final:
        if job.progress != seen[-1]:
            seen.append(job.progress)
        time.sleep(0.02)
    assert job.status is JobStatus.COMPLETED
    assert seen == sorted(seen)
    assert len(seen) > 3
    assert seen[-1] <= 1.0
    assert job.progress == 1.0


@pytest.mark.parametrize("seconds", [60, 240])
def test_cancelling_stops_the_work(works: Works, seconds: int) -> None:
    """The job ends at once, its work soon, and nothing of it comes later; the recording is kept."""
    works.start_worker(real_time_factor=1.0)
    job = works.submit(wav(seconds))
    until(lambda: works.service.get(job.name).done_duration > 0)
    cancelled = works.service.cancel(job.name)
    assert cancelled.status is JobStatus.FAILED
    until(lambda: works.unfinished_work() == 0, 60.0)
    assert works.files() == [job.media_key.removesuffix(".wav")]
    assert works.service.get(job.name) == cancelled
    assert works.event_types(job.name) == ["job.queued", "job.started", "job.failed"]


@pytest.mark.parametrize("seconds", [60, 240])
def test_deleting_while_it_runs_leaves_no_file(works: Works, seconds: int) -> None:
    """Neither recording nor working audio, and the worker neither fails nor brings anything back."""
    works.start_worker(real_time_factor=1.0)
    name = works.submit(wav(seconds)).name
    until(lambda: works.service.get(name).done_duration > 0)
    works.service.delete(name)
    until(lambda: works.unfinished_work() == 0, 60.0)
    assert works.files() == []
    with pytest.raises(JobNotFound):
        works.service.get(name)
    assert works.event_types(name) == ["job.queued", "job.started", "job.deleted"]


def test_deleting_at_any_moment_leaves_no_file(works: Works) -> None:
    """While it waits, while it is decoded and cut, while it is recognised, while it is joined."""
    works.start_worker()
    data = wav(240)
    for number in range(10):
        name = works.submit(data).name
        time.sleep(0.05 * number)
        works.service.delete(name)
    until(lambda: works.unfinished_work() == 0, 30.0)
    assert works.files() == []


def test_the_same_recording_may_be_submitted_again_while_it_runs(works: Works) -> None:
    """Each submission is a job of its own, with the same words."""
    works.start_worker(real_time_factor=0.02)
    data = wav(200)
    names = [works.submit(data).name]
    until(lambda: works.service.get(names[0]).status is JobStatus.IN_PROGRESS)
    names.append(works.submit(data).name)
    first, second = (works.ended(name) for name in names)
    assert first.status is second.status is JobStatus.COMPLETED
    assert first.text == second.text
    assert first.name != second.name


def test_a_short_recording_does_not_wait_for_a_long_one(works: Works) -> None:
    """However long the long one is."""
    works.start_worker(real_time_factor=0.05)
    long = works.submit(wav(1200)).name
    until(lambda: works.service.get(long).done_duration > 0)
    short = works.ended(works.submit(wav(2)).name)
    assert short.status is JobStatus.COMPLETED
    assert works.service.get(long).status is JobStatus.IN_PROGRESS


def test_a_worker_takes_up_what_a_killed_one_left(works: Works) -> None:
    """No recognised chunk is recognised again, and the words are those of an undisturbed run."""
    works.start_worker(real_time_factor=0.01)
    data = wav(400)
    undisturbed = works.ended(works.submit(data).name)
    name = works.submit(data).name
    until(lambda: works.recognised_chunks(name) > 0)
    works.workers[-1].send_signal(signal.SIGKILL)
    works.workers[-1].wait()
    with works.database.connect() as connection:
        query = text("SELECT * FROM chunks WHERE job_name = :name AND recognised_at IS NOT NULL").bindparams(name=name)
        before = {row.index: (row.attempts, row.recognised_at) for row in connection.execute(query)}
    works.start_worker()
    job = works.ended(name)
    assert job.status is JobStatus.COMPLETED
    assert job.text == undisturbed.text
    with works.database.connect() as connection:
        after = {row.index: (row.attempts, row.recognised_at) for row in connection.execute(query)}
    assert before.items() <= after.items()
    assert len(after) > len(before)
    assert works.event_types(name) == ["job.queued", "job.started", "job.completed"]


def test_a_worker_ends_when_it_is_told_to_and_its_work_waits(works: Works) -> None:
    """SIGTERM in the middle of a chunk: the process ends at once with success, the job stays on its way."""
    worker = works.start_worker(real_time_factor=1.0)
    name = works.submit(wav(60)).name
    until(lambda: works.service.get(name).done_duration > 0)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert works.service.get(name).status is JobStatus.IN_PROGRESS
    works.start_worker()
    assert works.ended(name).status is JobStatus.COMPLETED


def test_a_recording_survives_the_decoder_that_read_it(works: Works) -> None:
    """The process that starts decoders is killed while a recording is read: it is read again."""
    worker = works.start_worker()
    name = works.submit(wav(3600)).name
    until(lambda: works.recognised_chunks(name) > 0)
    servers = [each for each in psutil.Process(worker.pid).children() if "forkserver" in " ".join(each.cmdline())]
    with works.database.connect() as connection:
        assert connection.execute(text("SELECT chunk_count FROM transcription_jobs")).scalar_one() is None
    for server in servers:
        server.kill()
    job = works.ended(name)
    assert len(servers) == 1
    assert job.status is JobStatus.COMPLETED, job.failure
    assert job.media_duration == pytest.approx(3600.0)


class TestTryingAgain:
    """What the durable engine's side does about work that fails, in this process and without its waits."""

    @pytest.fixture(autouse=True)
    def _without_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runtime, "FIRST_WAIT_SECONDS", 0.001)
        monkeypatch.setattr(runtime, "STORE_FAILURE_SECONDS", 0.05)

    def attempts_of(self, works: Works, name: str, decide: Callable[[ChunkAudio], Act]) -> int:
        """Do a job's work with an engine that behaves so; return how often the chunk was begun."""
        decoder, dispatcher = parts.build_decoder(works.settings), Dispatcher(works.database)
        pipeline = Pipeline(
            database=works.database,
            store=parts.build_store(works.settings),
            decoder=decoder,
            engine=ScriptedEngine(decide=decide),
            dispatcher=dispatcher,
            in_flight=InFlight(works.database),
        )
        runtime._until_done(pipeline, name, lambda: pipeline.transcribe(name))
        decoder.close()
        dispatcher.close()
        with works.database.connect() as connection:
            count: int = connection.execute(text("SELECT attempts FROM chunks")).scalar_one()
            return count

    def test_an_engine_that_crashes_is_given_the_chunk_again(self, works: Works) -> None:
        """Twice is forgiven: another process may have taken all memory."""
        acts = [Act.CRASH, Act.CRASH, Act.SPEAK]
        name = works.submit(wav(1)).name
        assert self.attempts_of(works, name, lambda _: acts.pop(0)) == 3
        assert works.service.get(name).status is JobStatus.COMPLETED

    def test_an_engine_that_always_crashes_fails_the_job(self, works: Works) -> None:
        """With the crash's own code, and nothing left over."""
        job = works.submit(wav(1))
        assert self.attempts_of(works, job.name, lambda _: Act.CRASH) == runtime.ATTEMPTS
        failure = works.service.get(job.name).failure
        assert failure is not None
        assert failure.code == "engine_crashed"
        assert works.files() == [job.media_key.removesuffix(".wav")]

    def test_what_nobody_foresaw_fails_the_job_in_the_end(self, works: Works) -> None:
        """Without a word of the error to the client, who can do nothing about it."""
        secret = "/srv/secret"

        def decide(_: ChunkAudio) -> Act:
            raise RuntimeError(secret)

        name = works.submit(wav(1)).name
        assert self.attempts_of(works, name, decide) == runtime.ATTEMPTS
        failure = works.service.get(name).failure
        assert failure == runtime.INTERNAL_ERROR
        assert secret not in failure.reason

    def test_a_failure_that_cannot_be_stored_is_stored_later(self, works: Works) -> None:
        """No job stays IN_PROGRESS for ever because the database did not answer at the wrong moment."""
        name = works.submit(wav(1)).name
        with works.database.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TRIGGER broken BEFORE UPDATE OF status ON transcription_jobs WHEN new.status = 'FAILED'"
                " BEGIN SELECT RAISE(ABORT, 'broken'); END"
            )

        def repair() -> None:
            with works.database.begin() as connection:
                connection.exec_driver_sql("DROP TRIGGER broken")

        repairing = threading.Timer(1.0, repair)
        repairing.start()
        self.attempts_of(works, name, lambda _: Act.CRASH)
        repairing.join()
        assert works.service.get(name).status is JobStatus.FAILED


#: Seeds of noise that the scripted engine hears as these: its seconds are below zero on the whole, and above.
SPANISH, ENGLISH = 2, 3


def test_the_language_is_identified_once_and_every_chunk_recognised_in_it(works: Works) -> None:
    """Status, list and transcript say which, how probable it is, and what else it may be."""
    works.start_worker()
    fields = {"identify_language": "true", "language_options": "en-GB,es-MX"}
    job = works.ended(works.submit(wav(360, seed=SPANISH), **fields).name)
    assert job.status is JobStatus.COMPLETED, job.failure
    assert set((job.text or "").split()) <= set(SPANISH_WORDS)
    told = job_to_json(job)
    assert told["language_code"] == "es-MX"
    assert told["identified_language_score"] == pytest.approx(0.9, abs=0.02)
    (listed,) = works.service.list(status=None, max_results=1, next_token=None).jobs
    assert listed_to_json(listed)["identified_language_score"] == pytest.approx(0.9, abs=0.02)
    transcript = works.service.transcript(job.name)
    assert transcript.language_code == "es-MX"
    assert [each.language_code for each in transcript.languages] == ["es-MX", "en-GB"]
    english = works.ended(works.submit(wav(3, seed=ENGLISH), identify_language="true").name)
    assert english.options.language_code == "en-US"
    assert set((english.text or "").split()) <= set(WORDS)


def test_a_worker_that_dies_does_not_change_the_language(works: Works) -> None:
    """The decision is stored before any chunk waits; whoever goes on recognises in the same."""
    worker = works.start_worker(real_time_factor=0.02)
    data = wav(400, seed=SPANISH)
    name = works.submit(data, identify_language="true").name
    until(lambda: works.service.get(name).languages is not None)
    decided = works.service.get(name)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert decided.options.language_code == "es-ES"
    works.start_worker()
    job = works.ended(name)
    assert job.status is JobStatus.COMPLETED, job.failure
    assert job.languages == decided.languages
    assert set((job.text or "").split()) <= set(SPANISH_WORDS)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"identify_language": "true"}, "en-US"),
        ({"identify_language": "true", "language_options": "de-DE,en-US"}, "de-DE"),
        ({"identify_multiple_languages": "true"}, "en-US"),
        ({"identify_multiple_languages": "true", "language_options": "fr-FR,en-US"}, "fr-FR"),
    ],
)
def test_a_silent_recording_completes_in_the_first_language_to_choose_from(
    works: Works, fields: dict[str, str], code: str
) -> None:
    """There is nothing to identify, and nothing to get wrong."""
    works.start_worker()
    silent = wav(5)[:44] + bytes(2 * 5 * RATE_HERTZ)
    job = works.ended(works.submit(silent, **fields).name)
    assert job.status is JobStatus.COMPLETED, job.failure
    assert job.text == ""
    told = job_to_json(job)
    assert told["language_code"] == code
    assert "identified_language_score" not in told
    assert "language_codes" not in told
    assert works.service.transcript(job.name).languages == ()


def test_a_language_that_is_too_unsure_fails_the_job_with_what_to_do(works: Works) -> None:
    """Before anything is recognised, and the recording stays to be submitted again."""
    works.start_worker()
    job = works.ended(works.submit(wav(5, seed=ENGLISH), identify_language="true", min_language_score="0.95").name)
    assert job.status is JobStatus.FAILED
    assert job.failure is not None
    assert job.failure.code == "language_unclear"
    assert "en-US 0.90, es-ES 0.10" in job.failure.reason
    assert works.files() == [job.media_key.removesuffix(".wav")]


@pytest.mark.parametrize("channels", ["false", "true"])
def test_every_stretch_is_recognised_in_its_language(works: Works, channels: str) -> None:
    """Segments say their language; the job has the seconds of each, the longest first."""
    works.start_worker()
    parts_of_it = (wav(100, seed=SPANISH), wav(160, seed=ENGLISH), wav(40, seed=SPANISH))
    data = wav(300)[:44] + b"".join(each[44:] for each in parts_of_it)
    fields = {"identify_multiple_languages": "true", "language_options": "en-GB,es-MX"}
    job = works.ended(works.submit(data, channel_identification=channels, **fields).name)
    assert job.status is JobStatus.COMPLETED, job.failure
    transcript = works.service.transcript(job.name)
    for segment in transcript.segments:
        words = SPANISH_WORDS if segment.language_code == "es-MX" else WORDS
        assert {item.content for item in segment.items} <= set(words)
    assert [each.language_code for each in transcript.languages] == ["en-GB", "es-MX"]
    assert [each.duration for each in transcript.languages] == pytest.approx([160, 140], abs=2.0)
    told = job_to_json(job)
    assert told["language_code"] == transcript.language_code == "en-GB"
    assert [each["language_code"] for each in told["language_codes"]] == ["en-GB", "es-MX"]
