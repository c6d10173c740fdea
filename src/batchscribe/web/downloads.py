"""Reading a job's transcript in any export format, and its recording."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from batchscribe.domain.media import CONTENT_TYPES
from batchscribe.errors import InvalidRequest
from batchscribe.exports import FORMATS
from batchscribe.exports.native_json import SCHEMA_FILE
from batchscribe.exports.rendering import read_render_options
from batchscribe.web.caller import owner_of
from batchscribe.web.errors import error_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from batchscribe.service import TranscriptionService
    from batchscribe.web.live import LiveRoutes

DEFAULT_FORMAT = "txt"

#: Bytes that are read, or rendered, before they are sent.
BLOCK_BYTES = 256 << 10

_SINGLE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class DownloadRoutes:
    """The handlers of what a job has brought, and of what it was given."""

    def __init__(self, service: TranscriptionService, live: LiveRoutes) -> None:
        self._service = service
        self._live = live

    async def transcript(self, request: Request) -> Response:
        """Stream the transcript of a COMPLETED job in the format asked for; with ``since_segment`` what there is."""
        if "since_segment" in request.query_params:
            return await self._live.segments(request)
        export = FORMATS.get(request.query_params.get("format", DEFAULT_FORMAT))
        if export is None:
            raise InvalidRequest(f"Invalid format. Must be one of: {', '.join(FORMATS)}")
        job_name = request.path_params["job_name"]
        options = read_render_options(request.query_params, job_name=job_name)
        transcript = await run_in_threadpool(self._service.transcript, job_name, owner=owner_of(request))
        headers = {"Content-Disposition": f'inline; filename="{job_name}.{export.extension}"'}
        if request.method == "HEAD":
            return Response(media_type=export.content_type, headers=headers)
        blocks = _gathered(export.render(transcript, options))
        return StreamingResponse(blocks, media_type=export.content_type, headers=headers)

    async def schema(self, _request: Request) -> Response:
        """Send the JSON Schema of the native format."""
        return Response(await run_in_threadpool(SCHEMA_FILE.read_bytes), media_type="application/schema+json")

    async def media(self, request: Request) -> Response:
        """Send the recording, or the one range of it that is asked for."""
        job, recording = await run_in_threadpool(
            self._service.open_media, request.path_params["job_name"], owner=owner_of(request)
        )
        size = job.media_size_bytes
        etag = f'"{job.name}"'
        span = _asked_span(request.headers, size, etag)
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Disposition": f'attachment; filename="{job.name}.{job.media_format.value}"',
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
            "ETag": etag,
        }
        if span is not None and not span:
            await run_in_threadpool(recording.close)
            sentence = f"The recording has {size} bytes; the range asked for has none of them."
            headers = {"Content-Range": f"bytes */{size}"}
            return error_answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "invalid_range", sentence, headers=headers)
        status = HTTPStatus.OK
        if span is None:
            span = range(size)
        else:
            status = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
        headers["Content-Length"] = str(len(span))
        content_type = CONTENT_TYPES[job.media_format]
        if request.method == "HEAD":
            await run_in_threadpool(recording.close)
            return Response(status_code=status, media_type=content_type, headers=headers)
        return _RecordingResponse(recording, span, status, content_type, headers)


class _RecordingResponse(StreamingResponse):
    """Sends a span of a recording and closes it, whether or not the client stays to the end."""

    def __init__(
        self, recording: BinaryIO, span: range, status: int, content_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(_blocks_of(recording, span), status_code=status, media_type=content_type, headers=headers)
        self._recording = recording

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await run_in_threadpool(self._recording.close)


def _asked_span(headers: Mapping[str, str], size: int, etag: str) -> range | None:
    """Return which bytes are asked for: None for all, an empty range for a span that the recording does not have.

    One range is served (RFC 9110, section 14); several, or what is no range of bytes, are answered with the whole.
    """
    match = _SINGLE_RANGE.fullmatch(headers.get("range", "").strip())
    if match is None or headers.get("if-range", etag) != etag:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


async def _blocks_of(recording: BinaryIO, span: range) -> AsyncIterator[bytes]:
    """Read a span of a recording, block by block."""
    await run_in_threadpool(recording.seek, span.start)
    left = len(span)
    while left:
        block = await run_in_threadpool(recording.read, min(BLOCK_BYTES, left))
        if not block:
            break
        left -= len(block)
        yield block


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Gather pieces of a document into blocks that are worth a message each."""
    block = bytearray()
    for piece in pieces:
        block += piece
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block)
