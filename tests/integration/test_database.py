"""The record of truth, over a real SQLite file."""

from __future__ import annotations

import base64
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, event, select, text
from sqlalchemy.exc import IntegrityError

from batchscribe.database import chunks, jobs, transcripts
from batchscribe.database.chunks import Chunk
from batchscribe.database.connection import connect
from batchscribe.database.schema import chunks as chunks_table
from batchscribe.database.schema import jobs as jobs_table
from batchscribe.database.schema import metadata
from batchscribe.database.upgrade import upgrade
from batchscribe.domain.job import TRANSITIONS, Failure, JobStatus, TranscriptionJob, media_key, new_job_name
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.transcript import Item, ItemKind, Segment, Transcript
from batchscribe.errors import InvalidRequest

BEGINNING = datetime(2026, 2, 5, 10, 30, 0, 123456, tzinfo=UTC)
SEGMENT = Segment(
    start=0.0,
    end=1.0,
    items=(Item(kind=ItemKind.PRONUNCIATION, content="héllo", start=0.0, end=1.0, confidence=0.5),),
)
TRANSCRIPT = Transcript(language_code="en-US", duration=1.0, segments=(SEGMENT,))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """Return an up-to-date database."""
    engine = connect(f"sqlite:///{tmp_path}/jobs.sqlite")
    upgrade(engine)
    yield engine
    engine.dispose()


def make_job(*, created_at: datetime = BEGINNING) -> TranscriptionJob:
    """Make a job that has just been submitted."""
    name = new_job_name()
    key = media_key(name, "mp3", created_at)
    return TranscriptionJob(
        name=name,
        status=JobStatus.QUEUED,
        options=TranscriptionOptions(language_code="de-DE"),
        media_key=key,
        media_format=MediaFormat.MP3,
        media_size_bytes=5_000_000_000,
        media_url=f"s3://batchscribe/{key}",
        upload_seconds=0.25,
        created_at=created_at,
    )


def add_job_in(connection: Connection, status: JobStatus) -> str:
    """Add a job and bring it to a status."""
    job = make_job()
    jobs.add_job(connection, job)
    if status in {JobStatus.IN_PROGRESS, JobStatus.COMPLETED}:
        assert jobs.move_job(connection, job.name, JobStatus.IN_PROGRESS, at=BEGINNING)
    if status.is_final:
        assert jobs.move_job(connection, job.name, status, at=BEGINNING)
    return job.name


def event_types(connection: Connection, job_name: str) -> list[str]:
    """Return the types of a job's events, in order."""
    return [each.type for each in jobs.events_after(connection, 0) if each.job_name == job_name]


def plan(connection: Connection, job_name: str, count: int, *, is_cut_to_its_end: bool = True) -> None:
    """Plan a recording of so many chunks of ten seconds."""
    for index in range(count):
        chunks.add_chunk(
            connection,
            Chunk(
                job_name=job_name,
                index=index,
                start=10.0 * index,
                duration=10.0,
                audio_key=f"work/{job_name}/{index}.pcm",
                is_recognised=False,
            ),
        )
    if is_cut_to_its_end:
        jobs.describe_media(connection, job_name, chunk_count=count, media_duration=10.0 * count)


class TestSchema:
    """The tables and the connection."""

    def test_migrations_arrive_at_the_schema(self, database: Engine) -> None:
        """What ``schema.py`` says and what a fresh database has are the same."""
        with database.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "version_table": "batchscribe_schema_version"}
            )
            assert compare_metadata(context, metadata) == []

    def test_upgrading_again_changes_nothing(self, database: Engine) -> None:
        """Jobs stay where they are."""
        with database.begin() as connection:
            jobs.add_job(connection, make_job())
        upgrade(database)
        with database.connect() as connection:
            assert jobs.latest_event_id(connection) == 1

    def test_many_processes_may_upgrade_at_once(self, tmp_path: Path) -> None:
        """An api and a worker that start together over an empty folder both find all tables, the engine's too."""
        program = (
            "import sys; from pathlib import Path; from batchscribe import app, settings\n"
            "sys.stdin.readline(); app.upgrade_database(settings.load(data_dir=Path(sys.argv[1])))"
        )
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program, tmp_path / "data"],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
            )
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        ends = [(process.communicate(timeout=60)[1].decode(), process.returncode) for process in processes]
        assert ends == [("", 0)] * 3

    def test_every_commit_is_durable(self, database: Engine) -> None:
        """On every connection: write-ahead log, ``synchronous=FULL``, foreign keys, and patience with other writers."""
        with database.connect() as one, database.connect() as other:
            for connection in (one, other):
                pragmas = {
                    name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                    for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
                }
                assert pragmas == {
                    "journal_mode": "wal",
                    "synchronous": 2,
                    "foreign_keys": 1,
                    "busy_timeout": 30_000,
                }

    def test_writers_wait_for_each_other(self, database: Engine) -> None:
        """Many threads that read and then write in one transaction lose nothing and never fail."""
        with database.begin() as connection:
            name = add_job_in(connection, JobStatus.IN_PROGRESS)
            plan(connection, name, 1)

        def attempt() -> None:
            for _ in range(10):
                with database.begin() as connection:
                    chunks.begin_chunk(connection, name, 0)
                    jobs.find_job(connection, name)

        threads = [threading.Thread(target=attempt) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with database.connect() as connection:
            assert connection.execute(select(chunks_table.c.attempts)).scalar_one() == 80

    def test_a_time_without_a_zone_is_refused(self, database: Engine) -> None:
        """It would be read as another moment elsewhere."""
        job = make_job(created_at=datetime(2026, 2, 5, 10, 30))  # noqa: DTZ001
        with pytest.raises(Exception, match="without a zone"), database.begin() as connection:
            jobs.add_job(connection, job)


class TestJobs:
    """Jobs, their transitions and their events."""

    def test_a_job_is_read_back_as_it_was_stored(self, database: Engine) -> None:
        """Every field, the time to the microsecond and in UTC."""
        job = make_job(created_at=BEGINNING.astimezone(tz=None))
        with database.begin() as connection:
            jobs.add_job(connection, job)
        with database.connect() as connection:
            found = jobs.find_job(connection, job.name)
        assert found == job
        assert found.created_at.utcoffset() == timedelta(0)

    @pytest.mark.parametrize("before", list(JobStatus))
    @pytest.mark.parametrize("to", list(JobStatus))
    def test_exactly_the_transitions_of_the_table_are_made(
        self, database: Engine, before: JobStatus, to: JobStatus
    ) -> None:
        """A transition writes one event of its own; what is not in the table changes nothing."""
        allowed = TRANSITIONS.get((before, to))
        failure = Failure(code="media_damaged", reason="It is damaged.") if to is JobStatus.FAILED else None
        at = BEGINNING + timedelta(hours=1)
        with database.begin() as connection:
            name = add_job_in(connection, before)
            stored, told = jobs.find_job(connection, name), event_types(connection, name)
            assert jobs.move_job(connection, name, to, at=at, failure=failure) is (allowed is not None)
            found = jobs.find_job(connection, name)
            assert found is not None
            if allowed is None:
                assert found == stored
                assert event_types(connection, name) == told
            else:
                assert found.status is to
                assert found.failure == failure
                assert event_types(connection, name) == [*told, allowed]
                assert (found.started_at == at) is (to is JobStatus.IN_PROGRESS)
                assert (found.completed_at == at) is (to is JobStatus.COMPLETED)

    @pytest.mark.parametrize("ended", [JobStatus.COMPLETED, JobStatus.FAILED])
    def test_a_job_that_has_ended_never_changes(self, database: Engine, ended: JobStatus) -> None:
        """Neither late progress nor a late look at the recording nor a late fragment reaches it."""
        with database.begin() as connection:
            name = add_job_in(connection, JobStatus.IN_PROGRESS)
            plan(connection, name, 2)
            jobs.move_job(connection, name, ended, at=BEGINNING)
            before = connection.execute(select(jobs_table)).one()
            chunks.note_progress(connection, {(name, 0): 5.0})
            jobs.describe_media(connection, name, media_duration=99.0, chunk_count=7)
            assert not chunks.save_fragment(connection, name, 0, (SEGMENT,), at=BEGINNING)
            assert chunks.fragments(connection, name) == []
            assert connection.execute(select(jobs_table)).one() == before

    def test_a_job_that_is_not_there_cannot_be_moved(self, database: Engine) -> None:
        """And leaves no event."""
        with database.begin() as connection:
            assert not jobs.move_job(connection, "transcribe-none", JobStatus.FAILED, at=BEGINNING)
            assert jobs.latest_event_id(connection) == 0

    def test_a_deleted_job_is_gone_with_all_that_hangs_on_it(self, database: Engine) -> None:
        """Only its events stay, the last of them says so, and what comes late for it finds no place."""
        with database.begin() as connection:
            name = add_job_in(connection, JobStatus.IN_PROGRESS)
            plan(connection, name, 2)
            transcripts.save_transcript(connection, name, TRANSCRIPT)
            assert jobs.delete_job(connection, name, at=BEGINNING)
            assert not jobs.delete_job(connection, name, at=BEGINNING)
            assert jobs.find_job(connection, name) is None
            assert transcripts.find_transcript(connection, name) is None
            assert chunks.find_chunk(connection, name, 0) is None
            assert event_types(connection, name) == ["job.queued", "job.started", "job.deleted"]
            assert not chunks.save_fragment(connection, name, 0, (SEGMENT,), at=BEGINNING)
            plan(connection, name, 1)
            assert chunks.find_chunk(connection, name, 0) is None

    def test_a_transcript_is_stored_once_and_read_back_whole(self, database: Engine) -> None:
        """A second one for the job is refused."""
        with database.begin() as connection:
            name = add_job_in(connection, JobStatus.IN_PROGRESS)
            transcripts.save_transcript(connection, name, TRANSCRIPT)
            assert transcripts.find_transcript(connection, name) == TRANSCRIPT
            found = jobs.find_job(connection, name, with_text=True)
            assert found is not None
            assert found.text == "héllo"
        with pytest.raises(IntegrityError), database.begin() as connection:
            transcripts.save_transcript(connection, name, TRANSCRIPT)

    def test_ids_of_events_are_never_used_again(self, database: Engine) -> None:
        """A reader that has seen the last event misses none, even when events are removed meanwhile."""
        with database.begin() as connection:
            add_job_in(connection, JobStatus.COMPLETED)
            last = jobs.latest_event_id(connection)
            connection.execute(text("DELETE FROM job_events"))
            add_job_in(connection, JobStatus.QUEUED)
            assert [each.id for each in jobs.events_after(connection, last)] == [last + 1]


class TestList:
    """Pages of jobs."""

    @pytest.mark.parametrize("status", [None, JobStatus.QUEUED])
    def test_paging_visits_every_job_once_although_jobs_arrive(
        self, database: Engine, status: JobStatus | None
    ) -> None:
        """Also where many jobs were submitted in the same microsecond."""
        with database.begin() as connection:
            stored = [make_job(created_at=BEGINNING + timedelta(microseconds=number // 7)) for number in range(50)]
            for job in stored:
                jobs.add_job(connection, job)
        seen: list[TranscriptionJob] = []
        token, arrived = None, 0
        while True:
            with database.begin() as connection:
                page = jobs.list_jobs(connection, status=status, max_results=6, next_token=token)
                arrived += 1
                jobs.add_job(connection, make_job(created_at=BEGINNING + timedelta(seconds=arrived)))
            seen += page.jobs
            assert len(page.jobs) <= 6
            token = page.next_token
            if token is None:
                break
        assert [job.name for job in seen] == [
            job.name for job in sorted(stored, key=lambda job: (job.created_at, job.name), reverse=True)
        ]

    def test_a_page_that_is_exactly_full_is_the_last(self, database: Engine) -> None:
        """No client is sent to an empty page."""
        with database.begin() as connection:
            for _ in range(3):
                jobs.add_job(connection, make_job())
            page = jobs.list_jobs(connection, status=None, max_results=3, next_token=None)
            assert len(page.jobs) == 3
            assert page.next_token is None

    def test_only_jobs_of_the_status_are_listed(self, database: Engine) -> None:
        """Each status has its own list."""
        with database.begin() as connection:
            names = {status: add_job_in(connection, status) for status in JobStatus}
            for status, name in names.items():
                page = jobs.list_jobs(connection, status=status, max_results=10, next_token=None)
                assert [job.name for job in page.jobs] == [name]

    @pytest.mark.parametrize(
        "token",
        [
            "",
            "a",
            "nonsense",
            "%%%",
            "é",
            "\0",
            "====",
            base64.urlsafe_b64encode(b"2026-02-05T10:30:00 transcribe-1").decode(),
            base64.urlsafe_b64encode(b"2026-02-05T10:30:00+00:00").decode(),
            base64.urlsafe_b64encode(b"2026-02-05T10:30:00+00:00 ").decode(),
            base64.urlsafe_b64encode(b"yesterday transcribe-1").decode(),
            base64.urlsafe_b64encode(b"0001-01-01T00:00:00+23:59 transcribe-1").decode(),
            base64.urlsafe_b64encode(b"9999-12-31T23:59:59-23:59 transcribe-1").decode(),
            base64.urlsafe_b64encode(b"\xff\xfe transcribe-1").decode(),
            "A" * 100_000,
        ],
    )
    def test_a_token_that_is_not_ours_is_refused(self, database: Engine, token: str) -> None:
        """With an error for the client, never with one of ours."""
        with database.connect() as connection, pytest.raises(InvalidRequest):
            jobs.list_jobs(connection, status=None, max_results=3, next_token=token)


class TestChunks:
    """The plan, the progress and the fragments."""

    def test_a_fragment_is_stored_once(self, database: Engine) -> None:
        """The second result of a chunk is dropped, whatever it says."""
        with database.begin() as connection:
            name = add_job_in(connection, JobStatus.IN_PROGRESS)
            plan(connection, name, 2)
            assert chunks.save_fragment(connection, name, 1, (SEGMENT,), at=BEGINNING)
            assert not chunks.save_fragment(connection, name, 1, (), at=BEGINNING)
            (fragment,) = chunks.fragments(connection, name)
            assert (fragment.index, fragment.segments) == (1, (SEGMENT,))
            assert not chunks.is_complete(connection, name)
            assert chunks.save_fragment(connection, name, 0, (), at=BEGINNING)
            assert chunks.is_complete(connection, name)

    def test_a_recording_is_not_complete_before_it_is_cut_to_its_end(self, database: Engine) -> None:
        """All chunks so far may be recognised while more are still to come."""
        with database.begin() as connection:
            name = add_job_in(connection, JobStatus.IN_PROGRESS)
            plan(connection, name, 1, is_cut_to_its_end=False)
            chunks.save_fragment(connection, name, 0, (), at=BEGINNING)
            assert not chunks.is_complete(connection, name)
            jobs.describe_media(connection, name, chunk_count=1)
            assert chunks.is_complete(connection, name)

    def test_attempts_are_counted_until_the_chunk_is_recognised(self, database: Engine) -> None:
        """A chunk that is recognised is not begun again."""
        with database.begin() as connection:
            name = add_job_in(connection, JobStatus.IN_PROGRESS)
            plan(connection, name, 1)
            for _ in range(3):
                chunk = chunks.begin_chunk(connection, name, 0)
                assert chunk is not None
                assert not chunk.is_recognised
            chunks.save_fragment(connection, name, 0, (), at=BEGINNING)
            chunk = chunks.begin_chunk(connection, name, 0)
            assert chunk is not None
            assert chunk.is_recognised
            assert connection.execute(select(chunks_table.c.attempts)).scalar_one() == 3

    def test_progress_adds_up_over_the_chunks(self, database: Engine) -> None:
        """A recognised chunk counts whole, whatever is noted late."""
        with database.begin() as connection:
            name = add_job_in(connection, JobStatus.IN_PROGRESS)
            plan(connection, name, 4)
            chunks.save_fragment(connection, name, 0, (), at=BEGINNING)
            chunks.note_progress(connection, {(name, 0): 3.0, (name, 1): 2.5})
            found = jobs.find_job(connection, name)
            assert found is not None
            assert found.done_duration == 12.5
            assert found.progress == pytest.approx(12.5 / 40)


class TestCost:
    """No query looks at more rows than it answers with."""

    @pytest.fixture
    def statements(self, database: Engine) -> Iterator[list[tuple[str, tuple[object, ...]]]]:
        """Return the statements that are run from here on, with what was bound."""
        seen: list[tuple[str, tuple[object, ...]]] = []

        def note(
            _connection: object, _cursor: object, statement: str, parameters: tuple[object, ...], *_: object
        ) -> None:
            seen.append((statement, parameters))

        event.listen(database, "before_cursor_execute", note)
        yield seen
        event.remove(database, "before_cursor_execute", note)

    def test_every_frequent_query_uses_an_index(
        self, database: Engine, statements: list[tuple[str, tuple[object, ...]]], tmp_path: Path
    ) -> None:
        """Asked of SQLite itself: it searches, in the order of an index, and neither scans a table nor sorts."""
        with database.begin() as connection:
            name = add_job_in(connection, JobStatus.IN_PROGRESS)
            plan(connection, name, 2)
            add_job_in(connection, JobStatus.IN_PROGRESS)
            statements.clear()
            jobs.find_job(connection, name)
            jobs.find_job(connection, name, with_text=True)
            for status in (None, JobStatus.IN_PROGRESS):
                page = jobs.list_jobs(connection, status=status, max_results=1, next_token=None)
                jobs.list_jobs(connection, status=status, max_results=1, next_token=page.next_token)
            jobs.statuses(connection, [name])
            jobs.events_after(connection, 1)
            jobs.latest_event_id(connection)
            chunks.begin_chunk(connection, name, 0)
            chunks.note_progress(connection, {(name, 0): 1.0})
            chunks.is_complete(connection, name)
            chunks.fragments(connection, name)
            asked = list(statements)
        assert len(asked) > 12
        with sqlite3.connect(tmp_path / "jobs.sqlite") as plain:
            for statement, parameters in asked:
                steps = [row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
                for step in steps:
                    if step.startswith("SCAN"):
                        # Without a condition the order of the index gives the first rows at once.
                        assert "USING INDEX" in step or "USING COVERING INDEX" in step, (statement, steps)
                        assert "LIMIT" in statement, (statement, steps)
                    assert "TEMP B-TREE" not in step, (statement, steps)
        plain.close()


def test_a_connection_in_hand_while_the_pool_is_disposed_of_is_closed_when_it_is_given_back(tmp_path: Path) -> None:
    """A thread may still hold one; without this it would stay open until Python collects it."""
    engine = connect(f"sqlite:///{tmp_path}/jobs.sqlite")
    connection = engine.connect()
    driver = connection.connection.driver_connection
    assert driver is not None
    engine.dispose()
    driver.execute("SELECT 1")
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        driver.execute("SELECT 1")


def test_a_connection_that_is_made_after_the_pool_was_disposed_of_is_not_kept(tmp_path: Path) -> None:
    """A thread may come too late, while the process ends; its work is done, and nothing is left open."""
    engine = connect(f"sqlite:///{tmp_path}/jobs.sqlite")
    engine.dispose()
    connection = engine.connect()
    driver = connection.connection.driver_connection
    assert driver is not None
    assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        driver.execute("SELECT 1")
