"""What those ask who follow jobs while they run: events of before, progress, the transcript as far as there is one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Engine as Database
from sqlalchemy import select

from batchscribe.database import chunks, jobs, transcripts
from batchscribe.database.connection import reading
from batchscribe.database.jobs import JobEvent
from batchscribe.database.schema import jobs as jobs_table
from batchscribe.domain.transcript import Segment, join_fragments
from batchscribe.finishing import finished, is_told_at_the_end


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is, in seconds of audio."""

    done_seconds: float
    #: None until the recording's length is known.
    audio_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialTranscript:
    """The beginning of a transcript: everything up to the first chunk that is not recognised yet."""

    segments: tuple[Segment, ...]
    #: The chunk to read on from; the whole is there when ``is_whole``.
    next_chunk: int
    is_whole: bool


class LiveReader:
    """Reads what has changed. Every method may be called from any thread; raises ServiceUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events_of_job(self, job_name: str, event_id: int) -> list[JobEvent]:
        """Return a job's events after this id, in order; also those of a job that was deleted."""
        with reading(self._database) as connection:
            return jobs.events_of_job(connection, job_name, event_id)

    def events_after(self, event_id: int) -> list[JobEvent]:
        """Return all events after this id, in order, one page of them."""
        with reading(self._database) as connection:
            return jobs.events_after(connection, event_id)

    def transcript_from(self, job_name: str, *, chunk: int, segment: int) -> PartialTranscript:
        """Return what there is of a transcript from a chunk on or, where it is whole already, from a segment on.

        Of a job whose words may be redacted or filtered, or of which it was asked who speaks, there is nothing until
        the whole is there.
        """
        with reading(self._database) as connection:
            whole = transcripts.find_transcript(connection, job_name)
            if whole is not None:
                return PartialTranscript(segments=whole.segments[segment:], next_chunk=chunk, is_whole=True)
            job = jobs.find_job(connection, job_name)
            if job is None or is_told_at_the_end(job.options):
                return PartialTranscript(segments=(), next_chunk=chunk, is_whole=False)
            found = chunks.fragments_from(connection, job_name, chunk)
        joined = join_fragments(found, language_code=job.options.language_code, duration=job.media_duration or 0.0)
        segments = finished(joined, job.options).segments
        return PartialTranscript(segments=segments, next_chunk=chunk + len(found), is_whole=False)

    def progress(self, job_names: Iterable[str]) -> dict[str, Progress]:
        """Return how far these jobs are."""
        names = list(job_names)
        columns = (jobs_table.c.name, jobs_table.c.done_duration, jobs_table.c.media_duration)
        found: dict[str, Progress] = {}
        with reading(self._database) as connection:
            for start in range(0, len(names), 500):
                query = select(*columns).where(jobs_table.c.name.in_(names[start : start + 500]))
                for row in connection.execute(query):
                    found[row.name] = Progress(done_seconds=row.done_duration, audio_seconds=row.media_duration)
        return found
