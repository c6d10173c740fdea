"""Dead workers are found and their work is handed on, over real PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from batchscribe import app, settings
from batchscribe.database import jobs, workers
from batchscribe.database.connection import connect
from batchscribe.domain.job import JobStatus
from batchscribe.service import TranscriptionService
from batchscribe.settings import Settings
from batchscribe.workflow.liveness import PATIENCE_SECONDS, Heartbeat
from batchscribe.workflow.takeover import Takeover
from conftest import Clip

pytestmark = pytest.mark.xdist_group("postgres")


@pytest.fixture
def shared_settings(postgres_url: str, tmp_path: Path) -> Settings:
    """Return settings of a deployment whose workers share a database and a folder."""
    chosen = settings.load(
        database_url=postgres_url, data_dir=tmp_path, engine="scripted", scripted_real_time_factor=1.0
    )
    app.upgrade_database(chosen)
    return chosen


@pytest.fixture
def database(shared_settings: Settings) -> Iterator[Engine]:
    """Return the shared database."""
    engine = connect(shared_settings.effective_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def start_worker(shared_settings: Settings) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Return a function that starts one more worker process; all are ended with the test."""
    started: list[subprocess.Popen[bytes]] = []
    environment = os.environ | settings.to_environment(shared_settings)

    def start() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-m", "batchscribe", "worker"], env=environment))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()
        worker.wait()


def submit(service: TranscriptionService, clip: Clip) -> str:
    """Submit a clip and return its job's name."""
    content = clip.path.read_bytes()
    submission = service.check_submission(file_name=clip.path.name, head=content[:64], fields={})
    upload = service.begin_upload()
    upload.write(content)
    return service.submit(
        upload, file_name=clip.path.name, head=content[:64], submission=submission, upload_seconds=0.1
    ).name


def wait_until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait until something is so and return how long that took; fail where it takes too long."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - started


def count_workers(database: Engine) -> int:
    """Return how many workers are registered."""
    with database.connect() as connection:
        return len(workers.beats(connection))


def holder_of(database: Engine, job_name: str) -> str | None:
    """Return the worker that has a job in hand."""
    query = text("SELECT executor_id FROM dbos.workflow_status WHERE workflow_uuid = :name AND status = 'PENDING'")
    with database.connect() as connection:
        return connection.execute(query, {"name": job_name}).scalar_one_or_none()


@pytest.mark.parametrize(
    ("end", "most_seconds"),
    [
        pytest.param(signal.SIGKILL, 20.0, id="killed"),
        pytest.param(signal.SIGSTOP, PATIENCE_SECONDS + 30.0, id="frozen"),
    ],
)
def test_the_work_of_a_worker_that_ends_is_taken_over_and_finished(
    shared_settings: Settings,
    database: Engine,
    start_worker: Callable[[], subprocess.Popen[bytes]],
    clips: list[Clip],
    end: signal.Signals,
    most_seconds: float,
) -> None:
    """A killed worker loses its work within seconds, a frozen one when its patience is over; nothing is lost."""
    service = app.build_service(shared_settings, database)
    # Alone at first, it is the janitor too: nobody else may have to look after the dead.
    first = start_worker()
    wait_until(lambda: count_workers(database) == 1, 60)
    name = submit(service, max(clips, key=lambda each: each.seconds))
    wait_until(lambda: service.get(name).status is JobStatus.IN_PROGRESS, 60)
    holder = holder_of(database, name)
    assert holder is not None
    start_worker()
    wait_until(lambda: count_workers(database) == 2, 60)
    first.send_signal(end)

    taken_over = wait_until(lambda: holder_of(database, name) not in {None, holder}, most_seconds)

    assert taken_over < most_seconds
    first.send_signal(signal.SIGCONT)
    wait_until(lambda: service.get(name).status is JobStatus.COMPLETED, 120)
    with database.connect() as connection:
        events = [event for event in jobs.events_after(connection, 0) if event.job_name == name]
        types = [event.type for event in events if event.type.startswith("job.")]
    assert types == ["job.queued", "job.started", "job.completed"]


def test_a_worker_that_stops_hands_its_work_on_at_once(
    shared_settings: Settings,
    database: Engine,
    start_worker: Callable[[], subprocess.Popen[bytes]],
    clips: list[Clip],
) -> None:
    """SIGTERM ends a worker, and another has its job soon after."""
    service = app.build_service(shared_settings, database)
    first = start_worker()
    wait_until(lambda: count_workers(database) == 1, 60)
    name = submit(service, max(clips, key=lambda each: each.seconds))
    wait_until(lambda: holder_of(database, name) is not None, 60)
    holder = holder_of(database, name)
    start_worker()
    wait_until(lambda: count_workers(database) == 2, 60)

    first.terminate()

    assert first.wait(30) == 0
    wait_until(lambda: holder_of(database, name) not in {None, holder}, 20)


def test_a_living_worker_is_never_found_dead(database: Engine) -> None:
    """The janitor leaves alone who holds a lock and moves its count on."""
    lively, janitor = Takeover(database, "lively"), Takeover(database, "janitor")
    with ExitStack() as stack, database.connect() as connection:
        lively.start()
        stack.callback(lively.stop)
        Heartbeat(database, "lively").beat()
        assert janitor.find_dead(connection, now=0.0) == []
        Heartbeat(database, "lively").beat()
        connection.rollback()
        assert janitor.find_dead(connection, now=PATIENCE_SECONDS * 2) == []
        assert janitor.find_dead(connection, now=PATIENCE_SECONDS * 4) == ["lively"]
