"""What the metrics say of the present, by queries whose cost does not depend on how many jobs have ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, select

from batchscribe.database import jobs as job_queries
from batchscribe.database import remote, workers
from batchscribe.database.schema import chunks, jobs
from batchscribe.domain.job import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much there is to do, and who does it."""

    #: Counted no further than the limit at which uploads are refused.
    queued_jobs: int
    #: Seconds since the job that waits longest was submitted; 0 where none waits.
    oldest_queued_seconds: float
    jobs_in_progress: int
    #: Chunks of the jobs in progress: those that wait for a worker, and those that an engine was given.
    waiting_chunks: int
    running_chunks: int
    workers: int
    #: Jobs at a remote engine, by stage.
    remote_jobs: dict[str, int]


def read_load(connection: Connection, *, most_queued: int, at: datetime) -> Load:
    """Return the present load. Its cost grows with the jobs that wait (up to ``most_queued``) and are in progress."""
    oldest = connection.execute(
        select(func.min(jobs.c.created_at)).where(jobs.c.status == JobStatus.QUEUED.value)
    ).scalar_one_or_none()
    is_in_progress = jobs.c.status == JobStatus.IN_PROGRESS.value
    is_open = and_(is_in_progress, chunks.c.recognised_at.is_(None))
    waiting, running = connection.execute(
        select(
            func.count().filter(chunks.c.attempts == 0),
            func.count().filter(chunks.c.attempts > 0),
        )
        .select_from(jobs)
        .join(chunks)
        .where(is_open)
    ).one()
    return Load(
        queued_jobs=job_queries.count_queued(connection, most_queued),
        oldest_queued_seconds=0.0 if oldest is None else max(0.0, (at - oldest).total_seconds()),
        jobs_in_progress=connection.execute(select(func.count()).select_from(jobs).where(is_in_progress)).scalar_one(),
        waiting_chunks=waiting,
        running_chunks=running,
        workers=workers.lively_count(connection),
        remote_jobs={stage.value: count for stage, count in remote.counts(connection).items()},
    )
