"""Takes in a recording: the multipart form is parsed as it arrives and written once, straight into the media store."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from batchscribe.domain.option_fields import check_whole
from batchscribe.domain.submission import Idempotency, name_of_owner
from batchscribe.errors import InvalidRequest, UploadTooLarge, UploadTooSlow
from batchscribe.web.caller import key_of, owner_of
from batchscribe.web.submission_fields import is_json, submission_fields
from batchscribe.web.upload_form import Source, UploadForm, read_source

if TYPE_CHECKING:
    from batchscribe.domain.ports import Upload
    from batchscribe.domain.submission import Submission
    from batchscribe.service import TranscriptionService

#: Bytes that a request's body may have beside the recording: the other fields and the form's own lines.
FORM_OVERHEAD_BYTES = 1 << 20

#: Bytes that are gathered before a thread writes them.
SLICE_BYTES = 1 << 20

IDEMPOTENCY_HEADER = "Idempotency-Key"
LONGEST_KEY = 255
_KEY = re.compile(rf"[!-~]{{1,{LONGEST_KEY}}}")

#: Longest boundary of a multipart form (RFC 2046, section 5.1.1).
LONGEST_BOUNDARY = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """What an upload may be."""

    max_bytes: int
    #: Seconds without any data after which the upload is given up.
    stall_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRecording:
    """A recording that has arrived whole; the upload is not yet committed."""

    upload: Upload
    #: The recording's file name; or where it is, and then nothing was written.
    origin: str | Source
    #: The recording's first bytes, at most ``SNIFF_BYTES``.
    head: bytes
    submission: Submission
    #: The caller's own name for the submission, where it gave one.
    idempotency: Idempotency | None
    #: Seconds from the request's headers to the last byte.
    upload_seconds: float


@asynccontextmanager
async def received_recording(
    request: Request, service: TranscriptionService, limits: UploadLimits
) -> AsyncIterator[ReceivedRecording]:
    """Receive the recording of a ``multipart/form-data`` request; leaving the context drops it unless it was submitted.

    Raises InvalidRequest, UnsupportedMediaFormat, UnsupportedLanguage, UploadTooLarge, UploadTooSlow, StorageFull, and
    ClientDisconnect when the client hangs up.
    """
    began_at = time.monotonic()
    reads_json = is_json(request)
    boundary = b"" if reads_json else _boundary(request)
    _check_length(request, limits)
    key = _owned(idempotency_key(request), request)
    upload = await run_in_threadpool(service.begin_upload, key=key_of(request))
    try:
        digest = None if key is None else hashlib.sha256()
        head = b""
        if reads_json:
            fields = await submission_fields(request)
            origin: str | Source = read_source(fields)
            submission = service.check_submission(file_name=None, head=b"", fields=fields)
        else:
            form = UploadForm(boundary, max_file_bytes=limits.max_bytes, check=service.check_submission)
            await _receive(request, form, upload, limits, digest)
            origin, submission = form.finish()
            head = form.head
        check_whole(submission.options)
        if digest is not None and isinstance(origin, Source):
            digest.update(f"{origin.field} {origin.value}".encode())
        yield ReceivedRecording(
            upload=upload,
            origin=origin,
            head=head,
            submission=submission,
            idempotency=None if key is None or digest is None else _idempotency(key, digest, submission),
            upload_seconds=time.monotonic() - began_at,
        )
    finally:
        await run_in_threadpool(upload.abort)


async def _receive(
    request: Request, form: UploadForm, upload: Upload, limits: UploadLimits, digest: hashlib._Hash | None
) -> None:
    """Read the body to its end and write the recording's bytes in slices, into the digest too where there is one."""
    pieces: list[bytes] = []
    gathered_bytes = received_bytes = 0
    body = request.stream()
    while True:
        try:
            async with asyncio.timeout(limits.stall_seconds):
                data = await anext(body, None)
        except TimeoutError:
            raise UploadTooSlow(f"No data arrived for {limits.stall_seconds:g} seconds.") from None
        if data is None:
            break
        if not data:
            continue
        received_bytes += len(data)
        if received_bytes > limits.max_bytes + FORM_OVERHEAD_BYTES:
            raise _too_large(limits)
        for piece in form.feed(data):
            pieces.append(piece)
            gathered_bytes += len(piece)
        if gathered_bytes >= SLICE_BYTES:
            await run_in_threadpool(_write, upload, pieces, digest)
            pieces, gathered_bytes = [], 0
    if pieces:
        await run_in_threadpool(_write, upload, pieces, digest)


def _write(upload: Upload, pieces: list[bytes], digest: hashlib._Hash | None) -> None:
    """Write pieces one after the other."""
    for piece in pieces:
        upload.write(piece)
        if digest is not None:
            digest.update(piece)


def idempotency_key(request: Request) -> str | None:
    """Return the caller's own name for the submission, or None. Raises InvalidRequest."""
    key = request.headers.get(IDEMPOTENCY_HEADER)
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequest(f"Invalid {IDEMPOTENCY_HEADER}. Must be 1 to {LONGEST_KEY} visible ASCII characters")
    return key


def _owned(key: str | None, request: Request) -> str | None:
    """Return a caller's own name for a submission so that it is no other caller's."""
    return None if key is None else name_of_owner(owner_of(request), key)


def _idempotency(key: str, digest: hashlib._Hash, submission: Submission) -> Idempotency:
    """Return the key with a fingerprint of the recording and of everything that was asked for."""
    fingerprint = hashlib.sha256(f"{digest.hexdigest()} {submission!r}{submission.webhook or ''}".encode())
    return Idempotency(key=key, fingerprint=fingerprint.hexdigest())


def _boundary(request: Request) -> bytes:
    """Return the boundary of the form. Raises InvalidRequest where the body is none."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise InvalidRequest("Content-Encoding is not supported: send the form as it is.")
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = str(options.get("boundary", "")).encode("latin-1")
    if media_type != "multipart/form-data" or not boundary:
        raise InvalidRequest("No file provided")
    if len(boundary) > LONGEST_BOUNDARY:
        raise InvalidRequest(f"The form's boundary is longer than {LONGEST_BOUNDARY} bytes.")
    return boundary


def _check_length(request: Request, limits: UploadLimits) -> None:
    """Refuse at once what says itself that it is too large. Raises UploadTooLarge."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.max_bytes + FORM_OVERHEAD_BYTES:
        raise _too_large(limits)


def _too_large(limits: UploadLimits) -> UploadTooLarge:
    """Return the error of an upload over the limit."""
    return UploadTooLarge(f"The recording is larger than the limit of {limits.max_bytes} bytes.")
