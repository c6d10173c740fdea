"""The one door to jobs, over a real database, a real folder and the durable engine's real tables."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text

from batchscribe import app, parts
from batchscribe.database import chunks, jobs, transcripts, workers
from batchscribe.database.chunks import Chunk
from batchscribe.database.connection import connect
from batchscribe.domain.job import JobStatus, TranscriptionJob, work_prefix
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.submission import Submission
from batchscribe.domain.transcript import Transcript
from batchscribe.errors import (
    ConfigurationError,
    InvalidRequest,
    JobAlreadyEnded,
    JobNotFinished,
    JobNotFound,
    MediaNotFound,
    ServiceUnavailable,
    UnsupportedLanguage,
    UnsupportedMediaFormat,
)
from batchscribe.service import TranscriptionService
from batchscribe.settings import Settings, load

MP3_HEAD = b"ID3\x04" + bytes(60)
SUBMISSION = Submission()
NOW = datetime(2026, 2, 5, 10, 30, tzinfo=UTC)
TRANSCRIPT = Transcript(language_code="en-US", duration=1.0, segments=())


@pytest.fixture(scope="module")
def prepared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data folder once: the migrations take longer than most tests here."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    folder.mkdir()
    parts.upgrade_database(load(data_dir=folder))
    return folder


@pytest.fixture
def settings(tmp_path: Path, prepared_folder: Path) -> Settings:
    """Return settings over a folder that is ready to be used."""
    shutil.copytree(prepared_folder, tmp_path / "data")
    return load(data_dir=tmp_path / "data", engine="scripted", min_free_bytes=0)


@pytest.fixture
def database(settings: Settings) -> Iterator[Engine]:
    """Return the database that the service uses."""
    engine = connect(settings.effective_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def service(settings: Settings, database: Engine) -> TranscriptionService:
    """Return the door as the api opens it; nobody works behind it."""
    return parts.build_service(settings, database)


def submit(service: TranscriptionService, data: bytes = MP3_HEAD) -> TranscriptionJob:
    """Submit a recording."""
    upload = service.begin_upload()
    try:
        upload.write(data)
        return service.submit(upload, file_name="talk.mp3", head=data[:64], submission=SUBMISSION, upload_seconds=0.5)
    finally:
        upload.abort()


def rows(database: Engine, table: str) -> int:
    """Count the rows of a table."""
    with database.connect() as connection:
        count: int = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608
        return count


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def bring_to(database: Engine, settings: Settings, job_name: str, status: JobStatus) -> None:
    """Do what a worker does to a job on its way to a status."""
    if status is JobStatus.QUEUED:
        return
    with database.begin() as connection:
        jobs.move_job(connection, job_name, JobStatus.IN_PROGRESS, at=NOW)
        key = f"{work_prefix(job_name)}0.pcm"
        chunk = Chunk(job_name=job_name, index=0, start=0.0, duration=1.0, audio_key=key, is_recognised=False)
        chunks.add_chunk(connection, chunk)
        parts.build_store(settings).put(key, b"pcm")
        if status.is_final:
            jobs.move_job(connection, job_name, status, at=NOW)
        if status is JobStatus.COMPLETED:
            transcripts.save_transcript(connection, job_name, TRANSCRIPT)


class TestSubmit:
    """Accepting a recording."""

    def test_a_submitted_job_is_on_disk_with_its_work(
        self, service: TranscriptionService, database: Engine, settings: Settings
    ) -> None:
        """Recording, row, event and the durable engine's entry are all there, and the answer says what they are."""
        job = submit(service)
        assert service.get(job.name) == job
        assert job.status is JobStatus.QUEUED
        assert job.media_format is MediaFormat.MP3
        assert job.media_url == f"s3://batchscribe/{job.media_key}"
        assert job.media_key == f"audio/batch/{job.created_at:%Y-%m-%d}/{job.name}.mp3"
        _, media = service.open_media(job.name)
        with media:
            assert media.read() == MP3_HEAD
        with database.connect() as connection:
            row = connection.execute(text("SELECT workflow_uuid, status, queue_name FROM workflow_status")).one()
        assert tuple(row) == (job.name, "ENQUEUED", "recordings")
        assert [each.type for each in service.monitor.events_after(0)] == ["job.queued"]
        assert files_below(settings.media_folder / "uploads") == []

    @pytest.mark.parametrize("table", ["transcription_jobs", "job_events", "workflow_status"])
    def test_a_failure_in_the_middle_leaves_neither_file_nor_row(
        self, service: TranscriptionService, database: Engine, settings: Settings, table: str
    ) -> None:
        """Wherever the transaction breaks, in our tables or the durable engine's, nothing of it stays."""
        with database.begin() as connection:
            connection.exec_driver_sql(
                f"CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END"
            )
        with pytest.raises(ServiceUnavailable):
            submit(service)
        assert files_below(settings.media_folder) == []
        assert [rows(database, each) for each in ("transcription_jobs", "job_events", "workflow_status")] == [0, 0, 0]
        with database.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER broken")
        assert service.get(submit(service).name)

    def test_a_database_that_cannot_be_written_leaves_no_recording(
        self, service: TranscriptionService, database: Engine, settings: Settings
    ) -> None:
        """The client is told to come back; what it sent is not kept."""

        @event.listens_for(database, "connect")
        def _forbid_writing(connection: sqlite3.Connection, _record: object) -> None:
            connection.execute("PRAGMA query_only=ON")

        database.dispose()
        with pytest.raises(ServiceUnavailable):
            submit(service)
        assert files_below(settings.media_folder) == []

    def test_a_store_that_cannot_be_written_leaves_no_job(
        self, service: TranscriptionService, database: Engine, settings: Settings
    ) -> None:
        """Where the recording cannot be given its name there is no job either."""
        (settings.media_folder / "audio").write_text("in the way")
        with pytest.raises(ServiceUnavailable):
            submit(service)
        assert files_below(settings.media_folder) == [settings.media_folder / "audio"]
        assert rows(database, "transcription_jobs") == 0

    def test_many_may_submit_at_once(self, service: TranscriptionService, database: Engine) -> None:
        """Each gets a job of its own with its own bytes."""
        submitted: dict[bytes, TranscriptionJob] = {}

        def run(number: int) -> None:
            for i in range(5):
                data = MP3_HEAD + f"{number} {i}".encode()
                submitted[data] = submit(service, data)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({job.name for job in submitted.values()}) == 40
        assert rows(database, "workflow_status") == 40
        for data, job in submitted.items():
            _, media = service.open_media(job.name)
            with media:
                assert media.read() == data

    def test_work_for_the_same_job_is_queued_once(
        self, service: TranscriptionService, settings: Settings, database: Engine
    ) -> None:
        """A second call changes nothing."""
        from batchscribe.workflow.dispatch import Dispatcher

        job = submit(service)
        dispatcher = Dispatcher(database)
        for _ in range(2):
            with database.begin() as connection:
                dispatcher.enqueue_recording(connection, job.name, priority_rank=1, size_bytes=1)
                dispatcher.enqueue_chunk(connection, job.name, 0, priority_rank=1)
        assert rows(database, "workflow_status") == 2
        dispatcher.close()
        assert settings.sqlite_path.exists()


class TestRefusals:
    """What is refused before anything is kept."""

    @pytest.mark.parametrize("file_name", ["notes.txt", "talk", ".mp3.exe", "talk.mp3.zip", ""])
    def test_other_formats_are_refused(self, service: TranscriptionService, file_name: str) -> None:
        """Neither the name nor the bytes are a supported recording's."""
        with pytest.raises(UnsupportedMediaFormat, match="Supported formats: mp3, mp4, wav, flac, ogg, amr, webm, m4a"):
            service.check_submission(file_name=file_name, head=b"plain text", fields={"language_code": "en-US"})

    def test_the_bytes_win_over_the_name(self, service: TranscriptionService) -> None:
        """A recording with a wrong name is a recording."""
        assert service.check_submission(file_name="talk.txt", head=MP3_HEAD, fields={}) == SUBMISSION

    @pytest.mark.parametrize("code", ["xx-XX", "english please", "-"])
    def test_unknown_languages_are_refused(self, service: TranscriptionService, code: str) -> None:
        """With an error that names the language."""
        with pytest.raises((UnsupportedLanguage, InvalidRequest)):
            service.check_submission(file_name="talk.mp3", head=MP3_HEAD, fields={"language_code": code})

    @pytest.mark.parametrize("code", [None, "", "en-US", "en-us"])
    def test_a_language_is_written_the_one_way(self, service: TranscriptionService, code: str | None) -> None:
        """Whatever the case, and American English where none is given."""
        fields: dict[str, str] = {} if code is None else {"language_code": code}
        submission = service.check_submission(file_name="talk.mp3", head=MP3_HEAD, fields=fields)
        assert submission.options.language_code == "en-US"

    @pytest.mark.parametrize(
        "ask",
        [
            TranscriptionService.get,
            TranscriptionService.cancel,
            TranscriptionService.delete,
            TranscriptionService.transcript,
            TranscriptionService.open_media,
        ],
    )
    def test_a_name_that_is_no_jobs_is_not_found(
        self, service: TranscriptionService, ask: Callable[[TranscriptionService, str], object]
    ) -> None:
        """Whatever is asked of it."""
        for name in ("transcribe-none", "", "../../etc/passwd", "a b", "é", "x" * 201, "a\n", "a\0", "a\ud800"):
            with pytest.raises(JobNotFound):
                ask(service, name)


class TestCancelAndDelete:
    """Ending and removing jobs."""

    @pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.IN_PROGRESS])
    def test_a_job_that_has_not_ended_is_cancelled(
        self, service: TranscriptionService, database: Engine, settings: Settings, status: JobStatus
    ) -> None:
        """It is FAILED at once, its working audio goes, its recording stays."""
        name = submit(service).name
        bring_to(database, settings, name, status)
        cancelled = service.cancel(name)
        assert cancelled.status is JobStatus.FAILED
        assert cancelled.failure is not None
        assert (cancelled.failure.code, cancelled.failure.reason) == ("cancelled", "Cancelled by request.")
        assert files_below(settings.media_folder / "work") == []
        service.open_media(name)[1].close()
        with pytest.raises(JobNotFinished, match="Cancelled by request"):
            service.transcript(name)

    @pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED])
    def test_a_job_that_has_ended_is_not_cancelled(
        self, service: TranscriptionService, database: Engine, settings: Settings, status: JobStatus
    ) -> None:
        """The answer says how it ended, and nothing changes."""
        name = submit(service).name
        bring_to(database, settings, name, status)
        before, events = service.get(name), service.monitor.latest_event_id()
        with pytest.raises(JobAlreadyEnded, match=status.value):
            service.cancel(name)
        assert service.get(name) == before
        assert service.monitor.latest_event_id() == events

    def test_of_many_who_cancel_one_succeeds(self, service: TranscriptionService) -> None:
        """There is one transition, and one event."""
        name = submit(service).name
        ends: list[str] = []

        def cancel() -> None:
            try:
                service.cancel(name)
            except JobAlreadyEnded:
                ends.append("refused")
            else:
                ends.append("cancelled")

        threads = [threading.Thread(target=cancel) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ends) == ["cancelled"] + ["refused"] * 7
        assert [each.type for each in service.monitor.events_after(0)] == ["job.queued", "job.failed"]

    @pytest.mark.parametrize("status", list(JobStatus))
    def test_a_deleted_job_leaves_nothing_but_its_events(
        self, service: TranscriptionService, database: Engine, settings: Settings, status: JobStatus
    ) -> None:
        """Whatever its status, and its neighbour keeps everything."""
        name, neighbour = submit(service).name, submit(service).name
        for each in (name, neighbour):
            bring_to(database, settings, each, status)
        service.delete(name)
        for ask in (service.get, service.transcript, service.open_media, service.delete, service.cancel):
            with pytest.raises(JobNotFound):
                ask(name)
        assert [path for path in settings.data_dir.rglob("*") if name in str(path)] == []
        assert rows(database, "transcription_jobs") == 1
        assert rows(database, "chunks") == (status is not JobStatus.QUEUED)
        assert rows(database, "transcripts") == (status is JobStatus.COMPLETED)
        assert service.monitor.events_after(service.monitor.latest_event_id() - 1)[0].type == "job.deleted"
        service.open_media(neighbour)[1].close()

    def test_a_recording_that_is_no_longer_kept_is_not_found(
        self, service: TranscriptionService, settings: Settings
    ) -> None:
        """The job itself still answers."""
        job = submit(service)
        parts.build_store(settings).delete(job.media_key)
        with pytest.raises(MediaNotFound):
            service.open_media(job.name)
        assert service.get(job.name) == job


class TestReadiness:
    """Whether every part can do its work."""

    def test_it_says_which_part_cannot(self, service: TranscriptionService, database: Engine) -> None:
        """Without a worker jobs wait; with one they do not."""
        readiness = service.monitor.readiness()
        assert {name for name, each in readiness.items() if not each.is_ok} == {"worker"}
        assert set(readiness) == {"database", "storage", "sandbox", "worker"}
        with database.begin() as connection:
            workers.beat(connection, "local", host="here", pid=1)
        assert all(each.is_ok for each in service.monitor.readiness().values())
        with database.begin() as connection:
            workers.forget(connection, "local")
        assert not service.monitor.readiness()["worker"].is_ok

    def test_a_worker_waits_for_the_end_of_the_one_before(self, settings: Settings) -> None:
        """The kernel may take a moment to let go of a killed worker's lock; one that stays is another worker."""
        with ExitStack() as before:
            before.enter_context(app._only_worker(settings))
            end = threading.Timer(0.3, before.close)
            end.start()
            with app._only_worker(settings), pytest.raises(ConfigurationError, match="Another worker already uses"):
                before.enter_context(app._only_worker(settings))
            end.join()

    def test_a_full_disk_is_told(self, settings: Settings, database: Engine) -> None:
        """The store says why it takes nothing."""
        full = parts.build_service(settings.model_copy(update={"min_free_bytes": 1 << 62}), database)
        storage = full.monitor.readiness()["storage"]
        assert not storage.is_ok
        assert "free disk space" in storage.sentence
