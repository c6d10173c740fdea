"""What runs: an api, a worker, or a transcriber without either, each put together from the parts of ``parts.py``."""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from batchscribe.domain.option_fields import check_options
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.origins import ANY_ORIGIN, read_origins
from batchscribe.domain.transcript import Transcript
from batchscribe.errors import ConfigurationError, ServiceUnavailable
from batchscribe.logs import configure_logs
from batchscribe.parts import (
    build_database,
    build_decoder,
    build_engine,
    build_fetch,
    build_service,
    build_store,
    check_database,
    check_sandbox,
    egress_rules,
    server_key,
    upgrade_database,
)
from batchscribe.processes import die_with_parent, give_large_memory_back, keep_memory_off_the_disk
from batchscribe.remote_parts import build_notifications, build_remote_work
from batchscribe.settings import Settings, secrets_of

__all__ = ["build_service", "local_transcriber", "prepare", "run_api", "run_worker", "upgrade_database"]

if TYPE_CHECKING:
    from batchscribe.service import TranscriptionService

logger = logging.getLogger(__name__)

#: How long a worker waits for the lock: one that was just killed may hold it a little longer.
_LOCK_SECONDS = 2.0


class Transcribe(Protocol):
    """Transcribes one recording in this process's own children."""

    def __call__(
        self,
        path: Path,
        *,
        options: TranscriptionOptions,
        filter_words: tuple[str, ...] = (),
        on_progress: Callable[[float, float | None], None],
    ) -> Transcript:
        """Return the transcript. Raises InvalidRequest and UnsupportedLanguage for what the engine cannot do.

        ``on_progress`` is given seconds done and, once known, seconds in all.
        """


def prepare(settings: Settings) -> None:
    """Make the data folder and see that the database can be used. Raises ConfigurationError with what to change."""
    configure_logs(settings.log_level, settings.log_format, secrets=secrets_of(settings))
    keep_memory_off_the_disk()
    check_sandbox(settings)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(
            f"The data folder {settings.data_dir} cannot be made ({error.strerror}); set BATCHSCRIBE_DATA_DIR."
        ) from error
    check_database(settings)


def run_api(settings: Settings) -> None:
    """Serve HTTP until SIGTERM or SIGINT."""
    import uvicorn

    from batchscribe.web.app import create_app
    from batchscribe.web.front import uvicorn_config
    from batchscribe.web.gate import Access

    _follow_supervisor(settings)
    # uvicorn, having served, sends itself the signal that ended it: that must not be the end before the log is written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    prepare(settings)
    _allow_many_connections()
    database = build_database(settings)
    service = build_service(settings, database)
    service.reclaim_uploads()
    app = create_app(
        service,
        max_upload_bytes=settings.max_upload_bytes,
        upload_stall_seconds=settings.upload_stall_seconds,
        reads_may_wait=settings.is_scale_out,
        notifications=build_notifications(settings, database),
        access=Access.at(settings.host, is_open=settings.open),
        cors_origins=read_origins(settings.cors_origins),
    )
    _warn_of_openness(settings, service)
    # A database that is gone in this moment only delays the counting.
    with suppress(ServiceUnavailable):
        app.state.metrics.start()
    logger.info("listening on http://%s:%s", settings.host, settings.port)
    uvicorn.Server(uvicorn_config(app, host=settings.host, port=settings.port)).run()


def _warn_of_openness(settings: Settings, service: TranscriptionService) -> None:
    """Say where whoever reaches the port is served, or nobody is, and where every page is."""
    if settings.cors_origins == ANY_ORIGIN:
        logger.warning("BATCHSCRIBE_CORS_ORIGINS is *: every page that a browser shows may use this server")
    if settings.open:
        logger.warning("BATCHSCRIBE_OPEN: whoever reaches port %s may do everything, without a key", settings.port)
        return
    from batchscribe.web.gate import is_loopback

    with suppress(ServiceUnavailable):
        if not is_loopback(settings.host) and not service.ring.has_keys():
            logger.warning(
                "nobody is served yet: make an API key with `batchscribe keys create NAME`, or set BATCHSCRIBE_OPEN"
            )


def run_worker(settings: Settings) -> None:
    """Transcribe jobs until SIGTERM or SIGINT. Raises ConfigurationError when it cannot begin."""
    _follow_supervisor(settings)
    give_large_memory_back()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    _check_traces(settings)
    prepare(settings)
    with _only_worker(settings):
        hand_back = _start_worker(settings)
        logger.info("worker ready, %s engine processes", settings.effective_engine_processes)
        stopping.wait()
        logger.info("worker stopping; jobs under way are taken up again")
        hand_back()
        logging.shutdown()
        # To stop is to be killed, which every part must survive anyway: waiting for chunks would only make it slower,
        # and an error on the way down would be taken for the job's. The children end with this process.
        os._exit(0)


def _start_worker(settings: Settings) -> Callable[[], None]:
    """Start every part of a worker; return what hands its work back."""
    from batchscribe.webhooks.sender import WebhookSender
    from batchscribe.workflow.dispatch import Concurrency, Dispatcher
    from batchscribe.workflow.housekeeping import Housekeeper
    from batchscribe.workflow.in_flight import InFlight
    from batchscribe.workflow.liveness import Heartbeat
    from batchscribe.workflow.pipeline import Pipeline
    from batchscribe.workflow.runtime import launch
    from batchscribe.workflow.stranded import StrandedWork
    from batchscribe.workflow.takeover import Takeover

    processes = settings.effective_engine_processes
    engine = build_engine(settings)
    database = build_database(settings)
    store, dispatcher, in_flight = build_store(settings), Dispatcher(database), InFlight(database)
    # The embedded mode's one worker takes up its own work by its lasting id; of many, each is another's heir.
    executor_id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}" if settings.is_scale_out else "local"
    # Before the first sign of life: a worker that cannot start must not be taken for one that is ready.
    decoder = build_decoder(settings)
    hand_over, remote_work = build_remote_work(settings, database, store, decoder, executor_id)
    heartbeat, takeover = Heartbeat(database, executor_id), Takeover(database, executor_id)
    if settings.is_scale_out:
        takeover.start()
    heartbeat.start()
    in_flight.start()
    is_in_charge = takeover.is_janitor if settings.is_scale_out else lambda: True
    key = server_key(settings)
    if key is not None:
        _allow_many_connections()
        WebhookSender(database, server_key=key, rules=egress_rules(settings)).start()
    Housekeeper(database, store, dispatcher, is_in_charge=is_in_charge).start()
    launch(
        Pipeline(
            database=database,
            store=store,
            decoder=decoder,
            engine=engine,
            dispatcher=dispatcher,
            in_flight=in_flight,
            decoding=threading.Semaphore(processes),
        ),
        database,
        executor_id=executor_id,
        concurrency=Concurrency(
            recordings=16 * processes,
            chunks=settings.worker_chunks or 4 * processes,
            chunks_of_all=settings.max_running_chunks or None,
        ),
        polling_seconds=settings.queue_polling_seconds,
        traces_url=settings.otlp_traces_url,
        hand_over=hand_over,
        fetch=build_fetch(settings, database, store, dispatcher, in_flight),
    )
    if remote_work is not None:
        remote_work.start()
    StrandedWork(database, executor_id).start()

    def hand_back() -> None:
        heartbeat.stop()
        takeover.stop()

    return hand_back


@contextmanager
def local_transcriber(settings: Settings) -> Iterator[Transcribe]:
    """Transcribe recordings with this process's own decoder and engine: no server, no database."""
    from batchscribe.workflow.direct import transcribe_directly

    configure_logs("WARNING")
    check_sandbox(settings)
    decoder, engine = build_decoder(settings), build_engine(settings)
    try:

        def transcribe(
            path: Path,
            *,
            options: TranscriptionOptions,
            filter_words: tuple[str, ...] = (),
            on_progress: Callable[[float, float | None], None],
        ) -> Transcript:
            check_options(options, engine.capabilities, settings.engine.value)
            return transcribe_directly(
                path, options, decoder=decoder, engine=engine, on_progress=on_progress, filter_words=filter_words
            )

        yield transcribe
    finally:
        engine.close()
        decoder.close()


def _allow_many_connections() -> None:
    """Raise the number of files that this process may have open to what the system allows it."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _check_traces(settings: Settings) -> None:
    """Raise ConfigurationError where traces are asked for and what sends them is not installed."""
    if settings.otlp_traces_url and find_spec("opentelemetry.exporter") is None:
        raise ConfigurationError(
            "BATCHSCRIBE_OTLP_TRACES_URL needs OpenTelemetry; install it with: pip install 'batchscribe[otel]'"
        )


def _follow_supervisor(settings: Settings) -> None:
    """End with the supervisor, where there is one."""
    if settings.supervisor_pid:
        die_with_parent(settings.supervisor_pid)


@contextmanager
def _only_worker(settings: Settings) -> Iterator[None]:
    """Over SQLite, hold the data folder's worker lock. Raises ConfigurationError where another worker holds it."""
    if settings.is_scale_out:
        yield
        return
    with (settings.data_dir / "worker.lock").open("w") as lock:
        until = time.monotonic() + _LOCK_SECONDS
        while not (is_locked := _try_lock(lock)) and time.monotonic() < until:
            time.sleep(0.05)
        if not is_locked:
            raise ConfigurationError(
                f"Another worker already uses {settings.data_dir}. With SQLite there is one worker: "
                "its engine processes share the work (BATCHSCRIBE_ENGINE_PROCESSES)."
            )
        yield


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
