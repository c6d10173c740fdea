"""Queries for jobs that were given to a remote engine. Every function runs in its caller's transaction.

A row is in hand by a claim, which ends by itself: with its time, or with the worker that made it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    update,
)

from batchscribe.database.schema import jobs, remote_jobs, workers
from batchscribe.domain.job import JobStatus


class RemoteStage(Enum):
    """How far we are with a job at a remote engine."""

    #: The intent is stored; the recording is being copied to where the engine reads it.
    COPYING = "copying"
    #: To be started as soon as the quotas allow.
    WANTED = "wanted"
    #: A worker calls the engine, or died while it did: it is not known whether the job was started.
    STARTING = "starting"
    #: The engine works on it.
    STARTED = "started"
    #: The engine's work has been taken over into our own rows, or will never be.
    DONE = "done"
    #: Our job was cancelled or deleted: whatever the engine has of it is to be removed.
    DISCARDED = "discarded"


#: The stages in which a worker has something to do once a row is due.
WORKABLE = (RemoteStage.WANTED, RemoteStage.STARTING, RemoteStage.STARTED, RemoteStage.DISCARDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRow:
    """One job at a remote engine."""

    job_name: str
    remote_name: str
    stage: RemoteStage
    media_key: str
    media_uri: str
    attempts: int
    wanted_at: datetime
    started_at: datetime | None
    denied_since: datetime | None
    has_copy: bool
    media_duration: float | None


_COLUMNS = (
    remote_jobs.c.job_name,
    remote_jobs.c.remote_name,
    remote_jobs.c.stage,
    remote_jobs.c.media_key,
    remote_jobs.c.media_uri,
    remote_jobs.c.attempts,
    remote_jobs.c.wanted_at,
    remote_jobs.c.started_at,
    remote_jobs.c.denied_since,
    remote_jobs.c.has_copy,
    remote_jobs.c.media_duration,
)


def database_now(connection: Connection) -> datetime:
    """Return the database's own time, which all workers share; over SQLite there is one machine and one clock."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = connection.execute(select(literal_column("clock_timestamp()"))).scalar_one()
    return now.astimezone(UTC)


def add(connection: Connection, job_name: str, **values: Any) -> bool:  # noqa: ANN401 - columns' values
    """Store the intent to give a QUEUED job to a remote engine; False where that is done, or the job is not QUEUED."""
    wanted = {"job_name": job_name, "stage": RemoteStage.COPYING.value, **values}
    columns = [remote_jobs.c[name] for name in wanted]
    is_queued = select(jobs.c.name).where(jobs.c.name == job_name, jobs.c.status == JobStatus.QUEUED.value)
    is_there = select(remote_jobs.c.job_name).where(remote_jobs.c.job_name == job_name)
    row = select(*(literal(wanted[column.name], column.type) for column in columns))
    inserted = connection.execute(
        insert(remote_jobs)
        .from_select(columns, row.where(is_queued.exists(), ~is_there.exists()), include_defaults=False)
        .returning(remote_jobs.c.job_name)
    )
    return inserted.one_or_none() is not None


def find(connection: Connection, job_name: str) -> RemoteRow | None:
    """Return a job's row, or None."""
    row = connection.execute(select(*_COLUMNS).where(remote_jobs.c.job_name == job_name)).one_or_none()
    return None if row is None else _row(row)


def claim(
    connection: Connection, stages: Sequence[RemoteStage], *, by: str, at: datetime, seconds: float, most: int
) -> list[RemoteRow]:
    """Take rows of these stages in hand that are due and that nobody has, by priority and then by age.

    Those to be started are STARTING from here on: they count as running, for their start may succeed unseen.
    """
    if most <= 0:
        return []
    found = connection.execute(
        select(remote_jobs.c.job_name)
        .where(_is_in(stages), remote_jobs.c.due_at <= at, _is_free(at))
        .order_by(remote_jobs.c.priority_rank, remote_jobs.c.wanted_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    names = found.scalars().all()
    if not names:
        return []
    values: dict[str, Any] = {"claimed_by": by, "claimed_until": at + timedelta(seconds=seconds)}
    if RemoteStage.STARTING in stages:
        values |= {"stage": RemoteStage.STARTING.value, "attempts": remote_jobs.c.attempts + 1}
    claimed = connection.execute(
        update(remote_jobs)
        # Asked again: over SQLite a row may have moved on since it was found.
        .where(remote_jobs.c.job_name.in_(names), _is_in(stages))
        .values(values)
        .returning(*_COLUMNS)
    )
    return [_row(row) for row in claimed]


def release(connection: Connection, job_name: str, *, by: str, due_at: datetime | None = None) -> None:
    """Let go of a row, in whatever stage it is by now."""
    values: dict[str, Any] = {"claimed_by": None, "claimed_until": None}
    connection.execute(
        update(remote_jobs)
        .where(remote_jobs.c.job_name == job_name, remote_jobs.c.claimed_by == by)
        .values(values if due_at is None else values | {"due_at": due_at})
    )


def count_attempt(connection: Connection, job_name: str) -> None:
    """Count one more attempt at a job."""
    connection.execute(
        update(remote_jobs).where(remote_jobs.c.job_name == job_name).values(attempts=remote_jobs.c.attempts + 1)
    )


def note_denial(connection: Connection, job_name: str, *, since: datetime | None) -> None:
    """Remember since when the engine lets us in no more for this job; None where it does."""
    connection.execute(update(remote_jobs).where(remote_jobs.c.job_name == job_name).values(denied_since=since))


def release_all(connection: Connection, by: str) -> None:
    """Let go of everything that a worker of this name had in hand."""
    connection.execute(update(remote_jobs).where(remote_jobs.c.claimed_by == by).values(claimed_until=None))


def move(
    connection: Connection,
    job_name: str,
    before: RemoteStage,
    after: RemoteStage,
    *,
    by: str | None = None,
    **values: Any,  # noqa: ANN401 - columns' values
) -> bool:
    """Let go of a row, in another stage or the same; False where it is no longer ours or has moved on."""
    is_ours = [] if by is None else [remote_jobs.c.claimed_by == by]
    changed = connection.execute(
        update(remote_jobs)
        .where(remote_jobs.c.job_name == job_name, remote_jobs.c.stage == before.value, *is_ours)
        .values(stage=after.value, claimed_by=None, claimed_until=None, **values)
    )
    return changed.rowcount == 1


def note_started(connection: Connection, job_name: str, *, by: str, at: datetime, look_at: datetime) -> bool:
    """Note that a claimed row's job was started; False where the row is no longer ours or has moved on."""
    was_heard = remote_jobs.c.heard_at.is_not(None)
    return move(
        connection,
        job_name,
        RemoteStage.STARTING,
        RemoteStage.STARTED,
        by=by,
        started_at=at,
        denied_since=None,
        due_at=case(
            (was_heard, literal(at, remote_jobs.c.due_at.type)), else_=literal(look_at, remote_jobs.c.due_at.type)
        ),
    )


def running_count(connection: Connection) -> int:
    """Return how many jobs the engine works on, as far as we know, or is just asked to."""
    is_started = _is_in((RemoteStage.STARTING, RemoteStage.STARTED))
    is_left = and_(_is_in((RemoteStage.DISCARDED,)), remote_jobs.c.attempts > 0, remote_jobs.c.ended_at.is_(None))
    return connection.execute(select(func.count()).where(or_(is_started, is_left))).scalar_one()


def counts(connection: Connection) -> dict[RemoteStage, int]:
    """Return how many rows there are of each stage but DONE."""
    counted = (RemoteStage.COPYING, *WORKABLE)
    rows = connection.execute(
        select(remote_jobs.c.stage, func.count()).where(_is_in(counted)).group_by(remote_jobs.c.stage)
    )
    found: dict[str, int] = {stage: count for stage, count in rows}  # noqa: C416 - rows are no pairs to mypy
    return {stage: found.get(stage.value, 0) for stage in counted}


def due_stages(connection: Connection, *, at: datetime) -> set[RemoteStage]:
    """Return the stages of which a row is due and free: the cheap question before a claim."""
    questions = (
        select(remote_jobs.c.job_name)
        .where(_is_in((stage,)), remote_jobs.c.due_at <= at, _is_free(at))
        .exists()
        .label(stage.value)
        for stage in WORKABLE
    )
    answers = connection.execute(select(*questions)).one()
    return {stage for stage, is_due in zip(WORKABLE, answers, strict=True) if is_due}


def hasten(connection: Connection, remote_names: Collection[str], *, at: datetime) -> int:
    """Have started jobs looked at now; return how many of the names are such jobs."""
    changed = connection.execute(
        update(remote_jobs)
        .where(
            remote_jobs.c.remote_name.in_(remote_names),
            _is_in((RemoteStage.STARTING, RemoteStage.STARTED)),
        )
        # One that is just being started keeps its due time, by which its start would be tried again.
        .values(
            heard_at=at, due_at=case((remote_jobs.c.stage == RemoteStage.STARTED.value, at), else_=remote_jobs.c.due_at)
        )
    )
    return changed.rowcount


def started_before(connection: Connection, moment: datetime) -> set[str]:
    """Return the engine's names of the jobs that were started before a moment and are waited for."""
    rows = connection.execute(
        select(remote_jobs.c.remote_name).where(
            _is_in((RemoteStage.STARTED,)), remote_jobs.c.started_at < moment, remote_jobs.c.due_at > moment
        )
    )
    return set(rows.scalars())


def discard(connection: Connection, job_names: Sequence[str], *, at: datetime) -> None:
    """Have whatever the engine has of these jobs removed. A claim holds until its time: its call may be on its way."""
    connection.execute(
        update(remote_jobs)
        .where(remote_jobs.c.job_name.in_(job_names))
        .values(stage=RemoteStage.DISCARDED.value, due_at=at)
    )


def forget(connection: Connection, job_name: str) -> None:
    """Remove a discarded job's row: nothing is left of it."""
    connection.execute(
        delete(remote_jobs).where(
            remote_jobs.c.job_name == job_name, remote_jobs.c.stage == RemoteStage.DISCARDED.value
        )
    )


def _is_in(stages: Sequence[RemoteStage]) -> ColumnElement[bool]:
    return remote_jobs.c.stage.in_([stage.value for stage in stages])


def _is_free(at: datetime) -> ColumnElement[bool]:
    """Whether nobody has a row in hand: a claim ends with its time, and with its worker."""
    is_dead = remote_jobs.c.claimed_by.not_in(select(workers.c.executor_id))
    return or_(remote_jobs.c.claimed_until.is_(None), remote_jobs.c.claimed_until <= at, is_dead)


def _row(row: Row[*tuple[Any, ...]]) -> RemoteRow:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return RemoteRow(**{**values, "stage": RemoteStage(values["stage"])})
