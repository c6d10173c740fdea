"""A job as a row of its table, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row

from batchscribe.database.schema import jobs
from batchscribe.domain.identification import languages_from_json
from batchscribe.domain.job import Cost, Failure, JobStatus, TranscriptionJob
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.options import asked_options, options_from_json
from batchscribe.domain.submission import Priority
from batchscribe.domain.webhooks import PayloadFormat, Subscription

_NOT_IN_A_JOB = {"chunk_count", "delete_at", "delete_media_at"}
JOB_COLUMNS = tuple(column for column in jobs.columns if column.name not in _NOT_IN_A_JOB)


def row_of(job: TranscriptionJob) -> dict[str, Any]:
    """Return the columns of a job that was just accepted."""
    return {
        "name": job.name,
        "status": job.status.value,
        "options": asked_options(job.options),
        "media_key": job.media_key,
        "media_format": job.media_format.value,
        "media_size_bytes": job.media_size_bytes,
        "media_url": job.media_url,
        "upload_seconds": job.upload_seconds,
        "created_at": job.created_at,
        "priority": job.priority.value,
        "engine": job.engine,
        "chunk_seconds": job.chunk_seconds,
        "delete_after_seconds": job.delete_after_seconds,
        "delete_media_after_seconds": job.delete_media_after_seconds,
        "owner": job.owner,
        "webhook": None if job.webhook is None else {**asdict(job.webhook), "payload": job.webhook.payload.value},
        "is_fetching": job.is_fetching,
    }


def job_from(row: Row[*tuple[Any, ...]], text: str | None) -> TranscriptionJob:
    """Return the job that a row of :data:`JOB_COLUMNS` holds."""
    failure = None
    if row.failure_code is not None:
        failure = Failure(code=row.failure_code, reason=row.failure_reason)
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
        failure=failure,
        text=text,
        warnings=tuple(row.warnings or ()),
        cost=None
        if row.billed_seconds is None
        else Cost(billed_seconds=row.billed_seconds, estimated_usd=row.estimated_cost_usd),
        owner=row.owner,
        languages=None if row.languages is None else languages_from_json(row.languages),
        webhook=None if row.webhook is None else _subscription(row.webhook),
        is_fetching=row.is_fetching,
        declared_bytes=row.declared_bytes,
    )


def _subscription(data: Mapping[str, Any]) -> Subscription:
    return Subscription(
        url=data["url"],
        events=tuple(data["events"]),
        payload=PayloadFormat(data["payload"]),
        origin=data.get("origin", ""),
    )
