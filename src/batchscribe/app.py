"""The composition root: settings become parts, parts become an api, a worker, or a transcriber without either.

This is the only module that names the implementations of ``domain/ports.py``.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.decoding.sandbox import sandbox_status
from batchscribe.domain.languages import WHISPER_LANGUAGE_CODES
from batchscribe.domain.options import Capabilities, TranscriptionOptions
from batchscribe.domain.ports import Engine
from batchscribe.domain.transcript import Transcript
from batchscribe.errors import ConfigurationError, SandboxUnavailable
from batchscribe.logs import configure_logs
from batchscribe.processes import die_with_parent
from batchscribe.settings import EngineName, Settings
from batchscribe.storage.folder import FolderStore

if TYPE_CHECKING:
    from sqlalchemy import Engine as Database

    from batchscribe.service import Readiness, TranscriptionService

logger = logging.getLogger(__name__)

#: The bucket in the ``s3://`` addresses of recordings that are kept in a folder.
FOLDER_BUCKET = "batchscribe"

#: How long a worker waits for the lock: a look at it holds it for a moment, and one that was just killed a little more.
_LOCK_SECONDS = 2.0


class Transcribe(Protocol):
    """Transcribes one recording in this process's own children."""

    def __call__(
        self, path: Path, *, language_code: str, on_progress: Callable[[float, float | None], None]
    ) -> Transcript:
        """Return the transcript; ``on_progress`` is given seconds done and, once known, seconds in all."""


def prepare(settings: Settings) -> None:
    """Make the data folder and bring the database up to date. Raises ConfigurationError where that cannot be done."""
    configure_logs(settings.log_level)
    check_sandbox(settings)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(
            f"The data folder {settings.data_dir} cannot be made ({error.strerror}); set BATCHSCRIBE_DATA_DIR."
        ) from error
    upgrade_database(settings)


def check_sandbox(settings: Settings) -> None:
    """Raise SandboxUnavailable where the sandbox is required and the kernel has none; otherwise say so once."""
    status = sandbox_status()
    if status.is_complete:
        return
    if settings.require_sandbox:
        raise SandboxUnavailable(f"{status.sentence} Unset BATCHSCRIBE_REQUIRE_SANDBOX to run without.")
    logger.warning("recordings are decoded without the full sandbox: %s", status.sentence)


def upgrade_database(settings: Settings) -> None:
    """Bring all tables to this version. Raises ConfigurationError where the database cannot be used."""
    from sqlalchemy.exc import SQLAlchemyError

    from batchscribe.database.connection import connect
    from batchscribe.database.upgrade import upgrade
    from batchscribe.workflow.dispatch import prepare_tables

    try:
        database = connect(settings.effective_database_url, pool_size=2)
        upgrade(database)
        prepare_tables(settings.effective_database_url)
        database.dispose()
    except SQLAlchemyError as error:
        raise ConfigurationError(
            f"The database {settings.effective_database_url} cannot be used: {error.__class__.__name__}. "
            "Check BATCHSCRIBE_DATABASE_URL and BATCHSCRIBE_DATA_DIR."
        ) from error


def build_store(settings: Settings) -> FolderStore:
    """Build the media store."""
    return FolderStore(settings.media_folder, bucket=FOLDER_BUCKET, min_free_bytes=settings.min_free_bytes)


def build_decoder(settings: Settings) -> CagedDecoder:
    """Build the decoder."""
    return CagedDecoder(max_seconds=settings.max_media_seconds, require_sandbox=settings.require_sandbox)


def build_engine(settings: Settings, *, on_message: Callable[[str], None] = logger.info) -> Engine:
    """Build the chosen engine, its model loaded. Raises ModelUnavailable."""
    if settings.engine is EngineName.SCRIPTED:
        from batchscribe.engines.scripted import Script, ScriptedEngine

        return ScriptedEngine(Script(seconds_per_audio_second=settings.scripted_real_time_factor))
    from batchscribe.engines.catalogue import ModelCatalogue
    from batchscribe.engines.pool import LocalEngine
    from batchscribe.engines.recogniser import whisper_choice

    folder = ModelCatalogue(settings.model_folder).resolve(settings.model)
    on_message(f"model {settings.model} from {folder}")
    engine = LocalEngine(
        whisper_choice(folder, quality=settings.quality), processes=settings.effective_engine_processes
    )
    try:
        engine.warm()
    except BaseException:
        engine.close()
        raise
    return engine


def build_service(settings: Settings, database: Database) -> TranscriptionService:
    """Build the door that the api opens; the database must be up to date."""
    from batchscribe.service import TranscriptionService
    from batchscribe.workflow.dispatch import Dispatcher

    return TranscriptionService(
        database=database,
        store=build_store(settings),
        dispatcher=Dispatcher(database),
        # Both engines of this version know the same languages; the api itself loads neither.
        capabilities=Capabilities(language_codes=WHISPER_LANGUAGE_CODES),
        readiness_checks={
            "sandbox": lambda: _sandbox_readiness(settings),
            "worker": lambda: _worker_readiness(settings),
        },
    )


def run_api(settings: Settings) -> None:
    """Serve HTTP until SIGTERM or SIGINT."""
    import uvicorn

    from batchscribe.database.connection import connect
    from batchscribe.web.app import create_app
    from batchscribe.web.front import uvicorn_config

    _follow_supervisor(settings)
    prepare(settings)
    service = build_service(settings, connect(settings.effective_database_url))
    service.reclaim_uploads()
    app = create_app(
        service, max_upload_bytes=settings.max_upload_bytes, upload_stall_seconds=settings.upload_stall_seconds
    )
    logger.info("listening on http://%s:%s", settings.host, settings.port)
    uvicorn.Server(uvicorn_config(app, host=settings.host, port=settings.port)).run()


def run_worker(settings: Settings) -> None:
    """Transcribe jobs until SIGTERM or SIGINT. Raises ConfigurationError when it cannot begin."""
    from batchscribe.database.connection import connect
    from batchscribe.workflow.dispatch import Dispatcher
    from batchscribe.workflow.housekeeping import Housekeeper
    from batchscribe.workflow.in_flight import InFlight
    from batchscribe.workflow.pipeline import Pipeline
    from batchscribe.workflow.runtime import Concurrency, launch

    _follow_supervisor(settings)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    prepare(settings)
    with _only_worker(settings):
        processes = settings.effective_engine_processes
        engine = build_engine(settings)
        database = connect(settings.effective_database_url)
        store, dispatcher, in_flight = build_store(settings), Dispatcher(database), InFlight(database)
        pipeline = Pipeline(
            database=database,
            store=store,
            decoder=build_decoder(settings),
            engine=engine,
            dispatcher=dispatcher,
            in_flight=in_flight,
            decoding=threading.Semaphore(processes),
        )
        in_flight.start()
        Housekeeper(database, store, dispatcher).start()
        launch(
            pipeline,
            database,
            executor_id="local",
            concurrency=Concurrency(recordings=16 * processes, chunks=4 * processes),
        )
        logger.info("worker ready, %s engine processes", processes)
        stopping.wait()
        logger.info("worker stopping; jobs under way are taken up again at the next start")
        logging.shutdown()
        # To stop is to be killed, which every part must survive anyway: waiting for chunks would only make it slower,
        # and an error on the way down would be taken for the job's. The children end with this process.
        os._exit(0)


@contextmanager
def local_transcriber(settings: Settings) -> Iterator[Transcribe]:
    """Transcribe recordings with this process's own decoder and engine: no server, no database."""
    from batchscribe.workflow.direct import transcribe_directly

    configure_logs("WARNING")
    check_sandbox(settings)
    decoder, engine = build_decoder(settings), build_engine(settings)
    try:

        def transcribe(
            path: Path, *, language_code: str, on_progress: Callable[[float, float | None], None]
        ) -> Transcript:
            options = TranscriptionOptions(language_code=language_code)
            return transcribe_directly(path, options, decoder=decoder, engine=engine, on_progress=on_progress)

        yield transcribe
    finally:
        engine.close()
        decoder.close()


def _follow_supervisor(settings: Settings) -> None:
    """End with the supervisor, where there is one."""
    if settings.supervisor_pid:
        die_with_parent(settings.supervisor_pid)


@contextmanager
def _only_worker(settings: Settings) -> Iterator[None]:
    """Hold the data folder's worker lock. Raises ConfigurationError where another worker holds it."""
    with worker_lock_path(settings).open("w") as lock:
        until = time.monotonic() + _LOCK_SECONDS
        while not (is_locked := _try_lock(lock)) and time.monotonic() < until:
            time.sleep(0.05)
        if not is_locked:
            raise ConfigurationError(
                f"Another worker already uses {settings.data_dir}. With SQLite there is one worker: "
                "its engine processes share the work (BATCHSCRIBE_ENGINE_PROCESSES)."
            )
        yield


def worker_lock_path(settings: Settings) -> Path:
    """Return the file that the embedded mode's one worker keeps locked while it runs."""
    return settings.data_dir / "worker.lock"


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sandbox_readiness(settings: Settings) -> Readiness:
    from batchscribe.service import Readiness

    status = sandbox_status()
    return Readiness(is_ok=status.is_complete or not settings.require_sandbox, sentence=status.sentence)


def _worker_readiness(settings: Settings) -> Readiness:
    """Whether a worker holds the lock: a look takes the lock for a moment, which :func:`_only_worker` waits out."""
    from batchscribe.service import Readiness

    with worker_lock_path(settings).open("a") as lock:
        is_running = not _try_lock(lock)
    sentence = "A worker is running." if is_running else "No worker is running: jobs wait until one is started."
    return Readiness(is_ok=is_running, sentence=sentence)
