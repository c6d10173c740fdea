"""Bugs put in on purpose: each breaks a promise, and the simulation must find it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from simulated_database import SimulatedQueue
from sqlalchemy import Connection, func, select, update

from batchscribe import acceptance
from batchscribe.database import chunks, jobs
from batchscribe.database.schema import chunks as chunk_rows
from batchscribe.database.schema import jobs as job_rows
from batchscribe.domain.job import Failure, JobStatus
from batchscribe.domain.transcript import Segment
from batchscribe.service import TranscriptionService
from batchscribe.wire import segment_to_json
from batchscribe.workflow.housekeeping import Housekeeper
from batchscribe.workflow.pipeline import Pipeline

Mutation = Callable[[pytest.MonkeyPatch], None]


def status_changes_whatever_it_was(patch: pytest.MonkeyPatch) -> None:
    """Set a row's status without looking at what it was."""
    real = jobs.move_job

    def move_job(
        connection: Connection, job_name: str, to: JobStatus, *, at: datetime, failure: Failure | None = None
    ) -> bool:
        if real(connection, job_name, to, at=at, failure=failure):
            return True
        changed = connection.execute(update(job_rows).where(job_rows.c.name == job_name).values(status=to.value))
        return bool(changed.rowcount)

    patch.setattr(jobs, "move_job", move_job)


def fragments_are_overwritten(patch: pytest.MonkeyPatch) -> None:
    """Let a second result for a chunk replace the first."""

    def save_fragment(
        connection: Connection, job_name: str, index: int, segments: tuple[Segment, ...], *, at: datetime, **_: object
    ) -> bool:
        body = json.dumps([segment_to_json(segment) for segment in segments])
        rows = update(chunk_rows).where(chunk_rows.c.job_name == job_name, chunk_rows.c.index == index)
        return bool(connection.execute(rows.values(fragment=body, recognised_at=at)).rowcount)

    patch.setattr(chunks, "save_fragment", save_fragment)


def work_is_enqueued_after_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Commit the job first, and its work a moment later."""
    submit, enqueue = TranscriptionService.submit, SimulatedQueue.enqueue_recording

    def submit_then_enqueue(self: TranscriptionService, *arguments: Any, **named: Any) -> Any:
        job = submit(self, *arguments, **named)
        with self._database.begin() as connection:
            enqueue(self.acceptance._dispatcher, connection, job.name, priority_rank=1, size_bytes=1)  # type: ignore[arg-type]
        return job

    patch.setattr(SimulatedQueue, "enqueue_recording", lambda *_, **__: None)
    patch.setattr(TranscriptionService, "submit", submit_then_enqueue)


def a_failed_commit_is_taken_for_a_good_one(patch: pytest.MonkeyPatch) -> None:
    """Look not whether the job is there after an error at the commit."""
    patch.setattr(acceptance.Acceptance, "_is_stored", lambda *_: True)


def an_unsure_commit_is_taken_for_a_failed_one(patch: pytest.MonkeyPatch) -> None:
    """Remove the recording after a connection broke at the commit, although the commit may come yet."""
    patch.setattr(acceptance, "DBAPIError", KeyError)


def the_recording_is_joined_before_its_last_chunk(patch: pytest.MonkeyPatch) -> None:
    """Take a recording for complete when all chunks that are known are recognised."""

    def is_complete(connection: Connection, job_name: str) -> bool:
        waiting = select(func.count()).where(chunk_rows.c.job_name == job_name, chunk_rows.c.recognised_at.is_(None))
        return connection.execute(waiting).scalar_one() == 0

    patch.setattr(chunks, "is_complete", is_complete)


def nobody_clears_up(patch: pytest.MonkeyPatch) -> None:
    """Leave recordings without a job where they are."""
    patch.setattr(Housekeeper, "_reclaim_media", lambda _: 0)


def a_late_worker_describes_the_recording(patch: pytest.MonkeyPatch) -> None:
    """Write what a header says over what was measured."""

    def describe_media(connection: Connection, job_name: str, **values: Any) -> None:
        connection.execute(update(job_rows).where(job_rows.c.name == job_name).values(values))

    patch.setattr(jobs, "describe_media", describe_media)


def audio_that_is_gone_fails_the_job(patch: pytest.MonkeyPatch) -> None:
    """Take a chunk's audio for lost when it has been removed by whoever was faster."""
    patch.setattr(Pipeline, "_read_audio", lambda self, chunk: self.store.get(chunk.audio_key))


def nobody_takes_over(patch: pytest.MonkeyPatch) -> None:
    """Leave what a dead worker had in hand where it is."""
    patch.setattr(SimulatedQueue, "recover", lambda *_: None)


def errors_are_final(patch: pytest.MonkeyPatch) -> None:
    """Try work once; an error that passes ends it."""
    from batchscribe.workflow import runtime

    def once(_pipeline: Pipeline, _job_name: str, work: Callable[[], None]) -> None:
        with suppress(Exception):
            work()

    patch.setattr(runtime, "_until_done", once)


MUTATIONS: tuple[Mutation, ...] = (
    status_changes_whatever_it_was,
    fragments_are_overwritten,
    work_is_enqueued_after_the_commit,
    a_failed_commit_is_taken_for_a_good_one,
    an_unsure_commit_is_taken_for_a_failed_one,
    the_recording_is_joined_before_its_last_chunk,
    a_late_worker_describes_the_recording,
    nobody_clears_up,
    nobody_takes_over,
    errors_are_final,
)

#: Those that need a worker to be frozen at one certain point.
SWEPT: tuple[Mutation, ...] = (audio_that_is_gone_fails_the_job,)
