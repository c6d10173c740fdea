"""Reading, listing, cancelling and deleting jobs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batchscribe.domain.job import JobStatus
from batchscribe.errors import InvalidRequest
from batchscribe.web.caller import owner_of
from batchscribe.web.departure import unless_client_leaves
from batchscribe.web.pages import read_max_results
from batchscribe.web.waiting import JobWatch
from batchscribe.wire import job_to_json, page_to_json

if TYPE_CHECKING:
    from batchscribe.domain.job import TranscriptionJob
    from batchscribe.service import TranscriptionService

#: The longest wait that a client may ask for.
LONGEST_WAIT_SECONDS = 60.0

_DECIMAL_NUMBER = re.compile(r"[0-9]{1,100}(\.[0-9]{1,100})?([eE][+-]?[0-9]{1,3})?")


class JobRoutes:
    """The handlers of what can be done with jobs that are there."""

    def __init__(self, service: TranscriptionService, watch: JobWatch) -> None:
        self._service = service
        self._watch = watch

    async def status(self, request: Request) -> Response:
        """Answer with a job as it is, or with ``wait`` as it is after something has happened to it."""
        job = await self._watch.read(self._service.get, request.path_params["job_name"], owner=owner_of(request))
        seconds = _wait_seconds(request) if request.scope["query_string"] else 0.0
        if seconds and not job.status.is_final:
            job = await unless_client_leaves(request, self._after_change(job, seconds))
        return JSONResponse(job_to_json(job))

    async def list(self, request: Request) -> Response:
        """Answer with one page of jobs, latest first."""
        query = request.query_params
        status_filter = query.get("status") or None
        max_results = read_max_results(query.get("max_results"))
        page = await run_in_threadpool(
            self._service.list,
            status=_status(status_filter),
            max_results=max_results,
            next_token=query.get("next_token") or None,
            owner=owner_of(request),
        )
        return JSONResponse(page_to_json(page, status_filter=status_filter, max_results=max_results))

    async def cancel(self, request: Request) -> Response:
        """End a job and answer with it as it is then."""
        job = await run_in_threadpool(self._service.cancel, request.path_params["job_name"], owner=owner_of(request))
        return JSONResponse(job_to_json(job))

    async def delete(self, request: Request) -> Response:
        """Remove a job."""
        job_name = request.path_params["job_name"]
        await run_in_threadpool(self._service.delete, job_name, owner=owner_of(request))
        return JSONResponse({"job_name": job_name, "message": "The transcription job has been deleted."})

    async def _after_change(self, job: TranscriptionJob, seconds: float) -> TranscriptionJob:
        """Return the job once its status is another one, or after this many seconds."""
        return await self._watch.wait(job.name, lambda now: now.status is not job.status, seconds=seconds)


def _wait_seconds(request: Request) -> float:
    """Return how long the client wants to wait. Raises InvalidRequest."""
    value = request.query_params.get("wait")
    if value is None:
        return 0.0
    if not _DECIMAL_NUMBER.fullmatch(value) or float(value) > LONGEST_WAIT_SECONDS:
        raise InvalidRequest(f"Invalid wait. Must be a number of seconds from 0 to {LONGEST_WAIT_SECONDS:g}")
    return float(value)


def _status(value: str | None) -> JobStatus | None:
    """Return the status that a filter names, in capitals or not. Raises InvalidRequest."""
    if value is None:
        return None
    try:
        return JobStatus(value.upper())
    except ValueError:
        names = ", ".join(each.value for each in JobStatus)
        raise InvalidRequest(f"Invalid status filter. Must be one of: {names}") from None
