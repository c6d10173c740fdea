"""What a fetch takes in on its way into the store, and the limits of its time and speed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

from batchscribe.domain.media import SNIFF_BYTES
from batchscribe.domain.ports import Upload
from batchscribe.errors import MediaUnreachable

#: Bytes that are gathered before they are written.
SLICE_BYTES = 1 << 20
#: How often progress is stored.
NOTE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """What a fetch may take."""

    max_bytes: int
    #: One try.
    seconds: float = 2 * 3600.0
    #: Least bytes a second, over each window of so many seconds.
    least_bytes_a_second: float = 4096.0
    window_seconds: float = 30.0
    #: How long after the first failure a host is asked again that answers, but not with the recording; and one that
    #: takes no connection.
    patience: timedelta = timedelta(minutes=30)
    patience_unreached: timedelta = timedelta(seconds=75)
    #: The first pause between tries, which double, and the longest.
    first_pause_seconds: float = 2.0
    longest_pause_seconds: float = 120.0


@dataclass(kw_only=True)
class Intake:
    """Gathers bytes on their way into the store, and keeps the first ones."""

    upload: Upload
    head: bytes = b""
    received_bytes: int = 0
    _gathered: bytearray | None = None

    def write(self, piece: bytes) -> None:
        """Take bytes. Raises what the upload raises."""
        self.received_bytes += len(piece)
        if len(self.head) < SNIFF_BYTES:
            self.head += piece[: SNIFF_BYTES - len(self.head)]
        self._gathered = self._gathered or bytearray()
        self._gathered += piece
        if len(self._gathered) >= SLICE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand on what was gathered."""
        if self._gathered:
            self.upload.write(bytes(self._gathered))
            self._gathered = None


class Watch:
    """Looks after one try's time and speed."""

    def __init__(self, limits: FetchLimits) -> None:
        """Begin to look."""
        self._limits = limits
        self._began_at = self._window_at = self._noted_at = time.monotonic()
        self._window_bytes = 0

    def check(self, received_bytes: int) -> None:
        """Raise MediaUnreachable where it takes too long."""
        now, limits = time.monotonic(), self._limits
        if now - self._began_at > limits.seconds:
            raise MediaUnreachable(f"The recording did not arrive within {limits.seconds:g} seconds.")
        if now - self._window_at < limits.window_seconds:
            return
        if received_bytes - self._window_bytes < limits.least_bytes_a_second * limits.window_seconds:
            raise MediaUnreachable(f"The host sends less than {limits.least_bytes_a_second:g} bytes a second.")
        self._window_at, self._window_bytes = now, received_bytes

    def is_to_be_noted(self) -> bool:
        """Whether it is time to store the progress."""
        is_due = time.monotonic() - self._noted_at >= NOTE_SECONDS
        if is_due:
            self._noted_at = time.monotonic()
        return is_due
