"""Brings the jobs that a remote engine's account has already finished into our list."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection
from sqlalchemy import Engine as Database

from batchscribe.database import jobs, remote, remote_slots, transcripts
from batchscribe.domain.job import Failure, JobStatus, TranscriptionJob
from batchscribe.domain.media import MediaFormat, format_by_name
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.remote_ports import RemoteEngine, RemoteJob, RemoteStatus
from batchscribe.domain.transcript import Transcript
from batchscribe.errors import RecordingFailed
from batchscribe.finishing import finished_elsewhere
from batchscribe.workflow.remote_quota import room_for_a_call
from batchscribe.workflow.remote_terms import RemoteTerms, failure_of

logger = logging.getLogger(__name__)

#: Recordings of imported jobs are not in our store: their keys lead nowhere, and their addresses to where they are.
IMPORTED_PREFIX = "imported/"


@dataclass(frozen=True, kw_only=True)
class Importer:
    """Reads finished jobs and stores them as ours. Nothing of the engine's is changed, then or when ours is deleted."""

    database: Database
    engine: RemoteEngine
    terms: RemoteTerms

    def run(self, names: Iterable[str], *, most: int, on_job: Callable[[str, str], None]) -> int:
        """Import at most so many of these jobs that we do not know yet; return how many.

        ``on_job`` is told each name, and what became of it. Raises EngineUnavailable, SQLAlchemyError.
        """
        with self.database.begin() as connection:
            remote_slots.prepare(connection, self.terms.quotas, at=remote.database_now(connection))
        count = 0
        for name in names:
            if count >= most:
                break
            with self.database.connect() as connection:
                is_known = bool(jobs.statuses(connection, [name]))
            if is_known:
                on_job(name, "is there already")
                continue
            try:
                outcome = self._import(name)
            except RecordingFailed as error:
                on_job(name, f"left out: {error}")
                continue
            count += 1
            on_job(name, outcome)
        return count

    def _import(self, name: str) -> str:
        with room_for_a_call(self.database, self.terms, remote_slots.LOOK):
            seen = self.engine.look(name)
        transcript = finished_elsewhere(self.engine.fetch(seen)) if seen.status is RemoteStatus.COMPLETED else None
        with self.database.begin() as connection:
            self._store(connection, seen, transcript)
        return "imported" if transcript is not None else "imported as failed"

    def _store(self, connection: Connection, seen: RemoteJob, transcript: Transcript | None) -> None:
        now = datetime.now(UTC)
        created_at = seen.created_at or now
        job = TranscriptionJob(
            name=seen.remote_name,
            status=JobStatus.QUEUED,
            options=TranscriptionOptions(language_code=seen.language_code or ""),
            engine=self.engine.name,
            media_key=f"{IMPORTED_PREFIX}{seen.remote_name}",
            media_format=_format(seen),
            media_size_bytes=0,
            media_url=seen.media_uri,
            upload_seconds=0.0,
            created_at=created_at,
        )
        jobs.add_job(connection, job)
        jobs.move_job(connection, job.name, JobStatus.IN_PROGRESS, at=seen.started_at or created_at)
        ended_at = seen.completed_at or now
        if transcript is None:
            error = failure_of(seen)
            failure = Failure(code=error.code, reason=str(error))
            jobs.move_job(connection, job.name, JobStatus.FAILED, at=ended_at, failure=failure)
            return
        cost = self.terms.cost(transcript.duration)
        jobs.describe_media(
            connection,
            job.name,
            media_sample_rate_hertz=seen.media_sample_rate_hertz,
            media_duration=transcript.duration,
            billed_seconds=cost.billed_seconds,
            estimated_cost_usd=cost.estimated_usd,
        )
        jobs.move_job(connection, job.name, JobStatus.COMPLETED, at=ended_at)
        transcripts.save_transcript(connection, job.name, transcript)


def _format(seen: RemoteJob) -> MediaFormat:
    """Return a recording's format, by the engine's word or the address; the engine knows no others than ours."""
    found = format_by_name(f"recording.{seen.media_format}") or format_by_name(seen.media_uri)
    return found or MediaFormat.WAV
