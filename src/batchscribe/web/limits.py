"""What the HTTP front lets its clients cost."""

from __future__ import annotations

from dataclasses import dataclass


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
    #: Seconds for reading the refusal of too large headers, of which no more is read.
    unread_linger_seconds: float = 1.0
