"""A way to an HTTP server that does what networks and busy servers do: errors, silence, resets, cut and bent bodies."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import urlsplit

#: As many requests as come.
ALWAYS = 1 << 30


class Kind(Enum):
    """What happens to a request."""

    #: Answered with the fault's status and body; the server is not asked.
    ANSWER = auto()
    #: Nothing for the fault's seconds, then as if nothing had happened.
    SILENCE = auto()
    #: The connection is reset before the answer; the server has done what was asked.
    RESET_BEFORE_ANSWER = auto()
    #: Half of the answer's body, then a reset.
    RESET_IN_BODY = auto()
    #: Half of the answer's body, then the end.
    CUT_BODY = auto()
    #: One bit of the request's body is another.
    BENT_REQUEST = auto()
    #: The answer's ETag is of something else.
    WRONG_ETAG = auto()


@dataclass
class Fault:
    """What happens to the next requests that fit."""

    kind: Kind
    #: A regular expression that is looked for in ``"GET /bucket/key?query"``.
    request: str = ""
    times: int = ALWAYS
    status: int = 503
    code: str = "SlowDown"
    seconds: float = 0.0


@dataclass
class FaultProxy:
    """A running proxy."""

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    #: Every request so far, as faults name them, with its time in seconds of the event loop's clock.
    requests: list[tuple[float, str]] = field(default_factory=list)

    def fail(self, kind: Kind, request: str = "", **how: object) -> None:
        """Do this to the requests that fit, from now on."""
        self.faults.append(Fault(kind, request, **how))  # type: ignore[arg-type]

    def count(self, request: str = "") -> int:
        """Return how many requests fitted."""
        return sum(1 for _, line in self.requests if re.search(request, line))

    def fault_for(self, line: str) -> Fault | None:
        """Return what to do to a request, once."""
        for fault in self.faults:
            if fault.times and re.search(fault.request, line):
                fault.times -= 1
                return fault
        return None


@contextmanager
def fault_proxy(server: str) -> Iterator[FaultProxy]:
    """Run a proxy before a server (``http://host:port``), in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = FaultProxy(endpoint=f"http://127.0.0.1:{listener.getsockname()[1]}")
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(_serve(proxy, listener, server, stopping)), name="fault proxy"
    )
    thread.start()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(20)
        loop.close()


async def _serve(proxy: FaultProxy, listener: socket.socket, server: str, stopping: asyncio.Event) -> None:
    """Serve until told to stop, then drop every connection."""
    open_connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_connections.add(task)
        try:
            # A client that hangs up, and the proxy's own end, are no faults of the test.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await _exchange(proxy, server, reader, writer)
        finally:
            writer.close()
            open_connections.discard(task)

    running = await asyncio.start_server(connected, sock=listener, limit=1 << 20)
    await stopping.wait()
    running.close()
    waiting = list(open_connections)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def _exchange(proxy: FaultProxy, server: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass one request and its answer on; each connection carries one."""
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(_length(head))
    line = " ".join(head.decode("latin-1").split(" ", 2)[:2])
    proxy.requests.append((asyncio.get_running_loop().time(), line))
    fault = proxy.fault_for(line)
    kind = fault.kind if fault else None
    if fault and kind is Kind.ANSWER:
        writer.write(_error_answer(fault))
        await writer.drain()
        return
    if fault and kind is Kind.SILENCE:
        await asyncio.sleep(fault.seconds)
    if kind is Kind.BENT_REQUEST:
        body = bytes([body[0] ^ 1]) + body[1:]
    answer_head, answer_body = await _ask(server, head, body)
    if kind is Kind.WRONG_ETAG:
        answer_head = re.sub(rb"(?i)(etag: ?\"?)[0-9a-f]+", rb"\g<1>" + b"0" * 32, answer_head)
    if kind is Kind.RESET_BEFORE_ANSWER:
        _reset(writer)
        return
    if kind in {Kind.RESET_IN_BODY, Kind.CUT_BODY}:
        writer.write(answer_head + answer_body[: len(answer_body) // 2])
        await writer.drain()
        # What was sent before is read first.
        await asyncio.sleep(0.05)
        if kind is Kind.RESET_IN_BODY:
            _reset(writer)
        return
    writer.write(answer_head + answer_body)
    await writer.drain()


async def _ask(server: str, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Return the server's answer, whole."""
    address = urlsplit(server)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(_closing(head) + body)
        await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
    answer_head, _, answer_body = answer.partition(b"\r\n\r\n")
    return _closing(answer_head + b"\r\n\r\n"), answer_body


def _closing(head: bytes) -> bytes:
    """Return a head that says that its connection ends with it."""
    kept = re.sub(rb"(?im)^connection:.*\r\n", b"", head)
    return kept.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"


def _length(head: bytes) -> int:
    found = re.search(rb"(?im)^content-length: *(\d+)", head)
    return int(found[1]) if found else 0


def _error_answer(fault: Fault) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>Not now.</Message></Error>".encode()
    head = f"HTTP/1.1 {fault.status} Fault\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a dying machine does."""
    opened: socket.socket = writer.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
