"""Taking in new jobs: at once, or with the transcript as the answer."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batchscribe.domain.job import JobStatus
from batchscribe.web.caller import key_of
from batchscribe.web.departure import unless_client_leaves
from batchscribe.web.errors import error_answer
from batchscribe.web.upload_form import Source
from batchscribe.web.uploads import IDEMPOTENCY_HEADER, UploadLimits, received_recording
from batchscribe.web.waiting import JobWatch
from batchscribe.wire import submitted_to_json

if TYPE_CHECKING:
    from batchscribe.domain.job import TranscriptionJob
    from batchscribe.service import TranscriptionService


class SubmissionRoutes:
    """The handlers of uploads."""

    def __init__(
        self, service: TranscriptionService, watch: JobWatch, limits: UploadLimits, *, longest_wait_seconds: float
    ) -> None:
        self._service = service
        self._watch = watch
        self._limits = limits
        self._longest_wait_seconds = longest_wait_seconds

    async def submit(self, request: Request) -> Response:
        """Receive a recording and answer 201 once it and its job are on disk."""
        job = await self._received_job(request)
        return JSONResponse(submitted_to_json(job), status_code=HTTPStatus.CREATED)

    async def transcribe(self, request: Request) -> Response:
        """Receive a recording, wait until it is transcribed, and answer with the transcript; the job is then deleted.

        The job stays where the wait is too long or the job FAILED, and where the request has an idempotency key: the
        same again is to have the same answer.
        """
        began_at = time.monotonic()
        job = await self._received_job(request)
        job = await unless_client_leaves(
            request,
            self._watch.wait(job.name, lambda now: now.status.is_final, seconds=self._longest_wait_seconds),
        )
        if job.status is JobStatus.FAILED:
            reason = job.failure.reason if job.failure else "unknown"
            code = job.failure.code if job.failure else "recording_failed"
            return error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, code, f"Transcription failed: {reason}")
        if job.status is not JobStatus.COMPLETED:
            sentence = "Transcription timeout. Job may still be processing."
            return error_answer(HTTPStatus.REQUEST_TIMEOUT, "transcription_timeout", sentence)
        if IDEMPOTENCY_HEADER not in request.headers:
            await run_in_threadpool(self._service.delete, job.name)
        return JSONResponse(
            {
                "transcript": job.text or "",
                "mode": "batch",
                "upload_time_seconds": round(job.upload_seconds, 2),
                "total_processing_time_seconds": round(time.monotonic() - began_at, 2),
                "s3_url": job.media_url,
            }
        )

    async def _received_job(self, request: Request) -> TranscriptionJob:
        """Receive the recording of a request and submit it."""
        async with received_recording(request, self._service, self._limits) as recording:
            if isinstance(recording.origin, Source):
                is_address = recording.origin.field == "media_url"
                return await run_in_threadpool(
                    self._service.submit_address if is_address else self._service.submit_upload,
                    recording.origin.value,
                    submission=recording.submission,
                    idempotency=recording.idempotency,
                    key=key_of(request),
                )
            return await run_in_threadpool(
                self._service.submit,
                recording.upload,
                file_name=recording.origin,
                head=recording.head,
                submission=recording.submission,
                idempotency=recording.idempotency,
                upload_seconds=recording.upload_seconds,
                key=key_of(request),
            )
