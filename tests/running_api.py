"""A real HTTP server over the real service, database and media store, in a thread; the tests play its worker."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
import uvicorn
from sqlalchemy import Engine as Database

from batchscribe import settings as settings_module
from batchscribe.app import build_service, upgrade_database
from batchscribe.database import jobs, transcripts
from batchscribe.database.connection import connect
from batchscribe.domain.job import Failure, JobStatus
from batchscribe.domain.transcript import Item, ItemKind, Segment, Transcript
from batchscribe.remote_parts import build_notifications
from batchscribe.service import TranscriptionService
from batchscribe.web.app import create_app
from batchscribe.web.front import uvicorn_config
from batchscribe.web.gate import Access
from batchscribe.web.limits import FrontLimits

#: The first bytes of a WAV recording; what follows is nobody's business until it is decoded.
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(range(256))


@dataclass
class RunningApi:
    """The address of a running server, and what stands behind it."""

    base_url: str
    port: int
    service: TranscriptionService
    database: Database
    data_dir: Path
    server: uvicorn.Server

    def submit(self, **fields: Any) -> str:
        """Submit a recording and return its job's name."""
        answer = requests.post(
            f"{self.base_url}/transcribe-batch-async", files={"file": ("speech.wav", WAV)}, data=fields, timeout=30
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["job_name"])

    def get(self, path: str, **options: Any) -> requests.Response:
        """Ask with GET."""
        return requests.get(self.base_url + path, timeout=30, **options)

    def start(self, job_name: str) -> None:
        """Begin a job, as a worker does."""
        with self.database.begin() as connection:
            assert jobs.move_job(connection, job_name, JobStatus.IN_PROGRESS, at=datetime.now(UTC))

    def complete(self, job_name: str) -> None:
        """Finish a job that was begun, as a worker does."""
        with self.database.begin() as connection:
            jobs.describe_media(connection, job_name, media_sample_rate_hertz=44100, media_duration=2.5)
            transcripts.save_transcript(connection, job_name, TRANSCRIPT)
            assert jobs.move_job(connection, job_name, JobStatus.COMPLETED, at=datetime.now(UTC))

    def fail(self, job_name: str, reason: str) -> None:
        """End a job without a transcript, as a worker does."""
        failure = Failure(code="media_damaged", reason=reason)
        with self.database.begin() as connection:
            assert jobs.move_job(connection, job_name, JobStatus.FAILED, at=datetime.now(UTC), failure=failure)

    def unfinished_uploads(self) -> list[Path]:
        """Return what has been received and belongs to no job."""
        return list((self.data_dir / "media" / "uploads").iterdir())

    def job_count(self) -> int:
        """Return how many jobs there are, up to 100."""
        return int(self.get("/transcribe-jobs?max_results=100").json()["count"])

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        """Open a plain connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as opened:
            yield opened


TRANSCRIPT = Transcript(
    language_code="en-US",
    duration=2.5,
    segments=(
        Segment(
            start=0.0,
            end=1.5,
            items=(
                Item(kind=ItemKind.PRONUNCIATION, content="Hello", start=0.1, end=0.6, confidence=0.98),
                Item(kind=ItemKind.PRONUNCIATION, content="there", start=0.7, end=1.4, confidence=0.9),
                Item(kind=ItemKind.PUNCTUATION, content=".", start=1.4, end=1.4, space_before=False),
            ),
        ),
    ),
)


def is_received(words: bytes, connection: socket.socket) -> bool:
    """Whether these words come on a connection before it ends: an answer may come in several pieces."""
    said = b""
    while words not in said:
        piece = connection.recv(65536)
        if not piece:
            return False
        said += piece
    return True


@contextmanager
def running_api(
    data_dir: Path,
    *,
    max_upload_bytes: int = 4 << 20,
    upload_stall_seconds: float = 5.0,
    sync_wait_seconds: float = 20.0,
    limits: FrontLimits | None = None,
    access: Access | None = None,
    cors_origins: tuple[str, ...] = (),
    **overrides: Any,
) -> Iterator[RunningApi]:
    """Run a server over a data folder, with these settings, until the context ends."""
    data_dir.mkdir(parents=True, exist_ok=True)
    settings = settings_module.load(**({"data_dir": data_dir, "engine": "scripted", "min_free_bytes": 0} | overrides))
    upgrade_database(settings)
    database = connect(settings.effective_database_url)
    service = build_service(settings, database)
    app = create_app(
        service,
        max_upload_bytes=max_upload_bytes,
        upload_stall_seconds=upload_stall_seconds,
        sync_wait_seconds=sync_wait_seconds,
        reads_may_wait=settings.is_scale_out,
        notifications=build_notifications(settings, database),
        access=access,
        cors_origins=cors_origins,
    )
    server = uvicorn.Server(uvicorn_config(app, host="127.0.0.1", port=0, limits=limits, graceful_seconds=5))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api")
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended"
        time.sleep(0.01)
    try:
        yield RunningApi(
            base_url=f"http://127.0.0.1:{port}",
            port=port,
            service=service,
            database=database,
            data_dir=data_dir,
            server=server,
        )
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
        database.dispose()
