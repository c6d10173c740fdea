"""One HTTP connection: uvicorn's protocol with limits and deadlines, so that no client can hold or fill the server.

Added to uvicorn, which has none of it:

- a request's headers, with its first line and its trailers, are limited in bytes and number (431);
- they must have arrived before a deadline, and a body must keep a least rate (408);
- a client that does not read its answer is cut, and there are only so many connections (503);
- after an answer that came before the request's end, what still arrives is thrown away for a while, so that a client
  that only sends can finish, or stop, and read the answer (RFC 9112, section 9.6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from batchscribe.web.answer_transport import AnswerTransport
from batchscribe.web.envelope import error_answer_bytes
from batchscribe.web.later import CONNECTION
from batchscribe.web.limits import FrontLimits
from batchscribe.web.parsing import parser_in_body

if TYPE_CHECKING:
    from uvicorn.server import ServerState


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
        self._tell_of_loss: Callable[[], None] | None = None
        self._is_in_body = False
        self._is_led = False  # while a parser reads headers that were read before
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
            transport.write(
                error_answer_bytes(HTTPStatus.SERVICE_UNAVAILABLE, "service_unavailable", "Too many connections.")
            )
            transport.close()
        else:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        for timer in (self._read_timer, self._write_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        if self._tell_of_loss is not None:
            self._tell_of_loss()

    def when_lost(self, tell: Callable[[], None]) -> None:
        """See :class:`batchscribe.web.later.Connection`."""
        self._tell_of_loss = tell
        if self.transport.is_closing():
            tell()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        if self.transport.is_closing():
            return
        if self._linger_timer is not None:
            self._linger_bytes += len(data)
            if self._linger_bytes > self._limits.linger_bytes:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        while rest:
            # No more of what may be too large a header is read than is needed to know it.
            room = len(rest) if self._is_in_body else self._limits.max_header_bytes + 1 - self._quiet_bytes
            piece, rest = rest[:room], rest[room:]
            self._quiet_bytes += len(piece)
            self._parse(piece)
            if self._linger_timer is not None or self.transport.is_closing():
                return
            if self._quiet_bytes > self._limits.max_header_bytes:
                self._refuse_headers()
                return
        if self._read_timer is None and self._is_in_body:
            self._await_body()
        elif self._read_timer is None and self._quiet_bytes:
            self._await_headers()

    def _parse(self, data: memoryview) -> None:
        """Have the parser read, beyond any wish to change to another protocol: it is not granted."""
        while data and self._linger_timer is None and not self.transport.is_closing():
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._resume_body()
            except httptools.HttpParserError:
                self.send_400_response("")
                return
            else:
                return

    def _resume_body(self) -> None:
        """Go on with the body of a request that wished to change to another protocol, as ``curl --http2`` does.

        The parser takes such a request for one without a body. So another parser is led to where the body begins.
        """
        framing = [header for header in self.headers if header[0] in {b"content-length", b"transfer-encoding"}]
        if self._linger_timer is not None or framing in ([], [(b"content-length", b"0")]):
            return
        self._is_led = True
        self.parser = parser_in_body(self, framing)
        self._is_led = False
        self._is_in_body = True
        # The task that answers has not begun yet: it has not seen that the body was taken for finished.
        self.cycle.more_body = True
        self.cycle.message_event.clear()

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._is_led:
            return
        self._header_bytes = self._header_count = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the first line."""
        if self._is_led:
            return
        self._header_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer after the body."""
        if self._is_led:
            return
        self._header_bytes += len(name) + len(value) + 4
        self._header_count += 1
        if not self._has_too_large_headers:
            super().on_header(name, value)
        elif self._is_in_body:
            self._refuse_headers()

    def on_headers_complete(self) -> None:
        """Begin to answer a request."""
        if self._is_led or self._linger_timer is not None:
            return
        if self._has_too_large_headers:
            self._refuse_headers()
            return
        self._stop_read_timer()
        self._quiet_bytes = 0
        self._is_in_body = True
        cast("dict[str, object]", self.scope)[CONNECTION] = self
        super().on_headers_complete()
        # The task that answers starts later, and closes the connection by way of this protocol.
        self.cycle.transport = cast("asyncio.Transport", AnswerTransport(self.transport, self._close_after_answer))

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

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Answer what is not HTTP, in better words than the parser's."""
        self._refuse(HTTPStatus.BAD_REQUEST, "invalid_request", "The request is not valid HTTP.")

    def shutdown(self) -> None:
        """Close the connection when it has been answered; those who wait for a job are answered now."""
        self._on_shutdown()
        super().shutdown()

    @property
    def _has_too_large_headers(self) -> bool:
        return self._header_bytes > self._limits.max_header_bytes or self._header_count > self._limits.max_headers

    def _refuse_headers(self) -> None:
        most, most_bytes = self._limits.max_headers, self._limits.max_header_bytes
        sentence = f"The request has more than {most} headers, or {most_bytes} bytes of them."
        # Who sends so much has no end in sight: to read on would be work, and to leave it lie slows the sender down.
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", sentence, reads_on=False)

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
        if self._was_body_held_back or self.flow.read_paused or self._body_bytes >= least_bytes:
            self._await_body()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The request's body arrives too slowly.")

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _refuse(self, status: HTTPStatus, code: str, sentence: str, *, reads_on: bool = True) -> None:
        """Answer in the application's place and close; the request at hand, if any, sees the client gone."""
        cycle = self.cycle
        if self._linger_timer is not None:
            return
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or not self._is_in_body:
                # An answer is on its way; another cannot be put before it, nor into it.
                self.transport.abort()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(error_answer_bytes(status, code, sentence))
        self._linger(reads_on=reads_on)

    def _close_after_answer(self) -> None:
        """Close the connection, without cutting off a client that still sends before it can read the answer."""
        if self._is_in_body:
            self._linger()
        else:
            self.transport.close()

    def _linger(self, *, reads_on: bool = True) -> None:
        """Say that nothing more is sent; for a while throw away what arrives, or leave it unread."""
        self._stop_read_timer()
        seconds = self._limits.linger_seconds if reads_on else self._limits.unread_linger_seconds
        self._linger_timer = self.loop.call_later(seconds, self.transport.close)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if reads_on:
            self.flow.resume_reading()
        else:
            self.flow.pause_reading()
