"""Puts work on the durable engine's queues, inside the caller's transaction."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from dbos import DBOS, DBOSClient, EnqueueOptions
from sqlalchemy import Connection, Engine

#: The application's name in the durable engine's tables.
APPLICATION_NAME = "batchscribe"
#: Fixed by us: by default it is a hash of the code, and a worker of another hash would leave every job where it is.
APPLICATION_VERSION = "1"

RECORDINGS_QUEUE = "recordings"
CHUNKS_QUEUE = "chunks"
#: Recordings on their way to a remote engine; only workers that have one look at it.
REMOTE_QUEUE = "remote"

#: Recordings that are to be fetched: a queue of their own, so that slow hosts hold up nobody's transcription.
FETCHES_QUEUE = "fetches"

#: Names of the workflows, explicit because stored work refers to them.
TRANSCRIBE_WORKFLOW = "transcribe"
RECOGNISE_WORKFLOW = "recognise"
HAND_OVER_WORKFLOW = "hand_over"
FETCH_WORKFLOW = "fetch"


#: Shortest interval between looks at the chunks' queue: a look costs about two milliseconds of a processor, a worker
#: holds several chunks, and only the first of a long recording is ever waited for.
_CHUNKS_POLLING_SECONDS = 0.2
#: The same of the fetches' queue: a fetch takes longer than this.
_FETCHES_POLLING_SECONDS = 0.25
#: So many places within each rank.
_PLACES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """How many workflows of each queue one worker runs at once."""

    recordings: int
    chunks: int
    hand_overs: int = 8
    fetches: int = 16
    #: How many chunks all workers together may run at once; None means as many as they like.
    chunks_of_all: int | None = None


class Dispatcher:
    """The durable engine as seen by whoever hands it work. Runs nothing itself."""

    def __init__(self, engine: Engine) -> None:
        """Use our own database engine, so that work is enqueued in our transactions."""
        self._client = DBOSClient(
            system_database_engine=engine,
            application_name=APPLICATION_NAME,
            # An unreachable database is answered with an error now, not with silence until it is back.
            retry_connection_errors=False,
        )

    def set_queues(self, concurrency: Concurrency, *, polling_seconds: float, has_remote_engine: bool = False) -> None:
        """Make the queues, or change their settings, which hold for every worker; the last to set them decides."""
        self._client.register_queue(
            RECORDINGS_QUEUE, worker_concurrency=concurrency.recordings, polling_interval_sec=polling_seconds
        )
        self._client.register_queue(
            CHUNKS_QUEUE,
            # The durable engine refuses a worker's limit above that of all workers.
            worker_concurrency=min(concurrency.chunks, concurrency.chunks_of_all or concurrency.chunks),
            global_concurrency=concurrency.chunks_of_all,
            polling_interval_sec=max(polling_seconds, _CHUNKS_POLLING_SECONDS),
        )
        self._client.register_queue(
            FETCHES_QUEUE,
            worker_concurrency=concurrency.fetches,
            polling_interval_sec=max(polling_seconds, _FETCHES_POLLING_SECONDS),
        )
        if has_remote_engine:
            self._client.register_queue(
                REMOTE_QUEUE, worker_concurrency=concurrency.hand_overs, polling_interval_sec=polling_seconds
            )

    def enqueue_recording(self, connection: Connection, job_name: str, *, priority_rank: int, size_bytes: int) -> None:
        """Have a recording transcribed; among equals, smaller ones first. A second call for a job changes nothing."""
        place = chunk_priority(priority_rank, size_bytes >> 20)
        options = _options(RECORDINGS_QUEUE, TRANSCRIBE_WORKFLOW, job_name, priority=place)
        self._client.enqueue_in_transaction(connection, options, job_name)

    def enqueue_fetch(
        self, connection: Connection, job_name: str, *, priority_rank: int, attempt: int = 0, delay_seconds: float = 0.0
    ) -> None:
        """Have a recording fetched, after a delay; each attempt once. Many attempts go behind few."""
        options = _options(
            FETCHES_QUEUE,
            FETCH_WORKFLOW,
            f"{job_name}:fetch:{attempt}",
            priority=chunk_priority(priority_rank, attempt),
        )
        if delay_seconds:
            options["delay_seconds"] = delay_seconds
        self._client.enqueue_in_transaction(connection, options, job_name, attempt)

    def enqueue_hand_over(self, connection: Connection, job_name: str, *, priority_rank: int, size_bytes: int) -> None:
        """Have a recording given to a remote engine; otherwise as :meth:`enqueue_recording`."""
        place = chunk_priority(priority_rank, size_bytes >> 20)
        options = _options(REMOTE_QUEUE, HAND_OVER_WORKFLOW, job_name, priority=place)
        self._client.enqueue_in_transaction(connection, options, job_name)

    def enqueue_chunk(self, connection: Connection, job_name: str, index: int, *, priority_rank: int) -> None:
        """Have a chunk recognised. A second call for the same chunk changes nothing."""
        place = chunk_priority(priority_rank, index)
        options = _options(CHUNKS_QUEUE, RECOGNISE_WORKFLOW, f"{job_name}:{index}", priority=place)
        self._client.enqueue_in_transaction(connection, options, job_name, index)

    def forget_finished(self, *, most: int = 500) -> int:
        """Delete the durable engine's own records of work that has ended; return how many there were."""
        finished = self._client.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"], limit=most, load_input=False, load_output=False
        )
        names = [workflow.workflow_id for workflow in finished]
        if names:
            self._client.delete_workflows(names)
        return len(names)

    def close(self) -> None:
        """Give back what the client holds; the database engine stays open."""
        self._client.destroy()


def chunk_priority(priority_rank: int, place: int) -> int:
    """Return the number by which work is ordered, lowest first; never 0, which would go before all other.

    Within the rank, a chunk's number is its place in its recording: so recordings take turns, and short ones, having no
    later places, are done first.
    """
    return 1 + priority_rank * _PLACES + min(place, _PLACES - 1)


def prepare_tables(database_url: str) -> None:
    """Make or migrate the durable engine's own tables."""
    quieten_log()
    DBOS.migrate(database_url)


def quieten_log() -> None:
    """Keep the durable engine's log to warnings: it reports every migration and advertises at INFO."""
    logging.getLogger("dbos").setLevel(logging.WARNING)


def _options(queue: str, workflow: str, workflow_id: str, *, priority: int) -> EnqueueOptions:
    return EnqueueOptions(
        queue_name=queue,
        workflow_name=workflow,
        workflow_id=workflow_id,
        app_version=APPLICATION_VERSION,
        priority=priority,
    )
