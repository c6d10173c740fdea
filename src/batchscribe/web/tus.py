"""Resumable uploads: tus 1.0 with creation, creation-with-upload, expiration, checksum and termination."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from batchscribe.errors import (
    ChecksumMismatch,
    InvalidRequest,
    RequestRefused,
    TusVersionMissing,
    UploadNotFound,
    UploadTooLarge,
)
from batchscribe.web.caller import key_of, owner_of
from batchscribe.web.errors import answer_refusal
from batchscribe.web.tus_body import gathered
from batchscribe.web.tus_headers import (
    VERSION,
    VERSION_HEADER,
    Checksum,
    check_body_type,
    check_version,
    read_checksum,
    read_metadata,
    read_number,
    server_headers,
    upload_headers,
)
from batchscribe.web.uploads import UploadLimits, idempotency_key

if TYPE_CHECKING:
    from batchscribe.domain.resumable import ResumableUpload
    from batchscribe.service import TranscriptionService
    from batchscribe.slices import SliceWriter

FILES_PATH = "/files"

#: Seconds in which the job of a whole recording is waited for where another request makes it.
_LONGEST_FINISH_SECONDS = 300.0
_SHORT_FINISH_SECONDS = 10.0
_FINISH_POLL_SECONDS = 0.2

_Handler = Callable[["TusRoutes", Request], Awaitable[Response]]


def _spoken(handler: _Handler) -> _Handler:
    """Have a handler's every answer be one of tus, and have it see no request of another version."""

    @functools.wraps(handler)
    async def answered(routes: TusRoutes, request: Request) -> Response:
        try:
            check_version(request.headers)
            answer = await handler(routes, request)
        except RequestRefused as error:
            answer = await answer_refusal(request, error)
            if isinstance(error, TusVersionMissing):
                answer.headers["Tus-Version"] = VERSION
        answer.headers[VERSION_HEADER] = VERSION
        return answer

    return answered


class TusRoutes:
    """The handlers of resumable uploads."""

    def __init__(self, service: TranscriptionService, limits: UploadLimits) -> None:
        self._service = service
        self._limits = limits

    async def options(self, _request: Request) -> Response:
        """Say what can be done."""
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=server_headers(self._limits.max_bytes))

    @_spoken
    async def create(self, request: Request) -> Response:
        """Begin an upload, perhaps with its first bytes."""
        headers = request.headers
        for name, extension in (("upload-defer-length", "creation-defer-length"), ("upload-concat", "concatenation")):
            if name in headers:
                raise InvalidRequest(f"The extension {extension} is not supported. Send Upload-Length.")
        length_bytes = read_number(headers, "Upload-Length")
        if length_bytes > self._limits.max_bytes:
            raise UploadTooLarge(f"The recording is larger than the limit of {self._limits.max_bytes} bytes.")
        metadata = headers.get("upload-metadata", "")
        file_name, fields = read_metadata(metadata)
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if has_body:
            check_body_type(headers)
        checksum = read_checksum(headers)
        upload = await run_in_threadpool(
            self._service.resumable.create,
            length_bytes=length_bytes,
            file_name=file_name,
            fields=fields,
            metadata=metadata,
            idempotency_key=idempotency_key(request),
            key=key_of(request),
        )
        # One that was begun before goes on from where it is.
        if has_body and upload.offset_bytes == 0:
            await self._receive(request, upload.id, 0, checksum)
        upload = await self._finished(request, upload.id)
        answer = upload_headers(upload) | {"Location": f"{FILES_PATH}/{upload.id}"}
        return Response(status_code=HTTPStatus.CREATED, headers=answer)

    @_spoken
    async def head(self, request: Request) -> Response:
        """Say how much is there, and which job it became."""
        try:
            upload = await self._finished(request, _id_of(request), seconds=_SHORT_FINISH_SECONDS)
        except UploadNotFound:
            raise
        except RequestRefused:
            # It is whole and cannot become a job yet: a PATCH without bytes is told why.
            upload = await run_in_threadpool(self._service.resumable.get, _id_of(request), owner=owner_of(request))
        answer = upload_headers(upload) | {"Upload-Length": str(upload.length_bytes)}
        if upload.metadata:
            answer |= {"Upload-Metadata": upload.metadata}
        return Response(headers=answer)

    @_spoken
    async def patch(self, request: Request) -> Response:
        """Take in bytes; when the last are there, make the job."""
        check_body_type(request.headers)
        offset_bytes = read_number(request.headers, "Upload-Offset")
        upload = await self._receive(request, _id_of(request), offset_bytes, read_checksum(request.headers))
        if upload.is_whole:
            upload = await self._finished(request, upload.id)
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=upload_headers(upload))

    @_spoken
    async def delete(self, request: Request) -> Response:
        """Drop an upload."""
        await run_in_threadpool(self._service.resumable.delete, _id_of(request), owner=owner_of(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def override(self, request: Request) -> Response:
        """Do what ``X-HTTP-Method-Override`` names, for clients that can send nothing but GET and POST."""
        method = request.headers.get("x-http-method-override", "").upper()
        handlers: dict[str, Any] = {"PATCH": self.patch, "DELETE": self.delete, "HEAD": self.head}
        if method not in handlers:
            error = InvalidRequest("Send PATCH, or name it in X-HTTP-Method-Override.")
            return await answer_refusal(request, error)
        answer: Response = await handlers[method](request)
        return answer

    async def _receive(
        self, request: Request, upload_id: str, offset_bytes: int, checksum: Checksum | None
    ) -> ResumableUpload:
        """Add a request's body to an upload, with a checksum the whole of it or nothing; return it as it is then."""
        writer = await run_in_threadpool(
            self._service.resumable.take_over, upload_id, offset_bytes=offset_bytes, owner=owner_of(request)
        )
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > writer.missing_bytes:
            raise UploadTooLarge(f"Only {writer.missing_bytes} bytes are missing; the request has {length}.")
        digest = None if checksum is None else checksum.new_digest()
        # One piece is stored while the next arrives.
        storing: asyncio.Task[None] | None = None
        try:
            async for data in gathered(request, stall_seconds=self._limits.stall_seconds):
                if storing is not None:
                    await storing
                storing = asyncio.create_task(run_in_threadpool(_add, writer, data, digest))
            if storing is not None:
                await storing
            if digest is not None and checksum is not None:
                if digest.digest() != checksum.digest:
                    raise ChecksumMismatch(
                        "The bytes have another checksum than Upload-Checksum says. Send them again."
                    )
                await run_in_threadpool(writer.commit)
        finally:
            if storing is not None:
                await asyncio.gather(storing, return_exceptions=True)
            await run_in_threadpool(writer.abort)
        return writer.upload

    async def _finished(
        self, request: Request, upload_id: str, *, seconds: float = _LONGEST_FINISH_SECONDS
    ) -> ResumableUpload:
        """Return an upload, with its job where it is whole; another request that makes it is waited for."""
        until = time.monotonic() + seconds
        while True:
            upload = await run_in_threadpool(
                self._service.resumable.finish, upload_id, owner=owner_of(request), key=key_of(request)
            )
            if upload.job_name is not None or not upload.is_whole or time.monotonic() > until:
                return upload
            await asyncio.sleep(_FINISH_POLL_SECONDS)


def _add(writer: SliceWriter, data: bytes, digest: hashlib._Hash | None) -> None:
    """Store a piece, as part of the recording at once unless its digest is to be known first."""
    writer.write(data)
    if digest is None:
        writer.commit()
    else:
        digest.update(data)


def _id_of(request: Request) -> str:
    return str(request.path_params["upload_id"])
