"""Runs the pipeline on the durable engine: what was begun is run again until it returns, whoever dies meanwhile."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from typing import Protocol

from dbos import DBOS, DBOSConfig
from sqlalchemy import Engine as Database
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from batchscribe.domain.job import Failure
from batchscribe.errors import EngineClosed, EngineUnavailable, RecordingFailed, StorageFull, StoreUnavailable
from batchscribe.workflow import dispatch
from batchscribe.workflow.dispatch import Concurrency
from batchscribe.workflow.fetch import Fetch
from batchscribe.workflow.pipeline import Pipeline
from batchscribe.workflow.remote_handover import HandOver

logger = logging.getLogger(__name__)

#: Tries of one piece of work before the job ends FAILED, and the wait before the second.
ATTEMPTS = 4
FIRST_WAIT_SECONDS = 0.5
#: The longest wait between tries of work that the machine holds up, and when even that is over.
LONGEST_WAIT_SECONDS = 10.0
PATIENCE_SECONDS = 24 * 3600.0
#: Errors that say nothing about the recording.
MACHINE_ERRORS = (
    OperationalError,
    InterfaceError,
    PoolTimeoutError,
    OSError,
    StoreUnavailable,
    StorageFull,
    EngineUnavailable,
)
#: Wait between tries to store that a job failed.
STORE_FAILURE_SECONDS = 5.0
#: How often work may be taken up again after its worker died. High, because whatever a recording can kill is a child
#: process, which is counted by itself: a worker's death says nothing about the work that it had in hand.
MAX_RECOVERIES = 1000

INTERNAL_ERROR = Failure(
    code="internal_error", reason="Something went wrong inside the server. Upload the recording again, or tell us."
)


class _Way(Protocol):
    """What work belongs to, and what ends a job that cannot be done."""

    def fail(self, job_name: str, failure: Failure) -> None:
        """End a job FAILED, unless it has ended already."""


def launch(
    pipeline: Pipeline,
    database: Database,
    *,
    executor_id: str,
    concurrency: Concurrency,
    polling_seconds: float,
    traces_url: str = "",
    hand_over: HandOver | None = None,
    fetch: Fetch | None = None,
) -> None:
    """Begin to run workflows in threads of this process, those that a dead process of this id left behind first.

    ``polling_seconds`` is how often the recordings' queue is looked at: half of it is the mean wait of a job on an idle
    server. ``traces_url`` is where a span of each piece of work is sent (OTLP over HTTP); empty for nowhere.
    Without ``hand_over`` jobs of a remote engine are left to other workers, without ``fetch`` those whose recording is
    yet to come.
    """
    dispatch.quieten_log()
    DBOS(
        config=DBOSConfig(
            name=dispatch.APPLICATION_NAME,
            system_database_engine=database,
            application_version=dispatch.APPLICATION_VERSION,
            executor_id=executor_id,
            log_level="WARNING",
            run_migrations=False,
            enable_otlp=bool(traces_url),
            otlp_traces_endpoints=[traces_url] if traces_url else [],
            otel_attribute_format="semconv",
        )
    )

    @DBOS.workflow(name=dispatch.TRANSCRIBE_WORKFLOW, max_recovery_attempts=MAX_RECOVERIES)
    def transcribe(job_name: str) -> None:
        _until_done(pipeline, job_name, lambda: pipeline.transcribe(job_name))

    @DBOS.workflow(name=dispatch.RECOGNISE_WORKFLOW, max_recovery_attempts=MAX_RECOVERIES)
    def recognise(job_name: str, index: int) -> None:
        _until_done(pipeline, job_name, lambda: pipeline.recognise(job_name, index))

    queues = [dispatch.RECORDINGS_QUEUE, dispatch.CHUNKS_QUEUE]
    if hand_over is not None:

        @DBOS.workflow(name=dispatch.HAND_OVER_WORKFLOW, max_recovery_attempts=MAX_RECOVERIES)
        def give_to_remote_engine(job_name: str) -> None:
            _until_done(hand_over, job_name, lambda: hand_over.hand_over(job_name))

        queues.append(dispatch.REMOTE_QUEUE)
    if fetch is not None:

        @DBOS.workflow(name=dispatch.FETCH_WORKFLOW, max_recovery_attempts=MAX_RECOVERIES)
        def fetch_recording(job_name: str, attempt: int) -> None:
            _until_done(fetch, job_name, lambda: fetch.fetch(job_name, attempt))

        queues.append(dispatch.FETCHES_QUEUE)
    # Before the launch: the durable engine looks for queues then, and again only a second later.
    pipeline.dispatcher.set_queues(
        concurrency, polling_seconds=polling_seconds, has_remote_engine=hand_over is not None
    )
    # By default every queue is looked at that any worker knows, and what is taken from there cannot be done here.
    DBOS.listen_queues(queues)
    DBOS.launch()


def _until_done(pipeline: _Way, job_name: str, work: Callable[[], None]) -> None:
    """Run the work until it is done, again after a wait where it fails, and at last end the job FAILED.

    What is the machine's doing (a database or a store that does not answer, a full disk) is waited out, for up to
    :data:`PATIENCE_SECONDS`; what may be the recording's doing has :data:`ATTEMPTS` tries.
    """
    failure, attempt, waits = INTERNAL_ERROR, 0, 0
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while attempt < ATTEMPTS and time.monotonic() < give_up_at:
        try:
            work()
        except MACHINE_ERRORS as error:
            waits += 1
            logger.warning("work on a job waits: %s", error, extra={"job_name": job_name, "waits": waits})
            time.sleep(min(FIRST_WAIT_SECONDS * 2 ** min(waits, 10), LONGEST_WAIT_SECONDS) * random.uniform(0.5, 1.0))  # noqa: S311
        except EngineClosed:
            # Without an engine this process can do nothing but harm: a new one has a new engine.
            logger.critical("the engine is gone; this worker ends and must be started again")
            logging.shutdown()
            os._exit(1)
        except RecordingFailed as error:
            failure, attempt = Failure(code=error.code, reason=str(error)), attempt + 1
            logger.warning("work on a job failed: %s", error, extra={"job_name": job_name, "attempt": attempt})
            _pause_before(attempt)
        # The worker's edge: whatever broke, the other jobs go on, and the log has the trace.
        except Exception:
            failure, attempt = INTERNAL_ERROR, attempt + 1
            logger.exception("work on a job failed", extra={"job_name": job_name, "attempt": attempt})
            _pause_before(attempt)
        else:
            return
    while not _has_failed(pipeline, job_name, failure):
        time.sleep(STORE_FAILURE_SECONDS)


def _pause_before(attempt: int) -> None:
    """Wait before the next try, where there is one."""
    if attempt < ATTEMPTS:
        time.sleep(FIRST_WAIT_SECONDS * 4 ** (attempt - 1))


def _has_failed(pipeline: _Way, job_name: str, failure: Failure) -> bool:
    """End a job FAILED; False where the database does not take it, for then the job would stay IN_PROGRESS for ever."""
    try:
        pipeline.fail(job_name, failure)
    except (SQLAlchemyError, OSError, StoreUnavailable):
        logger.exception("could not store that a job failed; trying again", extra={"job_name": job_name})
        return False
    return True
