"""One HTTP connection: uvicorn's protocol with limits and deadlines, so that no client can hold or fill the server.

uvicorn itself has no limit on headers and no deadline for a request to arrive. Added here, by connection:

- a request's headers, with its first line and its trailers, are limited in bytes and number (431);
- they must have arrived before a deadline, and a body must keep a least rate (408);
- a client that does not read its answer is cut;
- after an answer that came before the request's end, what still arrives is thrown away for a while, so that a client
  that only sends can finish, or stop, and read the answer (RFC 9112, section 9.6);
- there are only so many connections (503).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from batchscribe.web.envelope import SECURITY_HEADERS
from batchscribe.web.errors import ERROR_CODE_HEADER, RETRY_AFTER_SECONDS

if TYPE_CHECKING:
    from uvicorn.server import ServerState


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLimits:
    """What one client, and all together, may cost."""

    max_header_bytes: int = 32 << 10
    max_headers: int = 100
    max_connections: int = 12_000
    #: Seconds from the connection, or from a request's first byte, to the end of its headers.
    header_seconds: float = 10.0
    #: Seconds that a connection may be idle between two requests.
    idle_seconds: float = 65.0
    #: A body must bring this many bytes a second, measured over each window.
    min_body_bytes_per_second: int = 1 << 10
    body_window_seconds: float = 30.0
    #: Seconds in which a client that has fallen behind must have read most of what waits for it.
    write_stall_seconds: float = 60.0
    #: What is thrown away after an early answer before the connection is closed.
    linger_seconds: float = 5.0
    linger_bytes: int = 64 << 20


class GuardedProtocol(HttpToolsProtocol):
    """One connection, with :class:`FrontLimits`."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: FrontLimits,
        on_shutdown: Callable[[], None],
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._on_shutdown = on_shutdown
        #: Runs while headers, or a body, are awaited.
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        #: Runs once no more is to be answered here.
        self._linger_timer: asyncio.TimerHandle | None = None
        self._linger_bytes = 0
        self._is_in_body = False
        self._body_bytes = 0
        self._was_body_held_back = False
        #: Bytes since the last that were a body's: headers, trailers, chunk extensions.
        self._quiet_bytes = 0
        self._header_bytes = 0
        self._header_count = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection, or refuse it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections:
            transport.write(_answer(HTTPStatus.SERVICE_UNAVAILABLE, "service_unavailable", "Too many connections."))
            transport.close()
        else:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        for timer in (self._read_timer, self._write_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        if self.transport.is_closing():
            return
        if self._linger_timer is not None:
            self._linger_bytes += len(data)
            if self._linger_bytes > self._limits.linger_bytes:
                self.transport.abort()
            return
        self._quiet_bytes += len(data)
        super().data_received(data)
        if self._linger_timer is not None or self.transport.is_closing():
            return
        if self._quiet_bytes > self._limits.max_header_bytes:
            self._refuse_headers()
        elif self._read_timer is None and self._is_in_body:
            self._await_body()
        elif self._read_timer is None and self._quiet_bytes:
            self._await_headers()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._header_bytes = self._header_count = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the first line."""
        self._header_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer after the body."""
        self._header_bytes += len(name) + len(value) + 4
        self._header_count += 1
        if not self._has_too_large_headers:
            super().on_header(name, value)
        elif self._is_in_body:
            self._refuse_headers()

    def on_headers_complete(self) -> None:
        """Begin to answer a request."""
        if self._linger_timer is not None:
            return
        if self._has_too_large_headers:
            self._refuse_headers()
            return
        self._stop_read_timer()
        self._quiet_bytes = 0
        self._is_in_body = True
        super().on_headers_complete()
        # The task that answers starts later, and closes the connection by way of this protocol.
        self.cycle.transport = cast("asyncio.Transport", _AnswerTransport(self.transport, self._close_after_answer))

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._linger_timer is not None:
            return
        self._quiet_bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)
        self._was_body_held_back |= self.flow.read_paused

    def on_message_complete(self) -> None:
        """End a request; what arrives from here on is the next."""
        self._quiet_bytes = 0
        self._is_in_body = False
        self._stop_read_timer()
        if self._linger_timer is None:
            super().on_message_complete()

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self._limits.write_stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's own words help no client
        """Answer what is not HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, "invalid_request", "The request is not valid HTTP.")

    def shutdown(self) -> None:
        """Close the connection when it has been answered; those who wait for a job are answered now."""
        self._on_shutdown()
        super().shutdown()

    @property
    def _has_too_large_headers(self) -> bool:
        limits = self._limits
        return self._header_bytes > limits.max_header_bytes or self._header_count > limits.max_headers

    def _refuse_headers(self) -> None:
        sentence = (
            f"The request's headers are over {self._limits.max_header_bytes} bytes or {self._limits.max_headers}."
        )
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", sentence)

    def _await_headers(self) -> None:
        self._read_timer = self.loop.call_later(self._limits.header_seconds, self._miss_headers)

    def _miss_headers(self) -> None:
        """Give up on headers; a connection that never said anything is closed without a word."""
        if self.flow.read_paused:
            # It is we who do not read, because requests sent before are not answered yet.
            self._await_headers()
        elif self._quiet_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The request did not arrive in time.")
        else:
            self.transport.close()

    def _await_body(self) -> None:
        self._body_bytes = 0
        self._was_body_held_back = False
        self._read_timer = self.loop.call_later(self._limits.body_window_seconds, self._check_body)

    def _check_body(self) -> None:
        """Give up on a body that comes too slowly, unless it was we who held it back."""
        least_bytes = self._limits.min_body_bytes_per_second * self._limits.body_window_seconds
        is_held_back = self._was_body_held_back or self.flow.read_paused
        if is_held_back or self._body_bytes >= least_bytes:
            self._await_body()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The request's body arrives too slowly.")

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _refuse(self, status: HTTPStatus, code: str, sentence: str) -> None:
        """Answer in the application's place and close; the request at hand, if any, sees the client gone."""
        if self._linger_timer is not None:
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or not self._is_in_body:
                # An answer is on its way; another cannot be put before it, nor into it.
                self.transport.abort()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(_answer(status, code, sentence))
        self._linger()

    def _close_after_answer(self) -> None:
        """Close the connection, without cutting off a client that still sends before it can read the answer."""
        if self._is_in_body:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Say that nothing more is sent, and throw away what arrives for a while."""
        self._stop_read_timer()
        self._linger_timer = self.loop.call_later(self._limits.linger_seconds, self.transport.close)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()


@dataclass(frozen=True, slots=True)
class _AnswerTransport:
    """The transport as the answering task sees it: to close it means to be done with the answer."""

    transport: asyncio.Transport
    close: Callable[[], None]

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.transport.write(data)

    def is_closing(self) -> bool:
        """Whether the connection is closed or about to be."""
        return self.transport.is_closing()


def _answer(status: HTTPStatus, code: str, sentence: str) -> bytes:
    """Return a whole answer in the contract's shape, as bytes."""
    body = json.dumps({"error": sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (ERROR_CODE_HEADER.lower().encode(), code.encode()),
        *SECURITY_HEADERS,
    ]
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[status] + lines + b"\r\n" + body
