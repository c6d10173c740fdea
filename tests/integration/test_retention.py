"""Jobs and recordings are deleted when their time is over, and nothing else is."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import Connection, event, insert, select, text, update

from batchscribe import parts
from batchscribe.database import jobs, retention
from batchscribe.database.schema import chunks, transcripts
from batchscribe.database.schema import jobs as jobs_table
from batchscribe.domain.job import JobStatus
from batchscribe.settings import Settings, load
from batchscribe.storage.folder import FolderStore
from batchscribe.workflow.dispatch import Dispatcher
from batchscribe.workflow.housekeeping import ORPHAN_AGE, Housekeeper
from running_api import RunningApi, running_api

#: A round number of batches, so that the last one is found empty.
MANY = 2_000


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgres"))])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Return the settings of a server over each of the databases."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return load(data_dir=tmp_path / "data", engine="scripted", min_free_bytes=0, database_url=url)


@pytest.fixture
def api(settings: Settings) -> Iterator[RunningApi]:
    """Run a server whose operator has set no times."""
    with running_api(settings.data_dir, database_url=settings.database_url) as running:
        yield running


@pytest.fixture
def store(settings: Settings) -> FolderStore:
    """Return the media store of the server."""
    store = parts.build_store(settings)
    assert isinstance(store, FolderStore)
    return store


@pytest.fixture
def housekeeper(api: RunningApi, store: FolderStore) -> Iterator[Housekeeper]:
    """Return who deletes; the tests say when."""
    dispatcher = Dispatcher(api.database)
    yield Housekeeper(api.database, store, dispatcher)
    dispatcher.close()


def ended(api: RunningApi, **terms: Any) -> str:
    """Submit a job on these terms and complete it; return its name."""
    name = api.submit(**terms)
    api.start(name)
    api.complete(name)
    return name


def let_time_pass(api: RunningApi, seconds: float) -> None:
    """Bring every deletion so much nearer."""
    with api.database.begin() as connection:
        for column in (jobs_table.c.delete_at, jobs_table.c.delete_media_at):
            for name, at in connection.execute(select(jobs_table.c.name, column).where(column.is_not(None))).all():
                sooner = {column.name: at - timedelta(seconds=seconds)}
                connection.execute(update(jobs_table).where(jobs_table.c.name == name).values(sooner))


def media(api: RunningApi, name: str) -> requests.Response:
    """Ask for a job's recording."""
    return api.get(f"/transcribe-job/{name}/media")


def status_of(api: RunningApi, name: str) -> int:
    """Return the HTTP status that a job is answered with."""
    return api.get(f"/transcribe-job/{name}").status_code


def add_many_expired(api: RunningApi, store: FolderStore, *, column: str) -> list[str]:
    """Add ended jobs with transcripts, chunks and recordings whose time is over; return their names."""
    template = api.service.get(ended(api))
    at = datetime.now(UTC) - timedelta(hours=1)
    names = [f"old-{number:05}" for number in range(MANY)]
    with api.database.begin() as connection:
        row = connection.execute(select(jobs_table).where(jobs_table.c.name == template.name)).one()._asdict()
        rows = [row | {"name": name, "media_key": f"audio/batch/2020-01-01/{name}.wav", column: at} for name in names]
        connection.execute(insert(jobs_table), rows)
        connection.execute(insert(transcripts), [{"job_name": name, "text": "x", "body": "{}"} for name in names])
        chunk = {"index": 0, "start": 0.0, "duration": 1.0, "audio_key": "x"}
        connection.execute(insert(chunks), [chunk | {"job_name": name} for name in names])
    folder = store.path("audio/batch/2020-01-01/x.wav").parent
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return names


def count(connection: Connection, table: str, condition: str = "1 = 1") -> int:
    """Count a table's rows."""
    found: int = connection.execute(text(f"SELECT count(*) FROM {table} WHERE {condition}")).scalar_one()  # noqa: S608
    return found


class TestTimes:
    """When something is deleted."""

    def test_a_job_is_deleted_when_its_time_is_over(self, api: RunningApi, housekeeper: Housekeeper) -> None:
        """With its recording and transcript; not before, and not one that nobody set a time for."""
        name, kept = ended(api, delete_after_seconds="60"), ended(api)
        assert housekeeper.delete_expired() == 0
        let_time_pass(api, 55)
        assert housekeeper.delete_expired() == 0
        assert (status_of(api, name), media(api, name).status_code) == (200, 200)
        let_time_pass(api, 10)
        assert housekeeper.delete_expired() == 1
        assert status_of(api, name) == 404
        assert [path for path in api.data_dir.rglob("*") if name in path.name] == []
        assert [each.type for each in api.service.monitor.events_after(0) if each.job_name == name][-1] == "job.deleted"
        assert (status_of(api, kept), media(api, kept).status_code) == (200, 200)

    def test_a_recording_is_deleted_before_its_transcript(self, api: RunningApi, housekeeper: Housekeeper) -> None:
        """The job goes on answering; only its recording is no longer kept."""
        name, kept = ended(api, delete_media_after_seconds="60"), ended(api)
        before = api.get(f"/transcribe-job/{name}").json()
        let_time_pass(api, 65)
        assert housekeeper.delete_expired() == 1
        answer = media(api, name)
        assert answer.status_code == 404
        assert answer.headers["X-Error-Code"] == "media_not_found"
        assert api.get(f"/transcribe-job/{name}").json() == before
        assert api.get(f"/transcribe-job/{name}/transcript").text == "Hello there.\n"
        assert media(api, kept).status_code == 200
        assert housekeeper.delete_expired() == 0

    def test_each_has_its_own_time(self, api: RunningApi, housekeeper: Housekeeper) -> None:
        """First the recording, then all."""
        name = ended(api, delete_media_after_seconds="60", delete_after_seconds="600")
        let_time_pass(api, 65)
        housekeeper.delete_expired()
        assert (status_of(api, name), media(api, name).headers["X-Error-Code"]) == (200, "media_not_found")
        let_time_pass(api, 600)
        housekeeper.delete_expired()
        assert status_of(api, name) == 404

    def test_a_time_of_nothing_is_at_once(self, api: RunningApi, housekeeper: Housekeeper) -> None:
        """``0`` keeps neither longer than the job lasts."""
        name = ended(api, delete_media_after_seconds="0")
        housekeeper.delete_expired()
        assert (status_of(api, name), media(api, name).status_code) == (200, 404)
        gone = ended(api, delete_after_seconds="0")
        housekeeper.delete_expired()
        assert status_of(api, gone) == 404

    def test_a_failed_job_has_its_times_too(self, api: RunningApi, housekeeper: Housekeeper) -> None:
        """Also one that was cancelled while it waited."""
        failed, cancelled = (api.submit(delete_after_seconds="0") for _ in range(2))
        api.start(failed)
        api.fail(failed, "It is damaged.")
        api.service.cancel(cancelled)
        assert housekeeper.delete_expired() == 2
        assert (status_of(api, failed), status_of(api, cancelled)) == (404, 404)

    @pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.IN_PROGRESS])
    def test_time_begins_with_the_jobs_end(self, api: RunningApi, housekeeper: Housekeeper, status: JobStatus) -> None:
        """A job that waits or is under way is never deleted, however long that takes."""
        name = api.submit(delete_after_seconds="0", delete_media_after_seconds="0")
        if status is JobStatus.IN_PROGRESS:
            api.start(name)
        assert housekeeper.delete_expired() == 0
        assert media(api, name).status_code == 200

    def test_the_operator_sets_the_times_where_the_caller_does_not(self, settings: Settings) -> None:
        """What the caller says wins."""
        defaults: dict[str, Any] = {"delete_after_seconds": 600, "delete_media_after_seconds": 60}
        with running_api(settings.data_dir, database_url=settings.database_url, **defaults) as api:
            by_default, by_caller = api.submit(), api.submit(delete_after_seconds="7")
            jobs_ = [api.service.get(name) for name in (by_default, by_caller)]
        assert [(job.delete_after_seconds, job.delete_media_after_seconds) for job in jobs_] == [(600, 60), (7, 60)]

    @pytest.mark.parametrize("field", ["delete_after_seconds", "delete_media_after_seconds"])
    @pytest.mark.parametrize("value", ["-1", "1.5", "soon", "٣", "999999999", "1" * 5000])
    def test_what_is_no_time_is_refused(self, api: RunningApi, field: str, value: str) -> None:
        """With the field's name, before anything is kept."""
        files = {"file": ("speech.wav", b"RIFF\0\0\0\0WAVE")}
        answer = requests.post(api.base_url + "/transcribe-batch-async", files=files, data={field: value}, timeout=30)
        assert answer.status_code == 400
        assert f"Invalid {field}" in answer.json()["error"]
        assert api.job_count() == 0


class TestPurge:
    """Deleting much at once."""

    def test_thousands_of_jobs_go_in_small_transactions(
        self, api: RunningApi, store: FolderStore, housekeeper: Housekeeper
    ) -> None:
        """None holds the database long, and nothing of others is touched."""
        kept = ended(api)
        add_many_expired(api, store, column="delete_at")
        lasted: list[float] = []
        began: dict[int, float] = {}

        @event.listens_for(api.database, "before_cursor_execute")
        def _note_beginning(*context: Any) -> None:
            if context[2].startswith("DELETE"):
                began.setdefault(id(context[0]), time.monotonic())

        @event.listens_for(api.database, "commit")
        def _note_end(connection: Connection) -> None:
            if id(connection) in began:
                lasted.append(time.monotonic() - began.pop(id(connection)))

        assert housekeeper.delete_expired() == MANY

        with api.database.connect() as connection:
            assert count(connection, "transcription_jobs") == 2
            assert [count(connection, table) for table in ("chunks", "transcripts")] == [0, 2]
            assert count(connection, "job_events", "type = 'job.deleted'") == MANY
        assert not list(store.path("audio/batch/2020-01-01/x.wav").parent.iterdir())
        assert media(api, kept).status_code == 200
        assert len(lasted) == MANY / retention.BATCH
        # A machine that is busy with something else may hold up one or the other.
        assert statistics.median(lasted) < 0.05, lasted

    def test_thousands_of_recordings_go_and_their_jobs_stay(
        self, api: RunningApi, store: FolderStore, housekeeper: Housekeeper
    ) -> None:
        """And they are not looked at again."""
        names = add_many_expired(api, store, column="delete_media_at")
        assert housekeeper.delete_expired() == MANY
        assert housekeeper.delete_expired() == 0
        assert not list(store.path("audio/batch/2020-01-01/x.wav").parent.iterdir())
        assert status_of(api, names[0]) == 200
        with api.database.connect() as connection:
            assert count(connection, "transcription_jobs") == MANY + 1

    def test_submissions_and_polls_go_on_meanwhile(
        self, api: RunningApi, store: FolderStore, housekeeper: Housekeeper
    ) -> None:
        """None waits for more than a batch or two."""
        from concurrent.futures import ThreadPoolExecutor

        add_many_expired(api, store, column="delete_at")
        slowest = 0.0
        with ThreadPoolExecutor(1) as pool:
            purge = pool.submit(housekeeper.delete_expired)
            while not purge.done():
                began_at = time.monotonic()
                assert status_of(api, api.submit()) == 200
                slowest = max(slowest, time.monotonic() - began_at)
            assert purge.result() == MANY
        assert slowest < 15.0

    def test_a_purge_that_is_cut_off_goes_on_where_it_was(
        self, api: RunningApi, store: FolderStore, housekeeper: Housekeeper
    ) -> None:
        """A recording that is gone already is none the worse for being deleted again."""
        name = ended(api, delete_after_seconds="0")
        store.delete(api.service.get(name).media_key)
        assert housekeeper.delete_expired() == 1
        assert status_of(api, name) == 404


class TestOrphans:
    """What nobody will ask for any more."""

    @pytest.mark.parametrize("day", ["2020-01-01", f"{datetime.now(UTC):%Y-%m-%d}"])
    def test_a_recording_without_a_job_is_removed_a_day_later(
        self, api: RunningApi, store: FolderStore, housekeeper: Housekeeper, day: str
    ) -> None:
        """Whatever day it is from: the job of an old one may have been deleted a moment before the power went."""
        kept = ended(api)
        store.put(f"audio/batch/{day}/transcribe-orphan.wav", b"x")
        path = store.path(f"audio/batch/{day}/transcribe-orphan.wav")
        housekeeper.tidy()
        assert path.exists()
        long_ago = time.time() - ORPHAN_AGE.total_seconds() - 60
        os.utime(path, (long_ago, long_ago))
        os.utime(store.path(api.service.get(kept).media_key), (long_ago, long_ago))
        with pytest.MonkeyPatch.context() as patch:
            # The next day, for what is old is looked at once a day.
            patch.setattr(housekeeper, "_media_seen_on", None)
            housekeeper.tidy()
        assert not path.exists()
        assert media(api, kept).status_code == 200

    def test_keys_past_their_lifetime_are_removed(self, api: RunningApi, housekeeper: Housekeeper) -> None:
        """Those within it stay."""
        for age in (23, 25):
            at = datetime.now(UTC) - timedelta(hours=age)
            with api.database.begin() as connection:
                keys = "idempotency_keys (key, fingerprint, job_name, created_at)"
                query = text(f"INSERT INTO {keys} VALUES (:key, 'f', 'j', :at)")  # noqa: S608
                values = {"key": f"{age}", "at": at.replace(tzinfo=None) if api.database.name == "sqlite" else at}
                connection.execute(query, values)
        housekeeper.tidy()
        with api.database.connect() as connection:
            assert [row.key for row in connection.execute(text("SELECT key FROM idempotency_keys"))] == ["23"]


def test_deleting_while_another_deletes_counts_once(api: RunningApi) -> None:
    """A job that a client deletes in the moment of its purge leaves one event."""
    name = ended(api, delete_after_seconds="0")
    with api.database.begin() as connection:
        assert retention.expired_jobs(connection, at=datetime.now(UTC)) == [(name, api.service.get(name).media_key)]
    api.service.delete(name)
    with api.database.begin() as connection:
        assert not jobs.delete_job(connection, name, at=datetime.now(UTC))
    types = [each.type for each in api.service.monitor.events_after(0) if each.job_name == name]
    assert types.count("job.deleted") == 1
