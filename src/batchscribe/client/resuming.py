"""Uploads a recording so that a broken connection costs a few seconds of it: tus 1.0, in pieces that fit the line."""

from __future__ import annotations

import base64
import os
import time
import uuid
from collections.abc import Callable, Mapping
from typing import IO

import httpx2

from batchscribe.client import steps
from batchscribe.client.answers import ClientError, Job, ServerRefused, ServerUnreachable, UnexpectedAnswer
from batchscribe.client.steps import RETRY_PAUSES_SECONDS, Ask, Steps, check, getting, nth

#: A shorter recording is sent again as a whole sooner than it is resumed.
WORTH_RESUMING_BYTES = 16 << 20
LEAST_PIECE_BYTES = 256 << 10
LARGEST_PIECE_BYTES = 16 << 20
#: A piece that takes less time is followed by a larger one, and one that takes more by a smaller one.
QUICK_SECONDS, SLOW_SECONDS = 1.0, 4.0
#: The last piece is answered when its job is made, for which all of them are joined.
_ANSWER_SECONDS = 300.0
#: What a server answers to a path or a method that it does not know.
_UNKNOWN_PATH = frozenset({404, 405, 501})
_VERSION = {"Tus-Resumable": "1.0.0"}


def size_of(media: IO[bytes]) -> int | None:
    """Return how many bytes there are from where a recording stands; None where it cannot be read twice."""
    try:
        begin = media.tell()
        size_bytes = media.seek(0, os.SEEK_END) - begin
        media.seek(begin)
    except (OSError, AttributeError):
        return None
    return size_bytes


def submitting(
    file_name: str,
    media: IO[bytes],
    *,
    language_code: str | None,
    fields: Mapping[str, str] | None,
    resumable: bool | None,
    resume_key: str | None,
    patience_seconds: float,
    on_progress: Callable[[int], None] | None,
) -> Steps[Job]:
    """Submit a recording: in pieces where that is asked for, or where it is long and the server can; else at once.

    Raises ClientError where pieces are asked for of what cannot be read twice.
    """
    asked = ({} if language_code is None else {"language_code": language_code}) | dict(fields or {})
    size_bytes = size_of(media)
    if size_bytes is None and resumable:
        raise ClientError("What cannot be read twice cannot be sent resumably.")
    if size_bytes is not None and (size_bytes >= WORTH_RESUMING_BYTES if resumable is None else resumable):
        try:
            return (
                yield from resuming(
                    file_name,
                    media,
                    size_bytes,
                    fields=asked,
                    resume_key=resume_key,
                    patience_seconds=patience_seconds,
                    on_progress=on_progress,
                )
            )
        except _NoResumableUploads:
            if resumable:
                raise
    return (yield from steps.submitting(file_name, media, fields=asked, on_progress=on_progress))


def resuming(
    file_name: str,
    media: IO[bytes],
    size_bytes: int,
    *,
    fields: Mapping[str, str],
    resume_key: str | None,
    patience_seconds: float,
    on_progress: Callable[[int], None] | None,
) -> Steps[Job]:
    """Submit a recording in pieces; after each failure go on from where the server is.

    With a ``resume_key``, go on with what was begun under it before and not finished. Gives up after
    ``patience_seconds`` in which nothing got through.
    """
    begin = media.tell()
    tries = _Tries(patience_seconds)
    path, offset, job_name = yield from _created(file_name, size_bytes, fields, resume_key, tries)
    piece_bytes = LEAST_PIECE_BYTES
    while job_name is None:
        media.seek(begin + offset)
        piece = media.read(min(piece_bytes, size_bytes - offset))
        if not piece and offset < size_bytes:
            raise OSError("The recording has become shorter while it was sent.")
        began_at = time.monotonic()
        try:
            answer = yield Ask(
                method="PATCH",
                path=path,
                headers=_VERSION | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"},
                content=piece,
                pause_seconds=tries.pause_seconds,
                timeout_seconds=_ANSWER_SECONDS,
            )
            check(answer)
        except (ServerUnreachable, ServerRefused) as error:
            tries.failed(error, also={409})
            piece_bytes = max(LEAST_PIECE_BYTES, piece_bytes // 4)
            offset, job_name = yield from _found(path, tries)
        else:
            offset, job_name = _said(answer)
            took_seconds = time.monotonic() - began_at - tries.pause_seconds
            tries.succeeded()
            if took_seconds < QUICK_SECONDS:
                piece_bytes = min(LARGEST_PIECE_BYTES, 2 * piece_bytes)
            elif took_seconds > SLOW_SECONDS:
                piece_bytes = max(LEAST_PIECE_BYTES, piece_bytes // 2)
        if on_progress is not None:
            on_progress(offset)
    return (yield from _job(job_name, tries))


class _NoResumableUploads(UnexpectedAnswer):
    """A server of the contract that knows no more than the contract."""


class _Tries:
    """How long it goes on although nothing gets through."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._until = time.monotonic() + patience_seconds
        self._failures = 0
        #: How long to pause before the next question.
        self.pause_seconds = 0.0

    def succeeded(self) -> None:
        self._until = time.monotonic() + self._patience_seconds
        self._failures, self.pause_seconds = 0, 0.0

    def failed(
        self, error: ServerUnreachable | ServerRefused, *, also: frozenset[int] | set[int] = frozenset()
    ) -> None:
        """Note a failure; raise it where it will not pass, or has not."""
        will_pass = isinstance(error, ServerUnreachable) or error.is_passing or error.status in also
        if not will_pass or time.monotonic() >= self._until:
            raise error
        self.pause_seconds = nth(RETRY_PAUSES_SECONDS, self._failures)
        self._failures += 1


def _created(
    file_name: str, size_bytes: int, fields: Mapping[str, str], resume_key: str | None, tries: _Tries
) -> Steps[tuple[str, int, str | None]]:
    """Begin an upload, or find the one begun before; return its path, its offset, and its job where it has one."""
    said = {"filename": file_name, **fields}
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in said.items())
    base_key = resume_key or str(uuid.uuid4())
    number, has_failed = 0, False
    while True:
        headers = _VERSION | {
            "Upload-Length": str(size_bytes),
            "Upload-Metadata": metadata,
            # The same again, after an answer that was lost, begins no second upload.
            "Idempotency-Key": f"{base_key}-{number}",
        }
        try:
            answer = yield Ask(method="POST", path="/files", headers=headers, pause_seconds=tries.pause_seconds)
            check(answer)
        except (ServerUnreachable, ServerRefused) as error:
            if isinstance(error, ServerRefused) and error.server_code == "idempotency_conflict" and resume_key:
                number += 1
                continue
            if isinstance(error, ServerRefused) and error.status in _UNKNOWN_PATH:
                raise _NoResumableUploads("The server takes no resumable uploads.") from error
            tries.failed(error)
            has_failed = True
            continue
        if "Tus-Resumable" not in answer.headers:
            raise _NoResumableUploads("The server takes no resumable uploads.")
        tries.succeeded()
        offset, job_name = _said(answer)
        # What was finished by an earlier call is not what this one is for.
        if job_name is not None and resume_key and not has_failed:
            number += 1
            continue
        return _path(answer), offset, job_name


def _found(path: str, tries: _Tries) -> Steps[tuple[int, str | None]]:
    """Ask how much the server has."""
    while True:
        try:
            answer = yield Ask(method="HEAD", path=path, headers=_VERSION, pause_seconds=tries.pause_seconds)
            check(answer)
        except (ServerUnreachable, ServerRefused) as error:
            tries.failed(error)
        else:
            return _said(answer)


def _job(job_name: str, tries: _Tries) -> Steps[Job]:
    while True:
        try:
            return (yield from getting(job_name, wait_seconds=None, pause_seconds=tries.pause_seconds))
        except (ServerUnreachable, ServerRefused) as error:
            tries.failed(error)


def _said(answer: httpx2.Response) -> tuple[int, str | None]:
    """Return an upload's offset, and its job where it has one. Raises UnexpectedAnswer."""
    offset = answer.headers.get("Upload-Offset", "0" if answer.status_code == 201 else "")
    if not offset.isdecimal():
        raise UnexpectedAnswer("The server's answer does not say how much of the recording it has.")
    return int(offset), answer.headers.get("X-Job-Name")


def _path(answer: httpx2.Response) -> str:
    """Return where an upload is, on the server that was asked. Raises UnexpectedAnswer."""
    location = answer.headers.get("Location", "")
    path = httpx2.URL(location).path if location else ""
    if not path.startswith("/"):
        raise UnexpectedAnswer("The server's answer does not say where to send the recording.")
    return path
