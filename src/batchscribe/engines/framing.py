"""Messages between an engine child and its parent: a JSON header and raw bytes, over a stream socket.

A frame is two big-endian 32-bit lengths, then a UTF-8 JSON object of the first length, then bytes of the second.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from typing import TypeAlias

_LENGTHS = struct.Struct(">II")

#: A frame's header.
Header: TypeAlias = "dict[str, Any]"


def send_frame(channel: socket.socket, header: Header, body: Iterable[bytes | memoryview] = ()) -> None:
    """Send one frame; the body's pieces go one after another. Raises OSError when the other side is gone."""
    pieces = list(body)
    text = json.dumps(header, separators=(",", ":")).encode()
    channel.sendall(_LENGTHS.pack(len(text), sum(len(piece) for piece in pieces)) + text)
    for piece in pieces:
        channel.sendall(piece)


def receive_frame(channel: socket.socket) -> tuple[Header, bytearray]:
    """Wait for one frame. Raises EOFError when the other side is gone, OSError when the channel breaks."""
    header_bytes, body_bytes = _LENGTHS.unpack(_receive(channel, _LENGTHS.size))
    header: Header = json.loads(_receive(channel, header_bytes))
    return header, _receive(channel, body_bytes)


def _receive(channel: socket.socket, size_bytes: int) -> bytearray:
    """Wait for exactly this many bytes."""
    data = bytearray(size_bytes)
    view = memoryview(data)
    while view:
        count = channel.recv_into(view)
        if count == 0:
            raise EOFError("The other side closed the channel.")
        view = view[count:]
    return data
