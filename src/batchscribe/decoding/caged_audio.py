"""One recording on its way out of its decoder child, as the parent reads it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import NoReturn

from batchscribe.decoding.messages import (
    EXIT,
    HEADER,
    Kind,
    channels_of,
    decode_error,
    decode_info,
    longest_payload,
    plain_text,
)
from batchscribe.decoding.sandbox import cpu_seconds_for
from batchscribe.domain.media import MediaInfo
from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ
from batchscribe.errors import DecoderCrashed, DecoderLimit

_END_SECONDS = 5.0
#: Warnings kept of one recording; the child sends two at most, so more is a child gone wrong.
_MOST_WARNINGS = 20

CRASHED = "The decoder crashed on this recording: it is probably damaged. Upload an undamaged copy, or another format."
_TOO_SLOW = "Decoding this recording takes more time than is allowed: it is probably damaged. Upload an undamaged copy."


class ServerLost(DecoderCrashed):
    """The fork server is gone, and the child with it: not the recording's doing."""

    retryable = True


class CagedAudio:
    """A recording on its way out of a child; satisfies :class:`batchscribe.domain.ports.DecodedAudio`.

    Whatever the child sends is checked: it has read untrusted bytes, and may be under their control.
    """

    info: MediaInfo
    channels: int

    def __init__(
        self,
        output: socket.socket,
        status: socket.socket,
        *,
        max_seconds: float,
        stall_seconds: float,
        channels_apart: bool = False,
    ) -> None:
        self.warnings: list[str] = []
        self._output, self._status = output, status
        self._stall_seconds = stall_seconds
        self._wait_status_seen: int | None = None
        #: Waiting that is left in all, however steadily the child trickles: three times its processor time.
        self._patience_seconds = 3.0 * cpu_seconds_for(max_seconds)
        self._most_bytes = int((max_seconds + 2) * SAMPLE_RATE_HERTZ) * BYTES_PER_SAMPLE
        self._is_over = False
        with contextlib.ExitStack() as unless_described:
            unless_described.callback(self.end)
            kind, payload = self._receive()
            self.info = self._checked_info(kind, payload)
            self.channels = channels_of(self.info) if channels_apart else 1
            self._most_bytes *= self.channels
            unless_described.pop_all()

    def blocks(self) -> Iterator[bytes]:
        """Yield the PCM; see :meth:`batchscribe.domain.ports.DecodedAudio.blocks`. Once only."""
        received_bytes = 0
        while not self._is_over:
            kind, payload = self._receive()
            if kind is Kind.PCM:
                received_bytes += len(payload)
                if len(payload) % (BYTES_PER_SAMPLE * self.channels) or received_bytes > self._most_bytes:
                    raise DecoderCrashed(CRASHED)
                yield payload
            elif kind is Kind.WARNING and len(self.warnings) < _MOST_WARNINGS:
                self.warnings.append(plain_text(payload.decode(errors="replace")))
            elif kind is Kind.DONE:
                self._is_over = True
            else:
                raise DecoderCrashed(CRASHED)

    def end(self) -> None:
        """Kill the child if it still lives, wait until it is gone, and free everything. Harmless twice."""
        self._is_over = True
        if self._output.fileno() == -1:
            return
        self._output.close()
        with contextlib.suppress(OSError):
            # The fork server takes this as the order to kill.
            self._status.shutdown(socket.SHUT_WR)
        self._wait_status()
        self._status.close()

    def _checked_info(self, kind: Kind, payload: bytes) -> MediaInfo:
        if kind is not Kind.INFO:
            raise DecoderCrashed(CRASHED)
        try:
            return decode_info(payload)
        except ValueError as error:
            raise DecoderCrashed(CRASHED) from error

    def _receive(self) -> tuple[Kind, bytes]:
        """Return the next message. Raises what an ERROR says, or what the child's end means."""
        deadline = time.monotonic() + min(self._stall_seconds, self._patience_seconds)
        started_at = time.monotonic()
        try:
            number, length = HEADER.unpack(self._receive_exactly(HEADER.size, deadline))
            kind = Kind(number)
            if length > longest_payload(kind):
                raise DecoderCrashed(CRASHED)
            payload = self._receive_exactly(length, deadline)
            if kind is Kind.ERROR:
                raise decode_error(payload)
        except TimeoutError as error:
            raise DecoderLimit(_TOO_SLOW) from error
        except ValueError as error:
            raise DecoderCrashed(CRASHED) from error
        except (EOFError, ConnectionResetError):
            self._raise_for_end()
        self._patience_seconds -= time.monotonic() - started_at
        return kind, payload

    def _receive_exactly(self, count: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            self._output.settimeout(remaining)
            received = self._output.recv(count - len(data))
            if not received:
                raise EOFError
            data += received
        return bytes(data)

    def _wait_status(self) -> int | None:
        """Return the child's wait status once it has ended, or None where the fork server does not tell."""
        if self._wait_status_seen is None:
            self._status.settimeout(_END_SECONDS)
            try:
                told = self._status.recv(EXIT.size)
            except (TimeoutError, ConnectionResetError):
                told = b""
            if len(told) == EXIT.size:
                self._wait_status_seen = EXIT.unpack(told)[0]
        return self._wait_status_seen

    def _raise_for_end(self) -> NoReturn:
        """Raise what the child's end without a last word means."""
        wait_status = self._wait_status()
        if wait_status is None:
            raise ServerLost(CRASHED)
        if os.WIFSIGNALED(wait_status) and os.WTERMSIG(wait_status) == signal.SIGXCPU:
            raise DecoderLimit(_TOO_SLOW)
        raise DecoderCrashed(CRASHED)
