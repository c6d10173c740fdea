"""What a client may cost: the front's limits and deadlines, tried with plain sockets against a running server."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from batchscribe.web.limits import FrontLimits
from running_api import WAV, RunningApi, is_received, running_api

LIMITS = FrontLimits(
    max_header_bytes=8 << 10,
    max_headers=20,
    max_connections=20,
    header_seconds=1.0,
    idle_seconds=1.0,
    min_body_bytes_per_second=1000,
    body_window_seconds=0.6,
    write_stall_seconds=0.8,
    linger_seconds=1.0,
    linger_bytes=8 << 20,
)

FORM_HEADERS = b"POST /transcribe-batch-async HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
FILE_PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """Run one server with short deadlines for this module."""
    folder = tmp_path_factory.mktemp("api")
    with running_api(folder, limits=LIMITS, max_upload_bytes=64 << 20, upload_stall_seconds=20) as running:
        yield running


def read_to_end(connection: socket.socket) -> bytes:
    """Return all that the server says until it closes."""
    said = b""
    try:
        while data := connection.recv(65536):
            said += data
    except ConnectionResetError:
        pass
    return said


def talk(api: RunningApi, *pieces: bytes) -> bytes:
    """Send pieces, so that they arrive apart, and return all that the server says until it closes."""
    with api.connection() as connection:
        for number, piece in enumerate(pieces):
            time.sleep(0.05 if number else 0)
            connection.sendall(piece)
        return read_to_end(connection)


def refusal(said: bytes) -> tuple[int, str]:
    """Return status and sentence of a single refusal."""
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"x-error-code: " in head
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["error"]


def trickle(connection: socket.socket, data: bytes, pause_seconds: float) -> None:
    """Send byte by byte, as long as the server lets us."""
    try:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(pause_seconds)
    except OSError:
        pass


def test_a_header_that_never_ends_is_cut_and_costs_no_memory(api: RunningApi) -> None:
    """Three hundred million bytes of header are refused after some thousands."""
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    peak = before
    block = b"x" * (1 << 20)
    with api.connection() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nX-Long: ")
        sent = 0
        try:
            while sent < 300 << 20:
                sent += connection.send(block)
                peak = max(peak, process.memory_info().rss)
        except OSError:
            pass
        assert sent < 64 << 20
        said = read_to_end(connection)
    assert peak - before < 16 << 20
    assert said == b"" or refusal(said)[0] == 431


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Long: " + b"x" * 9000 + b"\r\n",
        b"X: y\r\n" * 30,
        b"".join(b"X-%d: %s\r\n" % (number, b"y" * 900) for number in range(12)),
    ],
)
def test_headers_over_the_limits_are_refused(api: RunningApi, headers: bytes) -> None:
    """In bytes or in number, even where they come at once and whole."""
    assert refusal(talk(api, b"GET /health HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"))[0] == 431


def test_a_first_line_over_the_limit_is_refused(api: RunningApi) -> None:
    """It counts as a header."""
    assert refusal(talk(api, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 431


def test_trailers_and_chunk_extensions_are_limited_as_headers_are(api: RunningApi) -> None:
    """Neither may be used to send without end what no body limit counts."""
    start = FORM_HEADERS + b"Transfer-Encoding: chunked\r\n\r\n"
    body = b"%x\r\n%s\r\n" % (len(FILE_PART), FILE_PART)
    trailers = b"0\r\n" + b"".join(b"X-%d: %s\r\n" % (number, b"y" * 900) for number in range(12))
    assert refusal(talk(api, start + body, trailers))[0] == 431
    assert refusal(talk(api, start + body, b"1;" + b"x" * 5000, b"x" * 5000))[0] == 431
    wait_for_no_uploads(api)


def test_headers_that_come_byte_by_byte_are_cut_at_the_deadline(api: RunningApi) -> None:
    """The deadline is for all of them together."""
    with api.connection() as connection:
        began_at = time.monotonic()
        sender = threading.Thread(target=trickle, args=(connection, b"GET /health HTTP/1.1\r\n" * 5, 0.05))
        sender.start()
        said = read_to_end(connection)
        assert 0.8 < time.monotonic() - began_at < 9
        sender.join()
    assert refusal(said)[0] == 408


def test_a_connection_that_says_nothing_is_closed(api: RunningApi) -> None:
    """Without a word; empty lines are nothing too."""
    assert talk(api) == b""
    with api.connection() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert is_received(b"healthy", connection)
        connection.sendall(b"\r\n")
        began_at = time.monotonic()
        read_to_end(connection)
        assert time.monotonic() - began_at < 9


def test_an_idle_connection_is_kept_for_a_while_and_then_closed(api: RunningApi) -> None:
    """A client that asks again in time finds it open."""
    with api.connection() as connection:
        for _ in range(3):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert is_received(b"healthy", connection)
            time.sleep(0.4)
        began_at = time.monotonic()
        assert read_to_end(connection) == b""
        assert time.monotonic() - began_at < 9


def test_a_body_that_comes_too_slowly_is_cut_and_leaves_nothing(api: RunningApi) -> None:
    """Whether it comes byte by byte or not at all."""
    for pause_seconds in (0.05, 30.0):
        with api.connection() as connection:
            connection.sendall(FORM_HEADERS + b"Content-Length: 100000\r\n\r\n" + FILE_PART + WAV)
            sender = threading.Thread(target=trickle, args=(connection, b"x" * 40, pause_seconds), daemon=True)
            sender.start()
            began_at = time.monotonic()
            said = read_to_end(connection)
            assert time.monotonic() - began_at < 9
        assert refusal(said)[0] == 408
    wait_for_no_uploads(api)


def test_a_long_body_at_a_fair_rate_is_not_cut(api: RunningApi) -> None:
    """It may take many windows."""
    with api.connection() as connection:
        body = FILE_PART + WAV + bytes(30_000) + b"\r\n--b--\r\n"
        connection.sendall(FORM_HEADERS + b"Content-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 1000):
            connection.sendall(body[start : start + 1000])
            time.sleep(0.06)
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_a_client_that_does_not_read_its_answer_is_cut(api: RunningApi) -> None:
    """It would hold the recording open for ever."""
    answer = requests.post(
        f"{api.base_url}/transcribe-batch-async", files={"file": ("a.wav", WAV + bytes(32 << 20))}, timeout=30
    )
    name = answer.json()["job_name"]
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", api.port))
        connection.settimeout(10)
        connection.sendall(b"GET /transcribe-job/%s/media HTTP/1.1\r\nHost: x\r\n\r\n" % name.encode())
        time.sleep(2.0)
        assert len(read_to_end(connection)) < 16 << 20


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"X-Folded: a\r\n b\r\n",
        b"X Space: a\r\n",
    ],
)
def test_a_request_whose_end_can_be_read_in_two_ways_is_refused(api: RunningApi, headers: bytes) -> None:
    """So that no proxy before us takes a part of its body for another request."""
    smuggled = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    said = talk(api, b"POST /transcribe-batch-async HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\nhello" + smuggled)
    assert refusal(said)[0] == 400
    assert b"healthy" not in said


def test_what_is_not_http_is_refused_in_the_contracts_shape(api: RunningApi) -> None:
    """TLS on a plain port, for instance."""
    assert refusal(talk(api, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10)) == (
        400,
        "The request is not valid HTTP.",
    )


def test_a_request_to_change_the_protocol_is_answered_in_this_one(api: RunningApi) -> None:
    """With its body, as ``curl --http2`` and Java send it: whole or in pieces, alone or followed by another."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    body = FILE_PART + WAV + bytes(100_000) + b"\r\n--b--\r\n"
    announced = FORM_HEADERS + upgrade + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunked = FORM_HEADERS + upgrade + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    bare = b"GET /health HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n"
    for request in (announced, chunked):
        for cut in (1, len(request) - len(body) - 30, len(request) - len(body), len(request) - 5, len(request)):
            said = talk(api, request[:cut], request[cut:] + bare + last)
            assert said.startswith(b"HTTP/1.1 201 ")
            assert said.count(b"HTTP/1.1 ") == 3
            assert said.index(b"healthy") < said.index(b"Not Found")
    said = talk(api, bare * 200 + last)
    assert said.count(b"healthy") == 200


def test_connections_over_the_cap_are_answered_503(api: RunningApi) -> None:
    """Those that are there go on."""
    crowd = [socket.create_connection(("127.0.0.1", api.port), timeout=30) for _ in range(LIMITS.max_connections)]
    try:
        time.sleep(0.2)
        assert refusal(talk(api)) == (503, "Too many connections.")
        crowd[0].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert is_received(b"healthy", crowd[0])
    finally:
        for connection in crowd:
            connection.close()
    time.sleep(0.2)


def test_a_client_that_only_sends_still_reads_why_it_was_refused(api: RunningApi) -> None:
    """``requests`` sends its whole body before it reads; the refusal comes at its first bytes."""
    answer = requests.post(
        f"{api.base_url}/transcribe-batch-async", files={"file": ("notes.txt", bytes(40 << 20))}, timeout=30
    )
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Unsupported file format: txt")
    wait_for_no_uploads(api)


def test_pipelined_requests_are_answered_in_order(api: RunningApi) -> None:
    """Each on its own."""
    one = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    said = talk(api, one * 5 + last)
    assert said.count(b"healthy") == 5
    assert said.rindex(b"healthy") < said.index(b"Not Found")


def test_a_client_that_hangs_up_leaves_nothing(api: RunningApi) -> None:
    """With a reset or without, in the middle of a file."""
    for is_reset in (False, True):
        before = api.job_count()
        with api.connection() as connection:
            connection.sendall(FORM_HEADERS + b"Content-Length: 3000000\r\n\r\n" + FILE_PART + WAV + bytes(2 << 20))
            deadline = time.monotonic() + 30
            while not api.unfinished_uploads() and time.monotonic() < deadline:
                time.sleep(0.02)
            if is_reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_for_no_uploads(api)
        assert api.job_count() == before


def test_waiting_clients_are_answered_when_the_server_stops(tmp_path: Path) -> None:
    """None of them sees a broken connection."""
    answers: list[requests.Response] = []
    with running_api(tmp_path / "api") as api:
        name = api.submit()
        ask = threading.Thread(target=lambda: answers.append(api.get(f"/transcribe-job/{name}?wait=30")))
        ask.start()
        time.sleep(0.5)
        began_at = time.monotonic()
        api.server.should_exit = True
        ask.join(30)
        assert time.monotonic() - began_at < 20
    assert [answer.json()["status"] for answer in answers] == ["QUEUED"]


def wait_for_no_uploads(api: RunningApi) -> None:
    """Fail unless what was received without becoming a job is soon gone."""
    deadline = time.monotonic() + 30
    while api.unfinished_uploads():
        assert time.monotonic() < deadline, "an upload was left"
        time.sleep(0.02)
