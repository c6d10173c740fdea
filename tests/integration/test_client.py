# ruff: noqa: F811 - fixtures are imported where they are asked for
"""Both clients over real connections: what they send and how they read answers."""

from __future__ import annotations

import inspect
import io
import os
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from client_kinds import client, make_client, script  # noqa: F401 - fixtures
from contract_server import Script, contract_server

from batchscribe.client import (
    AsyncClient,
    Client,
    ClientError,
    JobStatus,
    ServerRefused,
    ServerUnreachable,
    UnexpectedAnswer,
)
from batchscribe.client.answers import job_from_json


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


def test_what_was_identified_is_read() -> None:
    """The score of one language; the seconds of several, the longest first."""
    told = {"job_name": "transcribe-1", "status": "COMPLETED", "language_code": "es-MX"}
    one = job_from_json(told | {"identify_language": True, "identified_language_score": 0.93})
    assert (one.language_code, one.identified_language_score, one.language_codes) == ("es-MX", 0.93, ())
    codes = [
        {"language_code": "es-MX", "duration_in_seconds": 12.5},
        {"language_code": "en-US", "duration_in_seconds": 3},
    ]
    several = job_from_json(told | {"identify_multiple_languages": True, "language_codes": codes})
    assert several.language_codes == (("es-MX", 12.5), ("en-US", 3.0))
    assert several.identified_language_score is None
