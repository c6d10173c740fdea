"""The HTTP front: uvicorn's protocol with limits and deadlines, so that no client can hold it or fill its memory.

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
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from batchscribe.web.envelope import SECURITY_HEADERS
from batchscribe.web.errors import ERROR_CODE_HEADER, RETRY_AFTER_SECONDS

if TYPE_CHECKING:
    from fastapi import FastAPI
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
        #: Runs while headers, or a body, are awaited: never both.
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._has_partial_request = False
        self._is_in_body = False
        self._body_bytes = 0
        #: Bytes since the last that were a body's: headers, trailers, chunk extensions.
        self._quiet_bytes = 0
        self._header_bytes = 0
        self._header_count = 0
        self._linger_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection, or refuse it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "service_unavailable", "Too many connections.")
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
        if self.transport.is_closing() or self._linger_timer is not None:
            return
        if self._quiet_bytes > self._limits.max_header_bytes:
            self._refuse_headers()
        elif self._quiet_bytes and not self._is_in_body and self._read_timer is None:
            self._await_headers()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._header_bytes = self._header_count = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the first line."""
        self._header_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer after the body."""
        self._header_bytes += len(name) + len(value) + 4
        self._header_count += 1
        if self._are_headers_too_large():
            return
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer a request."""
        if self._are_headers_too_large():
            self._refuse_headers()
            return
        self._stop_read_timer()
        self._quiet_bytes = 0
        self._is_in_body = True
        super().on_headers_complete()
        # The task that answers starts only later; it then closes the connection by way of this protocol.
        self.cycle.transport = cast("asyncio.Transport", _AnswerTransport(self.transport, self._close_after_answer))

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._quiet_bytes = 0
        if self._read_timer is None:
            self._await_body()
        self._body_bytes += len(body)
        super().on_body(body)
