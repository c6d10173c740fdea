"""Hosts of recordings: real HTTP and HTTPS servers that answer as they are told, well or badly."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trustme

#: Longest that a connection may last.
_SECONDS = 60.0


@dataclass(frozen=True)
class Asked:
    """A request that a host was sent."""

    path: str
    headers: dict[str, str]


@dataclass
class Host:
    """A host on this machine's loopback."""

    port: int
    scheme: str
    asked: list[Asked] = field(default_factory=list)
    #: Set when the context ends: whoever answers slowly stops.
    ended: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, *, name: str = "localhost") -> str:
        """Return an address at this host."""
        return f"{self.scheme}://{name}:{self.port}{path}"


#: Answers one request on a connection.
Answer = Callable[[Asked, socket.socket], None]


def whole(data: bytes, *headers: str) -> Answer:
    """Answer with these bytes, and with the rest of them where it is asked for that."""

    def answer(asked: Asked, connection: socket.socket) -> None:
        start = int(asked.headers.get("range", "bytes=0-")[len("bytes=") : -1])
        status = (
            f"206 Partial Content\r\nContent-Range: bytes {start}-{len(data) - 1}/{len(data)}" if start else "200 OK"
        )
        send(connection, status, data[start:], *headers)

    return answer


def said(status: str, *headers: str, body: bytes = b"") -> Answer:
    """Answer with this status."""
    return lambda _asked, connection: send(connection, status, body, *headers)


def redirect(location: str, status: str = "302 Found") -> Answer:
    """Lead on to another address."""
    return said(status, f"Location: {location}")


def in_turn(*answers: Answer) -> Answer:
    """Answer each request in another way."""
    turns = iter(answers)

    def answer(asked: Asked, connection: socket.socket) -> None:
        next(turns)(asked, connection)

    return answer


def send(connection: socket.socket, status: str, body: bytes, *headers: str) -> None:
    """Send an answer whose length is told unless the headers tell another."""
    lines = [f"HTTP/1.1 {status}", *headers, "Connection: close"]
    if not any(line.lower().startswith(("content-length:", "transfer-encoding:")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


def dripping(data: bytes, *, seconds: float, ended: threading.Event) -> Answer:
    """Send one byte, then another after so many seconds, until the host ends."""

    def answer(_asked: Asked, connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode())
        for byte in data:
            connection.sendall(bytes([byte]))
            if ended.wait(seconds):
                return

    return answer


@contextmanager
def hosting(answer: Answer, *, authority: trustme.CA | None = None, name: str = "localhost") -> Iterator[Host]:
    """Run a host until the context ends; with an authority it speaks TLS under this name."""
    context = None
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    host = Host(port=listener.getsockname()[1], scheme="https" if authority else "http")
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(_SECONDS)
            stream = connection if context is None else context.wrap_socket(connection, server_side=True)
            with stream:
                asked = _asked(stream)
                host.asked.append(asked)
                answer(asked, stream)
                _say_goodbye(stream)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=serve, args=(connection,), daemon=True)
            threads.append(thread)
            thread.start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield host
    finally:
        host.ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(10)
        for thread in threads:
            thread.join(10)


def trust_file(authority: trustme.CA, folder: Path) -> Path:
    """Write the authority's certificate where ``SSL_CERT_FILE`` may point."""
    path = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def _asked(stream: socket.socket) -> Asked:
    """Read one request without a body."""
    received = bytearray()
    until = time.monotonic() + _SECONDS
    while b"\r\n\r\n" not in received and time.monotonic() < until:
        piece = stream.recv(65536)
        if not piece:
            raise ConnectionError
        received += piece
    first, *lines = received.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    return Asked(path=first.split(" ")[1], headers={name.lower(): value for name, value in headers.items()})


def _say_goodbye(stream: socket.socket) -> None:
    """Wait until the other side has read everything: who closes before takes the answer back."""
    if not isinstance(stream, ssl.SSLSocket):
        stream.shutdown(socket.SHUT_WR)
    stream.settimeout(2)
    while stream.recv(65536):
        pass
