"""The invariant checker: what must be true of a deployment after any fault, looked at from outside and inside."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import psutil
from sqlalchemy import Connection, select, text
from sqlalchemy import Engine as Database

from batchscribe.database import workers
from batchscribe.database.connection import connect, is_sqlite
from batchscribe.database.schema import chunks, events, jobs, transcripts
from batchscribe.domain.job import JobStatus
from batchscribe.domain.ports import MediaStore
from batchscribe.errors import MediaMissing
from batchscribe.parts import build_store
from batchscribe.workflow.dispatch import Dispatcher
from batchscribe.workflow.housekeeping import ORPHAN_AGE, Housekeeper
from faults.deployment import FINAL, Deployment, ServerProcess, listed, wait_until

#: What a process may have open when it has nothing to do, beside SQLite's files: up to 40 connections are kept.
MOST_DESCRIPTORS = 80
MOST_ENDED_CHILDREN = 2
TERMINAL_EVENTS = {"job.completed", "job.failed"}


@dataclass
class Expected:
    """What the test knows and the checker cannot."""

    #: Every job that a client was told of by a 201.
    accepted: Collection[str]
    #: Jobs that a client has deleted.
    deleted: Collection[str] = ()
    #: Jobs that must have COMPLETED, FAILED with a code, or either (None); by default COMPLETED.
    codes: Mapping[str, str | None] = field(default_factory=dict)
    #: How many submissions may have been cut off before their answer: each may have left a job or an orphan.
    interrupted: int = 0
    #: Jobs whose recordings were taken away from below the server.
    robbed: Collection[str] = ()
    #: How long the jobs may take to end.
    seconds: float = 60.0


def check(deployment: Deployment, expected: Expected) -> None:
    """Wait until every job has ended and fail with every broken promise, in sentences; then end the deployment."""
    apis = [process for process in deployment.living() if process.kind == "api"]
    assert apis, "the checker asks a living api"
    with opened(deployment) as (database, store):
        wait_until(lambda: is_idle(database), expected.seconds, f"all work to end: {unfinished(database)}")
        broken = [sentence for api in apis for sentence in _broken_list(api.base_url, expected)]
        with database.connect() as connection:
            broken += [*_broken_rows(connection, expected), *_broken_ends(connection, expected)]
            broken += _broken_workers(connection)
            broken += _broken_media(connection, store, expected)
            if is_sqlite(database):
                broken += _broken_file(connection)
        for process in deployment.living():
            broken += _broken_descriptors(process, deployment.data_dir)
        broken += _broken_cleaning(deployment, database, store)
        broken += _said_tracebacks(deployment)
    left = deployment.end()
    broken += [f"{process} outlived its parent" for process in left]
    assert not broken, "\n".join(broken)


@contextmanager
def opened(deployment: Deployment) -> Iterator[tuple[Database, MediaStore]]:
    """Open a deployment's database and store, as its own processes do."""
    settings = deployment.loaded_settings()
    database = connect(settings.effective_database_url, pool_size=2)
    try:
        yield database, build_store(settings)
    finally:
        database.dispose()


def is_idle(database: Database) -> bool:
    """Whether every job has ended and the durable engine has nothing left to do."""
    return not unfinished(database)


def unfinished(database: Database) -> list[str]:
    """Return what is still to be done: jobs and workflows with their statuses."""
    with database.connect() as connection:
        query = select(jobs.c.name, jobs.c.status).where(jobs.c.status.not_in(FINAL))
        found = [f"{name} {status}" for name, status in connection.execute(query)]
        query_text = f"SELECT workflow_uuid, status, executor_id FROM {workflow_table(database)}"  # noqa: S608 - ours
        rows = connection.execute(text(f"{query_text} WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED')"))
        return found + [f"workflow {name} {status} of {holder}" for name, status, holder in rows]


def workflow_table(database: Database) -> str:
    """Return the name of the durable engine's table of workflows."""
    return "workflow_status" if is_sqlite(database) else "dbos.workflow_status"


def _broken_list(base_url: str, expected: Expected) -> Iterator[str]:
    """Every 201 is listed and has ended; what was deleted is not."""
    there = listed(base_url)
    for name in set(expected.accepted) - set(expected.deleted):
        if there.get(name) not in FINAL:
            yield f"{name} was accepted and is listed as {there.get(name)}"
    for name in there.keys() & set(expected.deleted):
        yield f"{name} was deleted and is listed"
    unknown = there.keys() - set(expected.accepted)
    if len(unknown) > expected.interrupted:
        yield f"{len(unknown)} jobs that nobody was told of, from {expected.interrupted} submissions cut off"


def _broken_rows(connection: Connection, expected: Expected) -> Iterator[str]:
    """One terminal event a job; a transcript exactly for COMPLETED; every chunk of it recognised; no job half there."""
    kinds: dict[str, list[str]] = {}
    of_jobs = select(events.c.job_name, events.c.type).where(events.c.type.like("job.%"))
    for name, kind in connection.execute(of_jobs.order_by(events.c.id)):
        kinds.setdefault(name, []).append(kind)
    statuses = {row.name: row.status for row in connection.execute(select(jobs.c.name, jobs.c.status))}
    spoken = set(connection.execute(select(transcripts.c.job_name)).scalars())
    unrecognised = Counter(
        connection.execute(select(chunks.c.job_name).where(chunks.c.recognised_at.is_(None))).scalars()
    )
    for name, status in statuses.items():
        before_end = [kind for kind in kinds.get(name, []) if kind not in TERMINAL_EVENTS]
        ends = [kind for kind in kinds.get(name, []) if kind in TERMINAL_EVENTS]
        if before_end not in (["job.queued", "job.started"], ["job.queued"]) or kinds[name][-1:] != ends:
            yield f"{name} has the events {kinds.get(name)}"
        if ends != [f"job.{status.lower()}"]:
            yield f"{name} is {status} and has the terminal events {ends}"
        if (status == JobStatus.COMPLETED.value) != (name in spoken):
            yield f"{name} is {status}; that it has a transcript is {name in spoken}"
        if status == JobStatus.COMPLETED.value and unrecognised[name]:
            yield f"{name} is COMPLETED with {unrecognised[name]} chunks not recognised"
    for name in expected.deleted:
        if kinds.get(name, [])[-1:] != ["job.deleted"] or kinds[name].count("job.deleted") != 1:
            yield f"{name} was deleted and has the events {kinds.get(name)}"
    rows_of_jobs = set(connection.execute(select(chunks.c.job_name)).scalars()) | spoken
    yield from (f"{name} is gone and has rows" for name in rows_of_jobs - statuses.keys())


def _broken_ends(connection: Connection, expected: Expected) -> Iterator[str]:
    """Every accepted job ended as the test expects."""
    columns = (jobs.c.name, jobs.c.status, jobs.c.failure_code)
    for name, status, code in connection.execute(select(*columns)):
        wanted = expected.codes.get(name, "COMPLETED")
        if wanted is not None and wanted != (code or status):
            yield f"{name} ended {status} {code}, not {wanted}"


def _broken_workers(connection: Connection) -> Iterator[str]:
    """No job is held by a worker that is not there. Asked where all has ended, so no holder at all is right."""
    registered = workers.beats(connection)
    table = workflow_table(connection.engine)
    query = f"SELECT DISTINCT executor_id FROM {table} WHERE status = 'PENDING'"  # noqa: S608 - our own words
    for holder in connection.execute(text(query)).scalars():
        if holder not in registered:
            yield f"work is held by {holder}, who is not there"


def _broken_media(connection: Connection, store: MediaStore, expected: Expected) -> Iterator[str]:
    """Media exists exactly where it is retained; what an interrupted submission left is the only exception."""
    is_kept = jobs.c.delete_media_after_seconds.is_(None) | jobs.c.delete_media_at.is_not(None)
    for name, key in connection.execute(select(jobs.c.name, jobs.c.media_key).where(is_kept)):
        if name not in expected.robbed and not _has(store, key):
            yield f"the recording of {name} is missing"
    names = set(connection.execute(select(jobs.c.name)).scalars())
    orphans = [key for key in store.keys_older_than("audio/batch/", -3600) if PurePosixPath(key).stem not in names]
    if len(orphans) > expected.interrupted:
        yield f"{len(orphans)} recordings without a job, from {expected.interrupted} submissions cut off"
    for name in expected.deleted:
        yield from (f"{name} was deleted and left {key}" for key in orphans if PurePosixPath(key).stem == name)


def _has(store: MediaStore, key: str) -> bool:
    with suppress(MediaMissing):
        return store.size(key) >= 0
    return False


def _broken_file(connection: Connection) -> Iterator[str]:
    """Say where the SQLite file is not whole."""
    for pragma, right in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
        found = [tuple(row) for row in connection.execute(text(f"PRAGMA {pragma}"))]
        if found != right:
            yield f"{pragma} says {found[:5]}"


def _broken_descriptors(process: ServerProcess, data_dir: Path) -> Iterator[str]:
    """Nothing of the media store is held open by a process that has nothing to do, and not much else."""
    media, names = str(data_dir / "media"), list[str]()
    for _ in range(20):
        names = []
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                names.append(str(link.readlink()))
        if not any(name.startswith(media) for name in names):
            break
        time.sleep(0.1)
    held = [name for name in names if name.startswith(media)]
    if held:
        yield f"{process.kind} holds {held[:5]}"
    others = [name for name in names if not name.startswith(str(data_dir / "batchscribe.sqlite"))]
    if len(others) > MOST_DESCRIPTORS:
        yield f"{process.kind} has {len(others)} descriptors: {Counter(others).most_common(5)}"
    children = [each for each in process.descendants() if each.status() == psutil.STATUS_ZOMBIE]
    # The end of a child that had nothing to do is noticed with the next work.
    if len(children) > MOST_ENDED_CHILDREN:
        yield f"{process.kind} has not waited for {children}"


def _broken_cleaning(deployment: Deployment, database: Database, store: MediaStore) -> Iterator[str]:
    """Say what housekeeping leaves of what faults left; the folder store's files are made old for that."""
    media = deployment.data_dir / "media"
    if deployment.loaded_settings().storage_url.startswith("s3"):
        return
    with database.connect() as connection:
        names = set(connection.execute(select(jobs.c.name)).scalars())
    long_ago = time.time() - ORPHAN_AGE.total_seconds() - 3600
    for path in _files(media):
        if path.stem not in names:
            os.utime(path, (long_ago, long_ago))
    dispatcher = Dispatcher(database)
    Housekeeper(database, store, dispatcher).tidy()
    dispatcher.close()
    for path in _files(media):
        if path.relative_to(media).parts[0] in {"uploads", "work"} or path.stem not in names:
            yield f"{path.relative_to(media)} is not cleared away"


def _files(folder: Path) -> Iterable[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _said_tracebacks(deployment: Deployment) -> Iterator[str]:
    """No process met an error that nobody foresaw."""
    for process in deployment.processes:
        said = process.log.read_text(errors="replace") if process.log.exists() else ""
        if (
            "work on a job failed\n" in said
            or "Exception in ASGI application" in said
            or "Exception in callback" in said
        ):
            yield f"{process.log} has an error that nobody foresaw"
