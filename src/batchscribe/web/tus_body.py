"""The body of a resumable upload's request, in pieces that are worth storing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from batchscribe.domain.resumable import SLICE_BYTES
from batchscribe.errors import UploadTooSlow

#: What has arrived is stored after this time, however little it is.
FLUSH_SECONDS = 2.0


async def gathered(request: Request, *, stall_seconds: float) -> AsyncIterator[bytes]:
    """Yield the body in pieces of about ``SLICE_BYTES``; what has arrived is yielded before anything is raised.

    Raises UploadTooSlow after so many seconds without any data, and ClientDisconnect.
    """
    pieces: list[bytes] = []
    size_bytes = 0
    heard_at = oldest_at = time.monotonic()
    while True:
        patience = heard_at + stall_seconds
        try:
            async with asyncio.timeout_at(_loop_time(min(patience, oldest_at + FLUSH_SECONDS) if pieces else patience)):
                message = await request.receive()
        except TimeoutError:
            if pieces:
                yield b"".join(pieces)
                pieces, size_bytes = [], 0
            if time.monotonic() >= patience:
                raise UploadTooSlow(f"No data arrived for {stall_seconds:g} seconds.") from None
            continue
        is_cut = message["type"] == "http.disconnect"
        data = message.get("body", b"")
        if data:
            heard_at = time.monotonic()
            oldest_at = oldest_at if pieces else heard_at
            pieces.append(data)
            size_bytes += len(data)
        is_last = is_cut or not message.get("more_body", False)
        is_due = is_last or size_bytes >= SLICE_BYTES or time.monotonic() >= oldest_at + FLUSH_SECONDS
        if pieces and is_due:
            yield b"".join(pieces)
            pieces, size_bytes = [], 0
            # It was we who were busy.
            heard_at = oldest_at = time.monotonic()
        if is_cut:
            raise ClientDisconnect
        if is_last:
            return


def _loop_time(monotonic: float) -> float:
    return asyncio.get_running_loop().time() + monotonic - time.monotonic()
