"""The paths of live events, with their documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.responses import Response

from batchscribe.web.documentation import JOB_NAME_PARAMETER, problems, query_parameter
from batchscribe.web.schemas import JobMissing

if TYPE_CHECKING:
    from batchscribe.web.live import LiveRoutes


class PartialAnswer(BaseModel):
    """A transcript as far as there is one; the answer where ``since_segment`` is given."""

    job_name: str
    status: Literal["QUEUED", "IN_PROGRESS", "COMPLETED", "FAILED"]
    first_segment: int
    segments: list[dict[str, Any]]
    next_segment: int = Field(description="Ask with this as since_segment for what comes next.")
    is_whole: bool = Field(description="Whether no more will come.")


SINCE_SEGMENT = query_parameter(
    "since_segment",
    "Answer at once with the segments from this one on, as JSON, also while the job runs; format does not count then.",
    {"type": "integer", "minimum": 0, "maximum": 999_999_999},
)
_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that was seen: the stream goes on behind it.",
    "schema": {"type": "string", "pattern": r"^[0-9]{1,18}(\.[0-9]{1,9}\.[0-9]{1,9})?$"},
}
_STREAM: dict[str, Any] = {
    "description": "Server-Sent Events.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


def add_live_routes(app: FastAPI, routes: LiveRoutes) -> None:
    """Add the streams."""
    app.get(
        "/transcribe-job/{job_name}/events",
        summary="Follow a job until it ends",
        response_class=Response,
        responses={
            200: _STREAM,
            204: {"description": "The job has ended, and its end was seen: do not come back."},
            **problems({400: "Last-Event-ID is none of ours.", 404: "No job has this name."}, {404: JobMissing}),
        },
        openapi_extra={"parameters": [JOB_NAME_PARAMETER, _LAST_EVENT_ID]},
    )(routes.job_events)
    app.get(
        "/transcribe-jobs/events",
        summary="Follow all jobs",
        response_class=Response,
        responses={200: _STREAM, **problems({400: "Last-Event-ID is none of ours."})},
        openapi_extra={"parameters": [_LAST_EVENT_ID]},
    )(routes.all_events)
