"""Uploads to a running server: every way in which one can end, and what is left of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from batchscribe.errors import StorageFull
from batchscribe.web.uploads import FORM_OVERHEAD_BYTES
from running_api import WAV, RunningApi, running_api

SUBMIT = "/transcribe-batch-async"
MAX_BYTES = 1 << 20
FORM_TYPE = {"Content-Type": "multipart/form-data; boundary=b"}
FILE_PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """Run one server with a low limit and little patience for this module."""
    with running_api(tmp_path_factory.mktemp("api"), max_upload_bytes=MAX_BYTES, upload_stall_seconds=0.5) as running:
        yield running


def post(api: RunningApi, **options: Any) -> requests.Response:
    """Ask with POST."""
    return requests.post(api.base_url + SUBMIT, timeout=30, **options)


def code(answer: requests.Response) -> tuple[int, str]:
    """Return status and code of a refusal."""
    assert answer.json().keys() == {"error"}
    return answer.status_code, answer.headers["X-Error-Code"]


def wait_for_no_uploads(api: RunningApi) -> None:
    """Fail unless what was received without becoming a job is soon gone."""
    deadline = time.monotonic() + 30
    while api.unfinished_uploads():
        assert time.monotonic() < deadline, "an upload was left"
        time.sleep(0.02)


def test_a_recording_as_large_as_the_limit_is_stored_byte_for_byte(api: RunningApi) -> None:
    """With its length announced, and in chunks without one."""
    content = (WAV + bytes(MAX_BYTES))[:MAX_BYTES]
    body = FILE_PART + content + b"\r\n--b--\r\n"
    blocks = (body[start : start + 50_000] for start in range(0, len(body), 50_000))
    for data in (body, blocks):
        answer = post(api, data=data, headers=FORM_TYPE)
        assert answer.status_code == 201
        assert api.get(f"/transcribe-job/{answer.json()['job_name']}/media").content == content
    assert api.unfinished_uploads() == []


@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize("extra_bytes", [1, 8 << 20])
def test_a_recording_over_the_limit_is_a_413_that_leaves_nothing(
    api: RunningApi, is_announced: bool, extra_bytes: int
) -> None:
    """Whether or not its length is announced."""
    before = api.job_count()
    content = WAV + bytes(MAX_BYTES + extra_bytes - len(WAV))
    body = FILE_PART + content + b"\r\n--b--\r\n"
    answer = post(api, data=body if is_announced else iter([body]), headers=FORM_TYPE)
    assert code(answer) == (413, "upload_too_large")
    wait_for_no_uploads(api)
    assert api.job_count() == before


def test_a_length_over_the_limit_is_refused_before_any_of_the_body(api: RunningApi) -> None:
    """A client that asks first, with ``Expect: 100-continue``, sends none of it."""
    length = MAX_BYTES + FORM_OVERHEAD_BYTES + 1
    lines = f"POST {SUBMIT} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    with api.connection() as connection:
        connection.sendall(f"{lines}Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_endless_fields_that_are_no_recording_are_refused_too(api: RunningApi) -> None:
    """The limit on the body counts what stands before the form begins."""
    answer = post(api, data=iter([b"x" * (1 << 20)] * 8), headers=FORM_TYPE)
    assert code(answer) == (413, "upload_too_large")


def test_an_upload_that_stalls_is_a_408_that_leaves_nothing(api: RunningApi) -> None:
    """After the server's patience, and not much later."""
    lines = f"POST {SUBMIT} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    began_at = time.monotonic()
    with api.connection() as connection:
        connection.sendall(f"{lines}Content-Length: 100000\r\n\r\n".encode() + FILE_PART + WAV)
        said = connection.recv(65536)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"upload_too_slow" in said
    assert 0.4 < time.monotonic() - began_at < 15
    wait_for_no_uploads(api)


def test_a_form_cut_short_is_refused_and_leaves_nothing(api: RunningApi) -> None:
    """A proxy may end a request that its client did not."""
    before = api.job_count()
    assert code(post(api, data=FILE_PART + WAV, headers=FORM_TYPE)) == (400, "invalid_request")
    with api.connection() as connection:
        lines = f"POST {SUBMIT} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        connection.sendall(f"{lines}Content-Length: 100000\r\n\r\n".encode() + FILE_PART + WAV)
        connection.shutdown(socket.SHUT_WR)
        assert b" 201 " not in connection.recv(65536)
    wait_for_no_uploads(api)
    assert api.job_count() == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "multipart/form-data; boundary="},
        {"Content-Type": "multipart/mixed; boundary=b"},
        {"Content-Type": "audio/wav"},
        {"Content-Type": "multipart/form-data; boundary=" + "b" * 71},
        {"Content-Type": b"multipart/form-data; boundary=\xe9\xff"},
        FORM_TYPE | {"Content-Encoding": "gzip"},
    ],
)
def test_a_body_that_is_no_plain_form_is_a_400(api: RunningApi, headers: dict[str, str]) -> None:
    """Compressed ones among them: they would only hide their size."""
    assert code(post(api, data=FILE_PART + WAV + b"\r\n--b--\r\n", headers=headers)) == (400, "invalid_request")


def test_a_full_disk_is_a_507_before_the_body_is_read(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that fills up meanwhile is a 507 that leaves nothing."""

    def full(*_arguments: object, **_options: object) -> None:
        raise StorageFull("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(api.service, "begin_upload", full)
        assert code(post(api, files={"file": ("a.wav", WAV)})) == (507, "storage_full")
    with monkeypatch.context() as patched:
        patched.setattr("batchscribe.storage.folder.FolderUpload.write", full)
        assert code(post(api, files={"file": ("a.wav", WAV)})) == (507, "storage_full")
    wait_for_no_uploads(api)


def test_a_path_in_a_file_name_leads_nowhere(api: RunningApi, tmp_path: Path) -> None:
    """The recording lies under a name of ours."""
    before = {path for path in tmp_path.parent.rglob("*") if "evil" in path.name}
    answer = post(api, files={"file": ("../../../evil.wav", WAV)})
    assert answer.json()["s3_url"].endswith(f"/{answer.json()['job_name']}.wav")
    assert {path for path in tmp_path.parent.rglob("*") if "evil" in path.name} == before


def test_many_uploads_at_once_all_arrive(api: RunningApi) -> None:
    """Each with its own bytes."""
    opened = [socket.create_connection(("127.0.0.1", api.port), timeout=30) for _ in range(16)]
    bodies = [FILE_PART + WAV + bytes([number]) * 50_000 + b"\r\n--b--\r\n" for number in range(16)]
    lines = f"POST {SUBMIT} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    for connection, body in zip(opened, bodies, strict=True):
        connection.sendall(f"{lines}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    for start in range(0, len(bodies[0]), 10_000):
        for connection, body in zip(opened, bodies, strict=True):
            connection.sendall(body[start : start + 10_000])
    for number, connection in enumerate(opened):
        said = b"".join(iter(lambda connection=connection: connection.recv(65536), b""))  # type: ignore[misc]
        connection.close()
        name = said.partition(b'"job_name":"')[2][:47].decode()
        media = api.get(f"/transcribe-job/{name}/media").content
        assert media == WAV + bytes([number]) * 50_000
