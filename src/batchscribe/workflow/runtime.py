"""Runs the pipeline on the durable engine: what was begun is run again until it returns, whoever dies meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from dbos import DBOS, DBOSConfig
from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from batchscribe.domain.job import Failure
from batchscribe.errors import RecordingFailed
from batchscribe.workflow import dispatch
from batchscribe.workflow.pipeline import Pipeline

logger = logging.getLogger(__name__)

#: Dispatch is by polling; half of this is the mean wait of a job on an idle server.
POLLING_SECONDS = 0.05
#: Tries of one piece of work before the job ends FAILED, and the wait before the second.
ATTEMPTS = 4
FIRST_WAIT_SECONDS = 0.5
#: Wait between tries to store that a job failed.
STORE_FAILURE_SECONDS = 5.0
#: How often work may be taken up again after its worker died. High, because whatever a recording can kill is a child
#: process, which is counted by itself: a worker's death says nothing about the work that it had in hand.
MAX_RECOVERIES = 1000

INTERNAL_ERROR = Failure(
    code="internal_error", reason="Something went wrong inside the server. Upload the recording again, or tell us."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """How many workflows of each queue one worker runs at once."""

    recordings: int
    chunks: int


def launch(pipeline: Pipeline, database: Database, *, executor_id: str, concurrency: Concurrency) -> None:
    """Begin to run workflows in threads of this process, those that a dead process of this id left behind first."""
    dispatch.quieten_log()
    DBOS(
        config=DBOSConfig(
            name=dispatch.APPLICATION_NAME,
            system_database_engine=database,
            application_version=dispatch.APPLICATION_VERSION,
            executor_id=executor_id,
            log_level="WARNING",
            run_migrations=False,
        )
    )

    @DBOS.workflow(name=dispatch.TRANSCRIBE_WORKFLOW, max_recovery_attempts=MAX_RECOVERIES)
    def transcribe(job_name: str) -> None:
        _until_done(pipeline, job_name, lambda: pipeline.transcribe(job_name))

    @DBOS.workflow(name=dispatch.RECOGNISE_WORKFLOW, max_recovery_attempts=MAX_RECOVERIES)
    def recognise(job_name: str, index: int) -> None:
        _until_done(pipeline, job_name, lambda: pipeline.recognise(job_name, index))

    DBOS.launch()
    for queue, limit in (
        (dispatch.RECORDINGS_QUEUE, concurrency.recordings),
        (dispatch.CHUNKS_QUEUE, concurrency.chunks),
    ):
        DBOS.register_queue(
            queue, worker_concurrency=limit, polling_interval_sec=POLLING_SECONDS, on_conflict="always_update"
        )


def _until_done(pipeline: Pipeline, job_name: str, work: Callable[[], None]) -> None:
    """Run the work, again after a wait where that may help or nobody foresaw it, and at last end the job FAILED."""
    failure = INTERNAL_ERROR
    for attempt in range(1, ATTEMPTS + 1):
        if attempt > 1:
            time.sleep(FIRST_WAIT_SECONDS * 4 ** (attempt - 2))
        try:
            work()
        except RecordingFailed as error:
            failure = Failure(code=error.code, reason=str(error))
            logger.warning("work on a job failed: %s", error, extra={"job_name": job_name, "attempt": attempt})
        # The worker's edge: whatever broke, the other jobs go on, and the log has the trace.
        except Exception:
            failure = INTERNAL_ERROR
            logger.exception("work on a job failed", extra={"job_name": job_name, "attempt": attempt})
        else:
            return
    while not _has_failed(pipeline, job_name, failure):
        time.sleep(STORE_FAILURE_SECONDS)


def _has_failed(pipeline: Pipeline, job_name: str, failure: Failure) -> bool:
    """End a job FAILED; False where the database does not take it, for then the job would stay IN_PROGRESS for ever."""
    try:
        pipeline.fail(job_name, failure)
    except SQLAlchemyError:
        logger.exception("could not store that a job failed; trying again", extra={"job_name": job_name})
        return False
    return True
