"""A server that speaks the contract by rote and misbehaves on request, for tests of how clients bear it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CREATED = "2026-02-05T10:30:00.123456"


@dataclass
class Script:
    """What the server does. A job ends once it has been asked for ``asks_until_end`` times."""

    asks_until_end: int = 1
    failure_reason: str | None = None
    #: Whether the server keeps a question with ``?wait=`` open, up to this many seconds.
    longest_wait_seconds: float = 0.0
    #: Answer so many of the next questions by hanging up, or with the status.
    hang_ups: int = 0
    unavailable: int = 0
    #: Answer everything with a page of HTML.
    is_something_else: bool = False
    #: Jobs in the list, and whether ``next_token`` is read when it comes back.
    listed: int = 0
    reads_next_token: bool = True
    media: bytes = b"RIFF"
    #: Hang up after so many bytes of the recording.
    cut_media_at: int | None = None
    #: What came in.
    paths: list[str] = field(default_factory=list)
    uploads: list[bytes] = field(default_factory=list)
    uploaded_bytes: int = 0
    authorizations: list[str | None] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        script = self.server.script
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        script.paths.append(f"{self.command} {self.path}")
        script.authorizations.append(self.headers["Authorization"])
        body = b"".join(self._body(script))
        if script.hang_ups:
            script.hang_ups -= 1
            self.close_connection = True
        elif script.unavailable:
            script.unavailable -= 1
            self._answer(503, {"error": "The database does not answer at present."})
        elif script.is_something_else:
            self._send(200, "text/html", b"<html>A printer</html>")
        elif parts.path == "/transcribe-batch-async":
            script.uploads.append(body)
            self._answer(201, {"job_name": "transcribe-1", "status": "IN_PROGRESS", "language_code": "en-US"})
        elif parts.path == "/transcribe-jobs":
            self._answer(200, self._list(script, query))
        elif parts.path == "/health":
            self._answer(200, {"status": "healthy"})
        elif "unknown" in parts.path:
            message = "The transcription job does not exist or has been deleted."
            self._answer(404, {"error": "Job not found: unknown", "message": message}, code="job_not_found")
        elif parts.path.endswith("/transcript"):
            self._send(200, "text/plain; charset=utf-8", f"the words as {query['format']} à\n".encode())
        elif parts.path.endswith("/media"):
            self._send(200, "audio/wav", script.media, cut_at=script.cut_media_at)
        elif self.command != "GET":
            self._answer(200, {})
        else:
            self._answer(200, self._job(script, parts.path.rpartition("/")[2], query))

    def _job(self, script: Script, name: str, query: dict[str, str]) -> dict[str, Any]:
        script.asked[name] = script.asked.get(name, 0) + 1
        job: dict[str, Any] = {"job_name": name, "language_code": "en-US", "creation_time": CREATED}
        if script.asked[name] <= script.asks_until_end:
            time.sleep(min(float(query.get("wait", 0)), script.longest_wait_seconds))
        if script.asked[name] < script.asks_until_end:
            return job | {"status": "IN_PROGRESS", "progress": 0.25, "media_duration_seconds": 60.0}
        if script.failure_reason:
            return job | {"status": "FAILED", "failure_reason": script.failure_reason}
        return job | {"status": "COMPLETED", "transcript": "the words", "completion_time": f"{CREATED}+00:00"}

    def _list(self, script: Script, query: dict[str, str]) -> dict[str, Any]:
        first = int(query.get("next_token", 0)) if script.reads_next_token else 0
        last = min(script.listed, first + int(query["max_results"]))
        jobs = [
            {"job_name": f"transcribe-{n}", "status": "COMPLETED", "language_code": "en-US", "creation_time": CREATED}
            for n in range(first, last)
        ]
        token = {"next_token": str(last)} if last < script.listed else {}
        return {"jobs": jobs, "count": len(jobs)} | token

    def _body(self, script: Script) -> Iterator[bytes]:
        """Read the request's body, of which small ones are kept."""
        if self.headers["Transfer-Encoding"] == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers["Content-Length"] or 0)
        is_kept = left < 1 << 20
        while left:
            block = self.rfile.read(min(left, 1 << 16))
            left -= len(block)
            script.uploaded_bytes += len(block)
            if is_kept:
                yield block

    def _answer(self, status: int, data: dict[str, Any], *, code: str = "") -> None:
        self._send(status, "application/json", json.dumps(data).encode(), code=code)

    def _send(self, status: int, content_type: str, body: bytes, *, cut_at: int | None = None, code: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut_at])
        self.close_connection = cut_at is not None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    script: Script

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._connections: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and remember it."""
        connection, address = super().get_request()
        self._connections.append(connection)
        return connection, address

    def hang_up(self) -> None:
        """Break every connection, as the end of a process does."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about connections that break."""


@contextmanager
def contract_server(script: Script, *, port: int = 0) -> Iterator[str]:
    """Serve by the script on a free port, or on ``port``, and yield the address."""
    server = _Server(port)
    server.script = script
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.hang_up()
        server.server_close()
        thread.join()
