"""``GET /metrics``: what it says, that it misses nothing, and that it costs the same however many jobs have ended."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection, Engine, insert, text

from batchscribe.database import chunks, jobs, workers
from batchscribe.database.chunks import Chunk
from batchscribe.database.connection import connect
from batchscribe.database.event_log import EventReader
from batchscribe.database.jobs import JobEvent
from batchscribe.database.metrics import read_load
from batchscribe.database.schema import events
from batchscribe.database.upgrade import upgrade
from batchscribe.domain.job import JobStatus
from batchscribe.web import waiting
from running_api import RunningApi, running_api

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
NOW = datetime(2026, 2, 5, 10, 30, tzinfo=UTC)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    """Run a server over SQLite."""
    with running_api(tmp_path / "data") as running:
        yield running


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """Return an up-to-date SQLite database."""
    engine = connect(f"sqlite:///{tmp_path}/jobs.sqlite")
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Engine]:
    """Return an up-to-date PostgreSQL database."""
    engine = connect(postgres_url)
    upgrade(engine)
    yield engine
    engine.dispose()


def scrape(api: RunningApi) -> dict[str, float]:
    """Return every sample, its labels written as Prometheus does."""
    answer = api.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        sample.name + "".join(f'{{{name}="{value}"}}' for name, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def add_ended_jobs(connection: Connection, count: int, *, first: int = 1) -> None:
    """Add jobs that ended long ago, with their events, as fast as the database takes them."""
    last = first + count - 1
    numbers = (
        f"WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})"
        if connection.dialect.name == "sqlite"
        else f"WITH numbers AS (SELECT generate_series({first}, {last}) AS n)"
    )
    created_at = "'2026-01-01 00:00:00'"
    columns = "name, status, options, media_key, media_format, media_size_bytes, media_url, upload_seconds, created_at"
    values = (
        f"'old-' || n, CASE n % 2 WHEN 0 THEN 'COMPLETED' ELSE 'FAILED' END, '{{}}', '', 'mp3', 1, '', 0, {created_at}"
    )
    into_jobs = f"INSERT INTO transcription_jobs ({columns})"
    into_chunks = 'INSERT INTO chunks (job_name, "index", start, duration, audio_key)'
    into_events = "INSERT INTO job_events (job_name, type, created_at)"
    into_takeovers = "INSERT INTO takeovers (executor_id, workflows, created_at)"
    for into, what in (
        (into_jobs, values),
        (into_chunks, "'old-' || n, 0, 0, 1, ''"),
        (into_events, f"'old-' || n, 'job.completed', {created_at}"),
        (into_takeovers, f"'dead', 1, {created_at}"),
    ):
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"{into} {numbers} SELECT {what} FROM numbers")
        else:
            typed = what.replace(created_at, f"{created_at}::timestamptz")
            connection.exec_driver_sql(f"{numbers} {into} SELECT {typed.replace('%', '%%')} FROM numbers")


class TestWhatIsSaid:
    """The numbers."""

    def test_what_happens_to_jobs_is_counted(self, api: RunningApi) -> None:
        """Each event once, failures by their codes, and the audio of what was completed."""
        scrape(api)
        done, running, failed, deleted = (api.submit() for _ in range(4))
        for name in (done, running):
            api.start(name)
        api.complete(done)
        api.fail(failed, "It is damaged.")
        api.service.delete(deleted)
        for _ in range(2):
            seen = scrape(api)
            events = ("queued", "started", "completed", "failed", "deleted")
            assert [seen[f'batchscribe_jobs_total{{event="{event}"}}'] for event in events] == [4, 2, 1, 1, 1]
            assert seen['batchscribe_jobs_failed_total{code="media_damaged"}'] == 1
            assert sum(value for name, value in seen.items() if name.startswith("batchscribe_jobs_failed_total")) == 1
            assert seen["batchscribe_audio_seconds_total"] == 2.5
            assert seen["batchscribe_real_time_factor_count"] == 1
            assert 0 < seen["batchscribe_real_time_factor_sum"] < 10
            assert seen["batchscribe_waiting_seconds_count"] == 2

    def test_what_there_is_to_do_is_measured(self, api: RunningApi) -> None:
        """Jobs that wait and since when, jobs and chunks under way, workers, and the store's room."""
        running = [api.submit(), api.submit()]
        for name in running:
            api.start(name)
        waiting_job = api.submit()
        with api.database.begin() as connection:
            for name in running:
                for index in range(3):
                    chunk = Chunk(job_name=name, index=index, start=0, duration=1, audio_key="", is_recognised=False)
                    chunks.add_chunk(connection, chunk)
            chunks.begin_chunk(connection, running[0], 0)
            chunks.begin_chunk(connection, running[0], 1)
            chunks.save_fragment(connection, running[0], 0, (), at=NOW)
            workers.beat(connection, "one", host="here", pid=1)
            connection.execute(
                text("UPDATE transcription_jobs SET created_at = :at WHERE name = :name"),
                {"at": (datetime.now(UTC) - timedelta(seconds=90)).replace(tzinfo=None), "name": waiting_job},
            )
        seen = scrape(api)
        assert seen["batchscribe_jobs_queued"] == 1
        assert 90 <= seen["batchscribe_oldest_queued_job_age_seconds"] < 120
        assert seen["batchscribe_jobs_in_progress"] == 2
        assert seen['batchscribe_chunks{state="waiting"}'] == 4
        assert seen['batchscribe_chunks{state="running"}'] == 1
        assert seen["batchscribe_workers_alive"] == 1
        assert seen["batchscribe_store_free_bytes"] > 0
        api.fail(running[1], "It is damaged.")
        assert scrape(api)['batchscribe_chunks{state="waiting"}'] == 1

    def test_waiting_jobs_are_counted_up_to_the_limit(self, tmp_path: Path) -> None:
        """So that a queue of millions costs no more to count than the one that is refused."""
        with running_api(tmp_path / "data", max_queued_jobs=3) as api:
            with api.database.begin() as connection:
                add_ended_jobs(connection, 10)
                connection.exec_driver_sql("UPDATE transcription_jobs SET status = 'QUEUED'")
            assert scrape(api)["batchscribe_jobs_queued"] == 3

    def test_takeovers_are_counted(self, api: RunningApi) -> None:
        """Those since the api started, with the work that was handed on."""
        with api.database.begin() as connection:
            workers.note_takeover(connection, "before", workflows=9, at=NOW)
        scrape(api)
        with api.database.begin() as connection:
            workers.note_takeover(connection, "first", workflows=2, at=NOW)
            workers.note_takeover(connection, "second", workflows=0, at=NOW)
        for _ in range(2):
            seen = scrape(api)
            assert seen["batchscribe_takeovers_total"] == 2
            assert seen["batchscribe_taken_over_work_total"] == 2

    def test_events_that_say_nothing_are_counted_too(self, api: RunningApi) -> None:
        """As those that an older version writes while the new one is rolled out."""
        scrape(api)
        with api.database.begin() as connection:
            for kind in ("started", "completed", "failed", "unheard_of"):
                connection.exec_driver_sql(
                    f"INSERT INTO job_events (job_name, type, created_at) VALUES ('x', 'job.{kind}', '{NOW:%F %T}')"
                )
        seen = scrape(api)
        assert seen['batchscribe_jobs_total{event="completed"}'] == 1
        assert seen['batchscribe_jobs_total{event="unheard_of"}'] == 1
        assert seen["batchscribe_real_time_factor_count"] == 0

    def test_counting_begins_when_the_api_is_told_to(self, api: RunningApi) -> None:
        """As it is at its start: what happens before the first scrape is not lost."""
        app = api.server.config.app
        app.state.metrics.start()  # type: ignore[union-attr]
        api.submit()
        assert scrape(api)['batchscribe_jobs_total{event="queued"}'] == 1

    def test_every_api_counts_the_same(self, api: RunningApi, tmp_path: Path) -> None:
        """Whoever is asked, and who took in the recording does not matter."""
        with running_api(tmp_path / "data") as other:
            scrape(api)
            scrape(other)
            for _ in range(3):
                api.submit()
            other.submit()
            of_one, of_other = scrape(api), scrape(other)
        assert of_one['batchscribe_jobs_total{event="queued"}'] == 4
        changing = {"batchscribe_oldest_queued_job_age_seconds", "batchscribe_store_free_bytes"}
        assert {name for name in of_one if of_one[name] != of_other[name]} <= changing

    def test_no_job_and_no_recording_is_named(self, api: RunningApi) -> None:
        """Metrics are read by many: they hold numbers alone."""
        scrape(api)
        name = api.submit()
        assert name not in api.get("/metrics").text
        assert "speech" not in api.get("/metrics").text

    def test_a_database_that_does_not_answer_is_a_503(self, api: RunningApi) -> None:
        """With the contract's error, and afterwards everything is as before."""
        scrape(api)
        api.database.dispose()
        path = api.data_dir / "batchscribe.sqlite"
        for each in api.data_dir.glob("batchscribe.sqlite*"):
            each.rename(each.with_name("away-" + each.name))
        path.mkdir()
        answer = api.get("/metrics")
        assert answer.status_code == 503
        assert answer.headers["X-Error-Code"] == "service_unavailable"
        path.rmdir()
        for each in api.data_dir.glob("away-*"):
            each.rename(each.with_name(each.name.removeprefix("away-")))
        scrape(api)

    def test_every_metric_is_described(self, api: RunningApi) -> None:
        """Each has a row in docs/metrics.md under its own kind, and none stands there that does not exist."""
        families = list(text_string_to_metric_families(api.get("/metrics").text))
        kinds = {
            family.name + ("_total" if family.type == "counter" else ""): family.type
            for family in families
            if family.documentation
        }
        rows = re.findall(r"^\| `(batchscribe_\w+)[^`]*` \| (\w+) \|", DOCUMENT.read_text(), flags=re.MULTILINE)
        assert dict(rows) == kinds
        assert len(rows) == len(kinds)


class TestCost:
    """That old jobs cost nothing."""

    def test_the_work_of_a_scrape_is_the_same_after_100_000_jobs(self, database: Engine) -> None:
        """Counted in the steps of SQLite's own machine, which are the same at every run."""
        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1

        def cost() -> int:
            nonlocal steps
            steps = 0
            with database.connect() as connection:
                driver = connection.connection.driver_connection
                assert isinstance(driver, sqlite3.Connection)
                driver.set_progress_handler(count, 10)
                read_load(connection, most_queued=100_000, at=NOW)
                reader = EventReader(connection)
                reader.read(connection)
                workers.takeovers_after(connection, workers.latest_takeover_id(connection))
                driver.set_progress_handler(None, 0)
            return steps

        with database.begin() as connection:
            add_ended_jobs(connection, 1_000)
        few = cost()
        with database.begin() as connection:
            add_ended_jobs(connection, 100_000, first=1_001)
        assert 0 < cost() <= few + 20

    @pytest.mark.xdist_group("postgres")
    def test_postgresql_reads_no_table_of_100_000_jobs_from_end_to_end(self, postgres: Engine) -> None:
        """It finds what it needs by indexes, as its own plan says."""
        with postgres.begin() as connection:
            add_ended_jobs(connection, 100_000)
        with postgres.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
            asked: list[str] = []
            read_load(_Listening(connection, asked), most_queued=100_000, at=NOW)  # type: ignore[arg-type]
            assert len(asked) == 5
            for query in asked:
                plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {query}").scalars())
                assert not re.search(r"Seq Scan on (transcription_jobs|chunks|job_events)", plan), plan


class _Listening:
    """A connection that notes what is asked of it, with its values."""

    def __init__(self, connection: Connection, asked: list[str]) -> None:
        self.dialect = connection.dialect
        self._connection = connection
        self._asked = asked

    def execute(self, query: object) -> object:
        """Note and ask."""
        compiled = query.compile(self._connection.engine, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]
        if "workers" not in str(compiled):
            self._asked.append(str(compiled))
        return self._connection.execute(query)  # type: ignore[call-overload]


@pytest.mark.xdist_group("postgres")
class TestEventsOutOfOrder:
    """PostgreSQL gives out ids before their transactions end."""

    @staticmethod
    def queue_job(connection: Connection, name: str) -> None:
        """Write an event as a submission does."""
        connection.execute(insert(events).values(job_name=name, type="job.queued", created_at=NOW))

    def test_an_event_that_comes_late_is_not_missed(self, postgres: Engine) -> None:
        """Nor is any given twice."""
        with postgres.connect() as slow, postgres.connect() as reading:
            reader = EventReader(reading)
            self.queue_job(slow, "slow")
            with postgres.begin() as quick:
                self.queue_job(quick, "quick")
            assert [each.job_name for each in reader.read(reading)] == ["quick"]
            slow.commit()
            reading.rollback()
            assert [each.job_name for each in reader.read(reading)] == ["slow"]
            reading.rollback()
            assert reader.read(reading) == []

    def test_an_event_under_way_at_the_beginning_is_not_missed(self, postgres: Engine) -> None:
        """Although later ones were there already."""
        with postgres.connect() as slow, postgres.connect() as reading:
            self.queue_job(slow, "slow")
            with postgres.begin() as quick:
                self.queue_job(quick, "quick")
            reader = EventReader(reading)
            slow.commit()
            reading.rollback()
            assert [each.job_name for each in reader.read(reading)] == ["slow"]

    def test_an_event_that_was_given_up_is_not_waited_for(
        self, postgres: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would be asked for at every look, for ever."""
        with postgres.connect() as slow, postgres.connect() as reading:
            reader = EventReader(reading)
            self.queue_job(slow, "slow")
            with postgres.begin() as quick:
                self.queue_job(quick, "quick")
            slow.rollback()
            reader.read(reading)
            assert len(reader._gaps) == 1
            monkeypatch.setattr("batchscribe.database.event_log.GAP_SECONDS", 0.0)
            reader.read(reading)
            assert reader._gaps == {}

    def test_many_writers_at_once_lose_and_double_nothing(self, postgres: Engine) -> None:
        """Some of them give up what they wrote."""
        seen: list[JobEvent] = []
        kept: list[str] = []
        is_over = threading.Event()

        def write(number: int) -> None:
            for index in range(40):
                name = f"{number}-{index}"
                with postgres.connect() as connection:
                    self.queue_job(connection, name)
                    time.sleep(0.002 * (index % 3))
                    if index % 5:
                        connection.commit()
                        kept.append(name)

        with postgres.connect() as connection:
            reader = EventReader(connection)

        def read() -> None:
            while not is_over.is_set():
                with postgres.connect() as connection:
                    seen.extend(reader.read(connection))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        reading = threading.Thread(target=read)
        for thread in (*threads, reading):
            thread.start()
        for thread in threads:
            thread.join()
        is_over.set()
        reading.join()
        with postgres.connect() as connection:
            seen.extend(reader.read(connection))
        assert sorted(each.job_name for each in seen) == sorted(kept)

    def test_who_waits_for_a_job_is_woken_by_a_late_event(self, postgres_url: str, tmp_path: Path) -> None:
        """The transaction that ends a job may end after those of later events."""
        with running_api(tmp_path / "data", database_url=postgres_url) as api:
            slow_job, other = api.submit(), api.submit()
            api.start(slow_job)
            answers: list[tuple[float, str]] = []

            def wait() -> None:
                status = api.get(f"/transcribe-job/{slow_job}?wait=20").json()["status"]
                answers.append((time.monotonic(), status))

            client = threading.Thread(target=wait)
            with api.database.connect() as slow:
                client.start()
                assert jobs.move_job(slow, slow_job, JobStatus.COMPLETED, at=NOW)
                time.sleep(0.3)
                api.start(other)
                time.sleep(10 * waiting.POLL_SECONDS)
                slow.commit()
                committed_at = time.monotonic()
            client.join()
        (answered_at, status) = answers[0]
        assert status == "COMPLETED"
        assert answered_at - committed_at < 12.0


def test_reading_the_event_log_costs_a_database_no_gaps_over_sqlite(database: Engine) -> None:
    """One writer at a time: no id is ever missing."""
    add: Callable[[Connection, str], None] = TestEventsOutOfOrder.queue_job
    with database.connect() as connection:
        reader = EventReader(connection)
    for number in range(5):
        with database.connect() as connection:
            add(connection, f"job-{number}")
            if number != 2:
                connection.commit()
    with database.connect() as connection:
        assert [each.job_name for each in reader.read(connection)] == ["job-0", "job-1", "job-3", "job-4"]
    assert reader._gaps == {}
