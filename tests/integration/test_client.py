"""Both clients over real connections: what they send, how they read answers, and what they endure."""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import threading
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from contract_server import Script, contract_server

from batchscribe.client import (
    AsyncClient,
    Client,
    ClientError,
    JobFailed,
    JobStatus,
    ServerRefused,
    ServerUnreachable,
    UnexpectedAnswer,
    WaitTimedOut,
)


class Awaited:
    """An AsyncClient whose methods are awaited at once, so that one test tries both clients."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*arguments, **settings)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        async def collect(jobs: Any) -> list[Any]:
            return [job async for job in jobs]

        def call(*arguments: Any, **settings: Any) -> Any:
            result = method(*arguments, **settings)
            return self._runner.run(collect(result) if inspect.isasyncgen(result) else result)

        return call

    def close(self) -> None:
        """Close the client and its event loop."""
        self._runner.run(self._client.close())
        self._runner.close()


@pytest.fixture
def script() -> Script:
    """Return what the server does; tests change it."""
    return Script()


@pytest.fixture(params=[Client, Awaited], ids=["blocking", "asyncio"])
def make_client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Make a client of either kind, closed after the test."""
    made: list[Any] = []

    def make(*arguments: Any, **settings: Any) -> Any:
        made.append(request.param(*arguments, **settings))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client: Any, script: Script) -> Iterator[Any]:
    """Start the server and yield a client of either kind."""
    with contract_server(script) as address:
        yield make_client(address)


def test_a_recording_becomes_a_transcript(client: Any, script: Script, tmp_path: Path) -> None:
    """Submit sends file and language as the contract's form; wait returns the job; the export is read as UTF-8."""
    recording = tmp_path / 'my "talk".wav'
    recording.write_bytes(b"RIFF1234WAVE")
    job = client.submit(recording, language_code="zh-CN")
    assert job.status is JobStatus.IN_PROGRESS
    assert client.wait(job.job_name).transcript == "the words"
    assert client.transcript(job.job_name, "srt") == "the words as srt à\n"
    [form] = script.uploads
    assert b'name="file"; filename="my %22talk%22.wav"' in form
    assert b"RIFF1234WAVE" in form
    assert b'name="language_code"\r\n\r\nzh-CN\r\n' in form


def test_times_without_an_offset_are_utc(client: Any) -> None:
    """The contract's document shows naive times, live servers send an offset; both are read."""
    job = client.get("transcribe-1")
    assert job.creation_time == job.completion_time == datetime(2026, 2, 5, 10, 30, 0, 123456, tzinfo=UTC)


def test_an_upload_tells_how_much_is_sent_and_takes_little_memory(client: Any, script: Script, tmp_path: Path) -> None:
    """A long recording is streamed from disk."""
    size_bytes = 48 << 20
    recording = tmp_path / "long.wav"
    with recording.open("wb") as file:
        file.truncate(size_bytes)
    told: list[int] = []
    tracemalloc.start()
    try:
        client.submit(recording, on_progress=told.append)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 6 << 20
    assert told == sorted(told)
    assert told[-1] == size_bytes
    assert size_bytes < script.uploaded_bytes < size_bytes + 2000


def test_an_open_file_is_sent_and_stays_open(client: Any, script: Script) -> None:
    """A file object without a name works too."""
    media = io.BytesIO(b"RIFF1234WAVE")
    client.submit(media)
    assert not media.closed
    assert b'filename="recording"' in script.uploads[0]


def test_a_pipe_is_sent_to_its_end(client: Any, script: Script) -> None:
    """A recording of unknown length is sent in chunks, not as an empty one."""
    reading, writing = os.pipe()
    os.write(writing, b"RIFF1234WAVE")
    os.close(writing)
    with open(reading, "rb", buffering=0) as media:  # noqa: PTH123 - a descriptor, not a path
        client.submit(media)
    assert b"RIFF1234WAVE" in script.uploads[0]


def test_a_missing_recording_is_an_oserror(client: Any, script: Script, tmp_path: Path) -> None:
    """Nothing is sent when there is nothing to send."""
    with pytest.raises(FileNotFoundError):
        client.submit(tmp_path / "none.wav")
    assert script.paths == []


def test_wait_endures_hang_ups_and_unavailable_answers(client: Any, script: Script) -> None:
    """Connections that break and a server that is not ready are asked again."""
    script.hang_ups, script.unavailable = 2, 1
    assert client.wait("transcribe-1").status is JobStatus.COMPLETED
    assert len(script.paths) == 4


def test_wait_endures_a_restart(make_client: Any, script: Script) -> None:
    """A server that is gone for a moment and comes back at its old port is found again."""
    script.asks_until_end, script.longest_wait_seconds = 3, 0.2
    with contract_server(script) as address:
        port = int(address.rpartition(":")[2])
        client = make_client(address)
        assert client.get("transcribe-1").status is JobStatus.IN_PROGRESS

    def come_back() -> None:
        time.sleep(0.4)
        with contract_server(script, port=port):
            has_ended.wait(20)

    has_ended = threading.Event()
    thread = threading.Thread(target=come_back)
    thread.start()
    try:
        assert client.wait("transcribe-1").status is JobStatus.COMPLETED
    finally:
        has_ended.set()
        thread.join()


def test_wait_gives_up_when_its_patience_is_at_an_end(make_client: Any, script: Script) -> None:
    """A server that stays away is reported, not waited for in eternity."""
    with contract_server(script) as address:
        pass
    started_at = time.monotonic()
    with pytest.raises(ServerUnreachable, match=r"No server answers at http://127\.0\.0\.1:"):
        make_client(address, patience_seconds=0.6).wait("transcribe-1")
    assert 0.5 < time.monotonic() - started_at < 5


def test_wait_pauses_where_the_server_does_not_keep_the_question_open(client: Any, script: Script) -> None:
    """A server without ``?wait=`` is not asked in a tight loop."""
    script.asks_until_end = 3
    started_at = time.monotonic()
    client.wait("transcribe-1")
    assert time.monotonic() - started_at >= 1.5
    assert len(script.paths) == 3


def test_wait_does_not_pause_where_the_server_keeps_the_question_open(client: Any, script: Script) -> None:
    """A long poll that was held is followed by the next at once."""
    script.asks_until_end, script.longest_wait_seconds = 1, 30.0
    told: list[Any] = []
    started_at = time.monotonic()
    client.wait("transcribe-1", on_progress=told.append)
    assert 1.9 < time.monotonic() - started_at < 3
    assert script.paths == ["GET /transcribe-job/transcribe-1?wait=2"]
    assert [job.status for job in told] == [JobStatus.COMPLETED]


def test_progress_is_told_in_seconds_of_audio(client: Any, script: Script) -> None:
    """What a job says of its progress is readable while it runs."""
    script.asks_until_end = 2
    told: list[Any] = []
    client.wait("transcribe-1", on_progress=told.append)
    assert told[0].done_seconds == 15.0


def test_a_failed_job_is_raised_with_its_reason(client: Any, script: Script) -> None:
    """Who waits for a transcript that will never be learns why."""
    script.failure_reason = "The recording has no audio track."
    with pytest.raises(JobFailed, match="no audio track") as caught:
        client.wait("transcribe-1")
    assert caught.value.job.job_name == "transcribe-1"


def test_wait_ends_when_the_time_is_up(client: Any, script: Script) -> None:
    """The job goes on; only the waiting ends."""
    script.asks_until_end = 1000
    with pytest.raises(WaitTimedOut, match=r"transcribe-1 has not ended within 0\.3 seconds"):
        client.wait("transcribe-1", timeout_seconds=0.3)


def test_an_unknown_job_is_refused_at_once_with_the_servers_sentence(client: Any, script: Script) -> None:
    """A 404 is an answer, not a reason to ask again."""
    with pytest.raises(ServerRefused, match=r"Job not found: unknown\. The transcription job does not exist") as caught:
        client.wait("unknown")
    assert (caught.value.status, caught.value.server_code) == (404, "job_not_found")
    assert len(script.paths) == 1


def test_a_name_cannot_leave_its_place_in_the_path(client: Any, script: Script) -> None:
    """Slashes and question marks in a name are escaped."""
    client.get("../one?x")
    assert script.paths == ["GET /transcribe-job/..%2Fone%3Fx"]


def test_something_else_at_the_address_is_said(client: Any, script: Script) -> None:
    """A page of HTML is not a job."""
    script.is_something_else = True
    with pytest.raises(UnexpectedAnswer, match="is not a BatchScribe server"):
        client.get("transcribe-1")
    with pytest.raises(UnexpectedAnswer):
        list(client.list())


def test_a_list_is_read_through_all_its_pages(client: Any, script: Script) -> None:
    """Every job comes once, in the server's order."""
    script.listed = 25
    names = [job.job_name for job in client.list(JobStatus.COMPLETED, page_jobs=10)]
    assert names == [f"transcribe-{n}" for n in range(25)]
    assert script.paths[1] == "GET /transcribe-jobs?max_results=10&status=COMPLETED&next_token=10"
    assert len(script.paths) == 3


def test_a_list_ends_with_a_server_that_repeats_its_first_page(client: Any, script: Script) -> None:
    """Some servers of the contract send a next_token and never read it."""
    script.listed, script.reads_next_token = 25, False
    assert len(list(client.list(page_jobs=10))) == 10


def test_a_recording_is_downloaded_whole(client: Any, script: Script, tmp_path: Path) -> None:
    """The file bears its name only once it is complete."""
    script.media = os.urandom(300_000)
    client.media("transcribe-1", tmp_path / "talk.wav")
    assert (tmp_path / "talk.wav").read_bytes() == script.media
    assert os.listdir(tmp_path) == ["talk.wav"]  # noqa: PTH208


def test_half_a_recording_leaves_no_file(client: Any, script: Script, tmp_path: Path) -> None:
    """A download that breaks is an error and nothing else."""
    script.media, script.cut_media_at = os.urandom(300_000), 100_000
    with pytest.raises(ServerUnreachable):
        client.media("transcribe-1", tmp_path / "talk.wav")
    with pytest.raises(ServerRefused):
        client.media("unknown", tmp_path / "talk.wav")
    assert list(tmp_path.iterdir()) == []


def test_cancel_and_delete_say_so_to_the_server(client: Any, script: Script) -> None:
    """Both name the job."""
    client.cancel("transcribe-1")
    client.delete("transcribe-1")
    assert script.paths == ["POST /transcribe-job/transcribe-1/cancel", "DELETE /transcribe-job/transcribe-1"]


def test_address_and_key_come_from_the_environment(
    make_client: Any, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is sent as a bearer token; a proxy of the environment has no part in talking to this machine."""
    with contract_server(script) as address:
        monkeypatch.setenv("BATCHSCRIBE_URL", f"{address}/")
        monkeypatch.setenv("BATCHSCRIBE_API_KEY", "secret\n")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        make_client().get("transcribe-1")
    assert script.authorizations == ["Bearer secret"]


@pytest.mark.parametrize("address", ["localhost:5001", "ftp://host", "http://", "http://host:port", "/path"])
def test_an_address_that_is_none_is_refused_at_once(make_client: Any, address: str) -> None:
    """The sentence names the address."""
    with pytest.raises(ClientError, match="The server's address"):
        make_client(address)


def test_a_key_that_is_none_is_refused_at_once(make_client: Any) -> None:
    """A key with a line break could forge a header."""
    with pytest.raises(ClientError, match="API key"):
        make_client("http://127.0.0.1", "two\r\nlines")


def test_the_two_clients_offer_the_same() -> None:
    """Names, parameters and docstrings agree."""
    ours = {name: method for name, method in vars(Client).items() if inspect.isfunction(method) and name[0] != "_"}
    for name, method in ours.items():
        other = vars(AsyncClient)[name]
        assert inspect.signature(other).parameters == inspect.signature(method).parameters, name
        assert other.__doc__ == method.__doc__, name
    assert {name for name in vars(AsyncClient) if name[0] != "_"} == set(ours)
