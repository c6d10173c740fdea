"""Queries for jobs and their events. Every function runs in its caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, tuple_, update

from batchscribe.database import keys, remote, webhooks
from batchscribe.database.page_tokens import make_token, read_token
from batchscribe.database.schema import chunks, events, job_words, jobs, transcripts
from batchscribe.database.webhooks import Receivers
from batchscribe.domain.identification import languages_from_json
from batchscribe.domain.job import DELETED_EVENT, TRANSITIONS, Cost, Failure, JobPage, JobStatus, TranscriptionJob
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.options import asked_options, options_from_json
from batchscribe.domain.submission import Priority
from batchscribe.domain.webhooks import PayloadFormat, Subscription
from batchscribe.wire import listed_to_json

_NOT_IN_A_JOB = {"chunk_count", "delete_at", "delete_media_at"}
_JOB_COLUMNS = tuple(column for column in jobs.columns if column.name not in _NOT_IN_A_JOB)

# Built once: a status poll is the most frequent of all questions, and building costs more than asking.
_FIND = select(*_JOB_COLUMNS).where(jobs.c.name == bindparam("job_name"))
_FIND_WITH_TEXT = (
    select(*_JOB_COLUMNS, transcripts.c.text)
    .outerjoin_from(jobs, transcripts)
    .where(jobs.c.name == bindparam("job_name"))
)


EVENT_COLUMNS = (events.c.id, events.c.job_name, events.c.type, events.c.data, events.c.owner, events.c.created_at)
#: The most events that are read at once.
EVENT_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One thing that happened to a job. Ids grow, but one may be seen after a higher one: see ``event_log.py``.

    ``data`` holds ``waiting_seconds`` of ``job.started``, ``audio_seconds`` and ``processing_seconds`` of
    ``job.completed``, ``code`` of ``job.failed``. ``chunk.recognised`` says that there is more of the transcript.
    """

    id: int
    job_name: str
    type: str
    at: datetime
    owner: str
    data: Mapping[str, Any] = field(default_factory=dict)


def add_job(connection: Connection, job: TranscriptionJob) -> None:
    """Insert a QUEUED job and its event."""
    connection.execute(
        insert(jobs).values(
            name=job.name,
            status=job.status.value,
            options=asked_options(job.options),
            media_key=job.media_key,
            media_format=job.media_format.value,
            media_size_bytes=job.media_size_bytes,
            media_url=job.media_url,
            upload_seconds=job.upload_seconds,
            created_at=job.created_at,
            priority=job.priority.value,
            engine=job.engine,
            chunk_seconds=job.chunk_seconds,
            delete_after_seconds=job.delete_after_seconds,
            delete_media_after_seconds=job.delete_media_after_seconds,
            owner=job.owner,
            webhook=None if job.webhook is None else {**asdict(job.webhook), "payload": job.webhook.payload.value},
        )
    )
    _add_event(connection, job, TRANSITIONS[None, job.status], job.created_at)


def find_job(connection: Connection, job_name: str, *, with_text: bool = False) -> TranscriptionJob | None:
    """Return the job, or None. ``with_text`` reads the transcript's running text too, where there is one."""
    row = connection.execute(_FIND_WITH_TEXT if with_text else _FIND, {"job_name": job_name}).one_or_none()
    return None if row is None else _job(row, row.text if with_text else None)


def list_jobs(
    connection: Connection,
    *,
    status: JobStatus | None,
    max_results: int,
    next_token: str | None,
    owner: str | None = None,
) -> JobPage:
    """Return one page, latest first. The cost does not depend on how many jobs there are or how deep the page lies."""
    query = select(*_JOB_COLUMNS).order_by(jobs.c.created_at.desc(), jobs.c.name.desc()).limit(max_results + 1)
    if status is not None:
        query = query.where(jobs.c.status == status.value)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    if next_token is not None:
        created_at, name = read_token(next_token)
        query = query.where(tuple_(jobs.c.created_at, jobs.c.name) < tuple_(created_at, name))
    found = tuple(_job(row, None) for row in connection.execute(query))
    page = found[:max_results]
    return JobPage(
        jobs=page, next_token=make_token((page[-1].created_at, page[-1].name)) if len(found) > max_results else None
    )


def move_job(
    connection: Connection, job_name: str, to: JobStatus, *, at: datetime, failure: Failure | None = None
) -> bool:
    """Make one transition and write its event; return False where the job is gone or may not go there.

    This is the only place that changes a status, so a job that has ended can never change again.
    """
    for before, after in TRANSITIONS:
        if after is not to or before is None:
            continue
        values: dict[str, Any] = {"status": to.value}
        if to is JobStatus.IN_PROGRESS:
            values["started_at"] = at
        if to is JobStatus.COMPLETED:
            values["completed_at"] = at
        if failure is not None:
            values |= {"failure_code": failure.code, "failure_reason": failure.reason}
        changed = connection.execute(
            update(jobs)
            .where(jobs.c.name == job_name, jobs.c.status == before.value)
            .values(values)
            .returning(*_JOB_COLUMNS)
        ).one_or_none()
        if changed is not None:
            job = _job(changed, None)
            if to.is_final:
                _set_deletion(connection, job, at)
            if to is JobStatus.COMPLETED and job.owner:
                keys.note_use(connection, job.owner, job.media_duration or 0.0, at=at)
            _add_event(connection, job, TRANSITIONS[before, after], at)
            return True
    return False


def cancel_job(connection: Connection, job_name: str, *, at: datetime, failure: Failure) -> bool:
    """End a job FAILED, and have removed what a remote engine has of it; return False where it has ended already."""
    is_cancelled = move_job(connection, job_name, JobStatus.FAILED, at=at, failure=failure)
    if is_cancelled:
        remote.discard(connection, [job_name], at=at)
    return is_cancelled


def describe_media(connection: Connection, job_name: str, **values: Any) -> None:  # noqa: ANN401 - columns' values
    """Store what was found of the recording: columns of the job's row, such as ``media_duration`` and ``warnings``.

    A job that has ended meanwhile stays as it is, and so does one that has been cut to its end: the header's duration,
    coming late from a worker that was frozen, is no match for the measured one.
    """
    query = update(jobs).where(jobs.c.name == job_name, jobs.c.status == JobStatus.IN_PROGRESS.value)
    connection.execute(query.where(jobs.c.chunk_count.is_(None)).values(values))


def delete_job(connection: Connection, job_name: str, *, at: datetime) -> bool:
    """Remove a job with everything that hangs on it; return whether it was there."""
    return bool(delete_jobs(connection, [job_name], at=at))


def delete_jobs(connection: Connection, job_names: Sequence[str], *, at: datetime) -> int:
    """Remove jobs with everything that hangs on them; return how many were there."""
    remote.discard(connection, job_names, at=at)
    # Named one by one because the durable engine's own connections may not enforce foreign keys.
    for table in (chunks, transcripts, job_words):
        connection.execute(delete(table).where(table.c.job_name.in_(job_names)))
    deleted = connection.execute(delete(jobs).where(jobs.c.name.in_(job_names)).returning(*_JOB_COLUMNS)).all()
    if not deleted:
        return 0
    gone = [_job(row, None) for row in deleted]
    told = {"type": DELETED_EVENT, "data": None, "created_at": at}
    connection.execute(insert(events), [{"job_name": job.name, "owner": job.owner, **told} for job in gone])
    receivers = {owner: webhooks.find_receivers(connection, owner) for owner in {job.owner for job in gone}}
    for job in gone:
        _tell(connection, job, DELETED_EVENT, at, receivers[job.owner])
    return len(deleted)


def count_queued(connection: Connection, most: int) -> int:
    """Return how many jobs wait, counting no further than ``most``."""
    some = select(jobs.c.name).where(jobs.c.status == JobStatus.QUEUED.value).limit(most).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def statuses(connection: Connection, job_names: list[str]) -> dict[str, JobStatus]:
    """Return the status of each of these jobs that still exists."""
    rows = connection.execute(select(jobs.c.name, jobs.c.status).where(jobs.c.name.in_(job_names)))
    return {row.name: JobStatus(row.status) for row in rows}


def latest_event_id(connection: Connection) -> int:
    """Return the id of the last event, or 0."""
    return connection.execute(select(func.max(events.c.id))).scalar_one_or_none() or 0


def events_after(connection: Connection, event_id: int) -> list[JobEvent]:
    """Return the events after this id, in order, at most :data:`EVENT_PAGE`."""
    query = select(*EVENT_COLUMNS).where(events.c.id > event_id)
    return [read_event(row) for row in connection.execute(query.order_by(events.c.id).limit(EVENT_PAGE))]


def events_of_job(connection: Connection, job_name: str, event_id: int) -> list[JobEvent]:
    """Return a job's events after this id, in order; also those of a job that is gone."""
    query = select(*EVENT_COLUMNS).where(events.c.job_name == job_name, events.c.id > event_id)
    return [read_event(row) for row in connection.execute(query.order_by(events.c.id))]


def read_event(row: Row[*tuple[Any, ...]]) -> JobEvent:
    """Return the event that a row of :data:`EVENT_COLUMNS` holds."""
    return JobEvent(
        id=row.id, job_name=row.job_name, type=row.type, at=row.created_at, owner=row.owner, data=row.data or {}
    )


def _add_event(connection: Connection, job: TranscriptionJob, event_type: str, at: datetime) -> None:
    """Write an event, and who is to be told of it. ``job`` is as the transition has left it."""
    values = {"job_name": job.name, "type": event_type, "data": _facts(job, at), "owner": job.owner, "created_at": at}
    connection.execute(insert(events).values(values))
    _tell(connection, job, event_type, at)


def _tell(
    connection: Connection, job: TranscriptionJob, event_type: str, at: datetime, receivers: Receivers | None = None
) -> None:
    """Write down who is to be told of an event, and of what."""
    data = listed_to_json(job)
    if job.media_duration is not None:
        data["media_duration_seconds"] = round(job.media_duration, 2)
    if job.failure is not None:
        data["failure_code"] = job.failure.code
    webhooks.schedule(connection, event_type, data, owner=job.owner, webhook=job.webhook, at=at, receivers=receivers)


def _facts(job: TranscriptionJob, at: datetime) -> dict[str, Any] | None:
    """Return what an event says beside its type: the job as it is after the transition, and the transition's time."""
    if job.failure is not None:
        return {"code": job.failure.code}
    if job.status is JobStatus.COMPLETED and job.started_at is not None:
        processing_seconds = (at - job.started_at).total_seconds()
        facts = {"audio_seconds": job.media_duration or 0.0, "processing_seconds": processing_seconds}
        if job.cost is not None:
            facts |= {"billed_seconds": job.cost.billed_seconds, "estimated_cost_usd": job.cost.estimated_usd}
        return facts
    if job.status is JobStatus.IN_PROGRESS:
        return {"waiting_seconds": (at - job.created_at).total_seconds()}
    return None


def _set_deletion(connection: Connection, job: TranscriptionJob, ended_at: datetime) -> None:
    """Set when a job that has just ended is to be deleted, and its recording."""
    terms = {"delete_at": job.delete_after_seconds, "delete_media_at": job.delete_media_after_seconds}
    times = {column: ended_at + timedelta(seconds=after) for column, after in terms.items() if after is not None}
    if times:
        connection.execute(update(jobs).where(jobs.c.name == job.name).values(times))


def _job(row: Row[*tuple[Any, ...]], text: str | None) -> TranscriptionJob:
    return TranscriptionJob(
        name=row.name,
        status=JobStatus(row.status),
        options=options_from_json(row.options),
        media_key=row.media_key,
        media_format=MediaFormat(row.media_format),
        media_size_bytes=row.media_size_bytes,
        media_url=row.media_url,
        upload_seconds=row.upload_seconds,
        created_at=row.created_at,
        priority=Priority(row.priority),
        engine=row.engine,
        chunk_seconds=row.chunk_seconds,
        delete_after_seconds=row.delete_after_seconds,
        delete_media_after_seconds=row.delete_media_after_seconds,
        started_at=row.started_at,
        completed_at=row.completed_at,
        media_sample_rate_hertz=row.media_sample_rate_hertz,
        media_duration=row.media_duration,
        done_duration=row.done_duration,
        failure=None if row.failure_code is None else Failure(code=row.failure_code, reason=row.failure_reason),
        text=text,
        warnings=tuple(row.warnings or ()),
        cost=None
        if row.billed_seconds is None
        else Cost(billed_seconds=row.billed_seconds, estimated_usd=row.estimated_cost_usd),
        owner=row.owner,
        languages=None if row.languages is None else languages_from_json(row.languages),
        webhook=None if row.webhook is None else _subscription(row.webhook),
    )


def _subscription(data: Mapping[str, Any]) -> Subscription:
    return Subscription(url=data["url"], events=tuple(data["events"]), payload=PayloadFormat(data["payload"]))
