"""Clients of resumable uploads through a network that breaks: another's (tuspy), and our own."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_kinds import Awaited, make_client
from sqlalchemy import select
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from batchscribe.client import Client, ClientError, ServerRefused, ServerUnreachable
from batchscribe.client.resuming import WORTH_RESUMING_BYTES
from batchscribe.database.schema import resumable_uploads as uploads
from cutting_proxy import CuttingProxy, cutting_proxy
from running_api import WAV, RunningApi, running_api

__all__ = ["Awaited", "make_client"]

RECORDING = WAV + random.Random(5).randbytes(3 << 20)  # noqa: S311 - to be repeated


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """Run a server."""
    with running_api(tmp_path_factory.mktemp("api"), max_upload_bytes=64 << 20) as running:
        yield running


@pytest.fixture
def proxy(api: RunningApi) -> Iterator[CuttingProxy]:
    """Return a way to it on which connections break."""
    with cutting_proxy(api.port) as running:
        yield running


def recording_of(api: RunningApi, job_name: str) -> bytes:
    """Return a job's recording."""
    return api.get(f"/transcribe-job/{job_name}/media").content


@pytest.mark.parametrize("has_checksums", [False, True])
def test_tuspy_uploads_in_small_pieces_over_connections_that_break(
    api: RunningApi, proxy: CuttingProxy, *, has_checksums: bool
) -> None:
    """A client that knows nothing of us: every other request breaks somewhere, and the recording is the same."""
    client = TusClient(f"{proxy.base_url}/files")
    uploader: Any = client.uploader(
        file_stream=io.BytesIO(RECORDING),
        chunk_size=200_000,
        metadata={"filename": "speech.wav", "language_code": "en-GB"},
        retries=20,
        retry_delay=0,
        upload_checksum=has_checksums,
    )
    uploader.set_url(uploader.create_url())
    lengths = random.Random(3)  # noqa: S311 - to be repeated
    while uploader.offset < len(RECORDING):
        proxy.cuts[:] = [lengths.randrange(1, 200_000)]
        uploader.upload_chunk()
    assert proxy.broken >= 10
    name = uploader.request.response_headers["x-job-name"]
    assert api.service.get(name).options.language_code == "en-GB"
    assert recording_of(api, name) == RECORDING


def test_tuspy_goes_on_with_an_upload_that_it_knows_the_address_of(api: RunningApi) -> None:
    """As a phone does whose app was closed; and it is told where none is."""
    client = TusClient(f"{api.base_url}/files")
    metadata = {"filename": "speech.wav"}
    first = client.uploader(file_stream=io.BytesIO(RECORDING), chunk_size=500_000, metadata=metadata)
    first.upload(stop_at=1_000_000)
    again: Any = client.uploader(file_stream=io.BytesIO(RECORDING), url=first.url, chunk_size=1 << 20)
    assert again.offset == 1_000_000
    again.upload()
    assert recording_of(api, again.request.response_headers["x-job-name"]) == RECORDING
    with pytest.raises(TusCommunicationError):
        client.uploader(file_stream=io.BytesIO(RECORDING), url=f"{api.base_url}/files/none")


def test_our_clients_go_on_after_every_break(api: RunningApi, proxy: CuttingProxy, make_client: Any) -> None:
    """Also where the first request, or its answer, is lost; progress only rises, and there is one job."""
    before = api.job_count()
    proxy.cuts[:] = [10, 250_000, 40, 700_000, 100_000, 1, 1, 900_000]
    told: list[int] = []
    client = make_client(proxy.base_url)
    job = client.submit(io.BytesIO(RECORDING), fields={"priority": "low"}, resumable=True, on_progress=told.append)
    assert proxy.broken >= 6
    assert recording_of(api, job.job_name) == RECORDING
    assert api.service.get(job.job_name).priority.value == "low"
    assert told == sorted(told)
    assert told[-1] == len(RECORDING)
    assert api.job_count() == before + 1


def test_a_long_recording_is_sent_resumably_without_being_asked(
    api: RunningApi, proxy: CuttingProxy, make_client: Any, tmp_path: Path
) -> None:
    """A short one, or a pipe, goes at once."""
    recording = tmp_path / "long.wav"
    with recording.open("wb") as file:
        file.write(WAV)
        file.truncate(WORTH_RESUMING_BYTES)
    proxy.cuts[:] = [3 << 20, 5 << 20]
    job = make_client(proxy.base_url).submit(recording)
    assert proxy.broken == 2
    assert api.service.get(job.job_name).media_size_bytes == WORTH_RESUMING_BYTES
    proxy.cuts[:] = [100_000]
    with pytest.raises(ServerUnreachable):
        make_client(proxy.base_url).submit(io.BytesIO(RECORDING))


def test_a_later_call_with_the_key_goes_on_where_an_interrupted_one_was(api: RunningApi, make_client: Any) -> None:
    """Ctrl-C, then the same again; once it is finished, the key begins another."""

    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 1 << 20:
                raise KeyboardInterrupt
            return super().read(size)

    key = f"key-{type(make_client(api.base_url)).__name__}-{id(make_client)}"
    with pytest.raises(KeyboardInterrupt):
        make_client(api.base_url).submit(Interrupted(RECORDING), resumable=True, resume_key=key)
    told: list[int] = []
    first = make_client(api.base_url).submit(
        io.BytesIO(RECORDING), resumable=True, resume_key=key, on_progress=told.append
    )
    assert told[0] > 1 << 20
    assert recording_of(api, first.job_name) == RECORDING
    second = make_client(api.base_url).submit(io.BytesIO(RECORDING), resumable=True, resume_key=key)
    assert second.job_name != first.job_name


def test_the_command_goes_on_after_ctrl_c_where_it_was(api: RunningApi, proxy: CuttingProxy, tmp_path: Path) -> None:
    """The same command again finds what it had sent; another recording, or other options, would begin anew."""
    recording = tmp_path / "talk.wav"
    with recording.open("wb") as file:
        file.write(WAV)
        file.truncate(WORTH_RESUMING_BYTES)
    proxy.pause_seconds = 0.01
    environment = dict(os.environ) | {"BATCHSCRIBE_URL": proxy.base_url}
    command = [sys.executable, "-m", "batchscribe", "transcribe", str(recording)]

    def offsets() -> list[int]:
        with api.database.connect() as connection:
            mine = uploads.c.length_bytes == WORTH_RESUMING_BYTES
            query = select(uploads.c.offset_bytes).where(mine, uploads.c.file_name == "talk.wav")
            return list(connection.execute(query).scalars())

    def has_job() -> bool:
        with api.database.connect() as connection:
            query = select(uploads.c.job_name).where(uploads.c.file_name == "talk.wav")
            return connection.execute(query).scalar_one() is not None

    def wait_until(condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.02)

    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as first:
        wait_until(lambda: sum(offsets()) > 0)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "goes on with a long upload" in said
    assert 0 < offsets()[0] < WORTH_RESUMING_BYTES
    proxy.pause_seconds = 0.0
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as second:
        wait_until(lambda: offsets() == [WORTH_RESUMING_BYTES] and has_job())
        name = api.service.list(status=None, max_results=1, next_token=None).jobs[0].name
        api.start(name)
        api.complete(name)
        transcript, _ = second.communicate(timeout=60)
    assert (second.returncode, transcript) == (0, "Hello there.\n")


def test_what_is_refused_is_refused_at_once(api: RunningApi, make_client: Any) -> None:
    """A language that is none is no reason to try again; nor is a job that the server cannot take."""
    client = make_client(api.base_url)
    with pytest.raises(ServerRefused, match="xx-XX") as caught:
        client.submit(io.BytesIO(RECORDING), language_code="xx-XX", resumable=True)
    assert caught.value.server_code == "unsupported_language"


def test_nobody_there_is_said_when_patience_is_at_its_end(make_client: Any) -> None:
    """Not sooner, and not much later."""
    client = make_client("http://127.0.0.1:9", patience_seconds=0.5)
    with pytest.raises(ServerUnreachable):
        client.submit(io.BytesIO(RECORDING), resumable=True)


def test_what_cannot_be_read_twice_is_not_sent_in_pieces(api: RunningApi) -> None:
    """It says so instead of failing at the first break."""

    class Pipe(io.BytesIO):
        def tell(self) -> int:
            raise OSError

    with Client(api.base_url) as client, pytest.raises(ClientError, match="cannot be read twice"):
        client.submit(Pipe(RECORDING), resumable=True)
