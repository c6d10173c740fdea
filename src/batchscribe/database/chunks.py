"""Queries for chunks: the plan, the progress, the fragments. Every function runs in its caller's transaction."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Select, func, insert, literal, or_, select, update

from batchscribe.database.schema import chunks, events, jobs
from batchscribe.domain.job import JobStatus
from batchscribe.domain.transcript import Fragment, Segment
from batchscribe.domain.voices import VoiceWindow, voice_window_from_json, voice_window_to_json
from batchscribe.wire import segment_from_json, segment_to_json

#: The event that says that a chunk was recognised.
CHUNK_EVENT = "chunk.recognised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One stretch of a recording: a task of its own."""

    job_name: str
    index: int
    #: Seconds from the recording's start.
    start: float
    duration: float
    audio_key: str
    is_recognised: bool
    #: How many channels the audio holds, one after the other.
    channels: int = 1


def add_chunk(connection: Connection, chunk: Chunk) -> bool:
    """Insert a planned chunk, which must not be there yet; return False where its job has ended or is gone."""
    values = {
        chunks.c.job_name: chunk.job_name,
        chunks.c.index: chunk.index,
        chunks.c.start: chunk.start,
        chunks.c.duration: chunk.duration,
        chunks.c.audio_key: chunk.audio_key,
        chunks.c.channels: chunk.channels,
    }
    planned = select(*(literal(value, column.type) for column, value in values.items()))
    inserted = connection.execute(
        insert(chunks)
        .from_select(list(values), planned.where(_is_running(chunk.job_name).exists()))
        .returning(chunks.c.index)
    )
    return inserted.one_or_none() is not None


def find_chunk(connection: Connection, job_name: str, index: int) -> Chunk | None:
    """Return the chunk, or None."""
    columns = (chunks.c.start, chunks.c.duration, chunks.c.audio_key, chunks.c.recognised_at, chunks.c.channels)
    row = connection.execute(
        select(*columns).where(chunks.c.job_name == job_name, chunks.c.index == index)
    ).one_or_none()
    if row is None:
        return None
    return Chunk(
        job_name=job_name,
        index=index,
        start=row.start,
        duration=row.duration,
        audio_key=row.audio_key,
        is_recognised=row.recognised_at is not None,
        channels=row.channels,
    )


def begin_chunk(connection: Connection, job_name: str, index: int) -> Chunk | None:
    """Count one more attempt at a chunk that is not recognised yet, and return it; None where there is none."""
    connection.execute(
        update(chunks)
        .where(chunks.c.job_name == job_name, chunks.c.index == index, chunks.c.recognised_at.is_(None))
        .values(attempts=chunks.c.attempts + 1)
    )
    return find_chunk(connection, job_name, index)


def planned_count(connection: Connection, job_name: str) -> int | None:
    """Return how many chunks a recording has; None until it has been cut to its end."""
    return connection.execute(select(jobs.c.chunk_count).where(jobs.c.name == job_name)).scalar_one_or_none()


def channel_count(connection: Connection, job_name: str) -> int:
    """Return how many channels the chunks of a job hold; 1 where there are none yet."""
    most = select(func.max(chunks.c.channels)).where(chunks.c.job_name == job_name)
    return connection.execute(most).scalar_one_or_none() or 1


def save_fragment(
    connection: Connection,
    job_name: str,
    index: int,
    segments: tuple[Segment, ...],
    *,
    voices: tuple[VoiceWindow, ...] = (),
    at: datetime,
) -> bool:
    """Store a chunk's result, once: a second result for the chunk, or one for a job that has ended, is dropped.

    Returns whether it was stored.
    """
    body = json.dumps([segment_to_json(segment) for segment in segments], ensure_ascii=False, separators=(",", ":"))
    heard = json.dumps([voice_window_to_json(each) for each in voices], separators=(",", ":")) if voices else None
    changed = connection.execute(
        update(chunks)
        .where(
            chunks.c.job_name == job_name,
            chunks.c.index == index,
            chunks.c.recognised_at.is_(None),
            _is_running(job_name).exists(),
        )
        .values(fragment=body, voices=heard, recognised_at=at, done_duration=chunks.c.duration)
    )
    if not changed.rowcount:
        return False
    # Of a recording of one chunk the end is told in a moment.
    is_of_several = or_(jobs.c.chunk_count.is_(None), jobs.c.chunk_count > 1)
    told = select(jobs.c.name, literal(CHUNK_EVENT), literal(at, events.c.created_at.type), jobs.c.owner)
    connection.execute(
        insert(events).from_select(
            ["job_name", "type", "created_at", "owner"], told.where(jobs.c.name == job_name, is_of_several)
        )
    )
    return True


def is_complete(connection: Connection, job_name: str) -> bool:
    """Whether the recording has been cut to its end and every chunk of it is recognised."""
    planned = planned_count(connection, job_name)
    if planned is None:
        return False
    done = connection.execute(
        select(func.count()).where(chunks.c.job_name == job_name, chunks.c.recognised_at.is_not(None))
    ).scalar_one()
    return done == planned


def fragments_from(connection: Connection, job_name: str, index: int) -> list[Fragment]:
    """Return the stored fragments from this chunk on, in order, up to the first chunk that has none yet."""
    rows = connection.execute(
        select(chunks.c.index, chunks.c.fragment)
        .where(chunks.c.job_name == job_name, chunks.c.index >= index)
        .order_by(chunks.c.index)
    )
    found: list[Fragment] = []
    for chunk_index, body in rows:
        if body is None or chunk_index != index + len(found):
            break
        segments = tuple(segment_from_json(each) for each in json.loads(body))
        found.append(Fragment(index=chunk_index, segments=segments))
    return found


def fragments(connection: Connection, job_name: str) -> list[Fragment]:
    """Return every stored fragment of a job."""
    rows = connection.execute(
        select(chunks.c.index, chunks.c.fragment, chunks.c.voices).where(
            chunks.c.job_name == job_name, chunks.c.fragment.is_not(None)
        )
    )
    return [
        Fragment(
            index=index,
            segments=tuple(segment_from_json(each) for each in json.loads(body)),
            voices=tuple(voice_window_from_json(each) for each in json.loads(heard or "[]")),
        )
        for index, body, heard in rows
    ]


def forget_fragments(connection: Connection, job_name: str) -> None:
    """Drop the fragments' text once the transcript holds it; the rows stay as the record of the work."""
    connection.execute(update(chunks).where(chunks.c.job_name == job_name).values(fragment=None, voices=None))


def note_progress(connection: Connection, done: dict[tuple[str, int], float]) -> None:
    """Store how many seconds of these chunks are done, and the sums of their jobs; a job that has ended keeps its."""
    for (job_name, index), seconds in done.items():
        connection.execute(
            update(chunks)
            .where(chunks.c.job_name == job_name, chunks.c.index == index, chunks.c.recognised_at.is_(None))
            .values(done_duration=seconds)
        )
    sum_of_chunks = (
        select(func.coalesce(func.sum(chunks.c.done_duration), 0.0))
        .where(chunks.c.job_name == jobs.c.name)
        .scalar_subquery()
    )
    names = sorted({job_name for job_name, _ in done})
    connection.execute(
        update(jobs)
        .where(jobs.c.name.in_(names), jobs.c.status == JobStatus.IN_PROGRESS.value)
        .values(done_duration=sum_of_chunks)
    )


def _is_running(job_name: str) -> Select[tuple[str]]:
    """Select the job where it is IN_PROGRESS."""
    return select(jobs.c.name).where(jobs.c.name == job_name, jobs.c.status == JobStatus.IN_PROGRESS.value)
