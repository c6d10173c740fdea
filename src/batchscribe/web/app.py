"""Puts the HTTP face together: every path, its handler and its documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from batchscribe import __version__
from batchscribe.domain.job import JobStatus
from batchscribe.domain.media import CONTENT_TYPES
from batchscribe.errors import RequestRefused
from batchscribe.exports import FORMATS
from batchscribe.web import schemas
from batchscribe.web.cors import allow_origins
from batchscribe.web.direct_uploads import add_direct_upload_routes
from batchscribe.web.documentation import (
    IDEMPOTENCY_PARAMETER,
    JOB_NAME_PARAMETER,
    RENDERING_PARAMETERS,
    UPLOAD_BODY,
    add_documentation_page,
    add_security_schemes,
    problems,
    query_parameter,
)
from batchscribe.web.downloads import DEFAULT_FORMAT, DownloadRoutes
from batchscribe.web.envelope import Envelope, LastResort
from batchscribe.web.errors import answer_http_error, answer_nobody, answer_refusal
from batchscribe.web.gate import Access, Gate
from batchscribe.web.health import HealthRoutes
from batchscribe.web.jobs import LONGEST_WAIT_SECONDS, JobRoutes
from batchscribe.web.later import Application
from batchscribe.web.live import LiveRoutes
from batchscribe.web.live_paths import SINCE_SEGMENT, PartialAnswer, add_live_routes
from batchscribe.web.metrics import MetricsRoutes
from batchscribe.web.notifications import NotificationRoutes, add_notification_route
from batchscribe.web.pages import DEFAULT_MAX_RESULTS, HIGHEST_MAX_RESULTS
from batchscribe.web.plain_route import PlainRoute
from batchscribe.web.speakers import add_speaker_routes
from batchscribe.web.submissions import SubmissionRoutes
from batchscribe.web.tus import TusRoutes
from batchscribe.web.tus_paths import add_tus_routes
from batchscribe.web.uploads import UploadLimits
from batchscribe.web.waiting import JobWatch
from batchscribe.web.webhook_paths import add_webhook_routes
from batchscribe.web.webhooks import WebhookRoutes
from batchscribe.web.word_lists import add_word_list_routes

if TYPE_CHECKING:
    from batchscribe.service import TranscriptionService

#: Seconds that the synchronous route waits for a transcript.
SYNC_WAIT_SECONDS = 300.0

_WAIT = query_parameter(
    "wait",
    "Seconds to wait for the status to change; the answer comes at once when it does, or when the job has ended.",
    {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT_SECONDS, "default": 0},
)
_STATUS_FILTER = query_parameter(
    "status",
    "Only jobs with this status, in capitals or not.",
    {"type": "string", "pattern": f"^(?i:{'|'.join(each.value for each in JobStatus)})?$"},
)
_MAX_RESULTS = query_parameter(
    "max_results",
    f"How many jobs to return; more than {HIGHEST_MAX_RESULTS} is taken as {HIGHEST_MAX_RESULTS}.",
    {"type": "integer", "minimum": 1, "default": DEFAULT_MAX_RESULTS},
)
_NEXT_TOKEN = query_parameter("next_token", "The next_token of the page before.", {"type": "string"})
_FORMAT = query_parameter(
    "format", "The export format.", {"type": "string", "enum": list(FORMATS), "default": DEFAULT_FORMAT}
)
_RANGE = {
    "name": "Range",
    "in": "header",
    "required": False,
    "description": "One range of bytes; several are answered with the whole recording.",
    "schema": {"type": "string"},
    "example": "bytes=0-1023",
}

_NO_JOB = "No job has this name."
_BAD_UPLOAD = "The form has no recording, an unsupported format or an unsupported language, or cannot be read."
_UPLOAD_PROBLEMS = {
    400: _BAD_UPLOAD,
    404: "Nothing lies under the upload_id.",
    409: "The idempotency key was used for something else; or the server is not set up for what is asked.",
    413: "The recording is larger than the limit.",
    429: "So many jobs wait, of all or of this API key, that one more is not accepted; or it asks too often.",
    507: "There is too little free space to take in a recording.",
}


def create_app(
    service: TranscriptionService,
    *,
    max_upload_bytes: int,
    upload_stall_seconds: float,
    sync_wait_seconds: float = SYNC_WAIT_SECONDS,
    reads_may_wait: bool = False,
    notifications: Callable[[bytes], None] | None = None,
    access: Access | None = None,
    cors_origins: tuple[str, ...] = (),
) -> FastAPI:
    """Return the ASGI application over a service.

    ``reads_may_wait`` says that the database is asked over a network, so that even a short question goes to a thread.
    ``notifications`` takes the messages that SNS posts, where some are expected.
    ``access`` says whom it is open to; without it nobody is asked for a key. Pages of ``cors_origins`` may use it.
    ``upload_stall_seconds`` is the silence after which an upload is given up, ``sync_wait_seconds`` the longest wait of
    ``POST /transcribe-batch``. The application's ``state.job_watch`` lets waiting clients go when it is released; its
    ``state.metrics`` count from when they are started, or else from the first look at them.
    """
    app = Application(
        title="BatchScribe",
        version=__version__,
        description="Asynchronous batch transcription: upload a recording, get a job name, read the transcript later.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.router.route_class = PlainRoute
    if access is not None:
        app.add_middleware(Gate, ring=service.ring, access=access, origins=cors_origins, reads_may_wait=reads_may_wait)
    app.add_middleware(LastResort)
    allow_origins(app, cors_origins)
    app.add_middleware(Envelope)
    app.add_exception_handler(RequestRefused, answer_refusal)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(ClientDisconnect, answer_nobody)
    watch = app.state.job_watch = JobWatch(service, reads_may_wait=reads_may_wait)
    limits = UploadLimits(max_bytes=max_upload_bytes, stall_seconds=upload_stall_seconds)
    _add_job_routes(app, JobRoutes(service, watch))
    _add_submission_routes(app, SubmissionRoutes(service, watch, limits, longest_wait_seconds=sync_wait_seconds))
    add_tus_routes(app, TusRoutes(service, limits))
    live = LiveRoutes(service, watch)
    add_live_routes(app, live)
    _add_download_routes(app, DownloadRoutes(service, live))
    add_speaker_routes(app, service)
    add_word_list_routes(app, service)
    add_direct_upload_routes(app, service)
    add_notification_route(app, NotificationRoutes(notifications))
    add_webhook_routes(app, WebhookRoutes(service))
    _add_health_routes(app, HealthRoutes(service))
    metrics = app.state.metrics = MetricsRoutes(service)
    _add_metrics_route(app, metrics)
    add_documentation_page(app)
    add_security_schemes(app)
    return app


def _add_job_routes(app: FastAPI, routes: JobRoutes) -> None:
    """Add what can be done with jobs that are there."""
    app.get(
        "/transcribe-job/{job_name}",
        summary="Check a job's status and read its transcript",
        response_model=schemas.JobAnswer,
        responses=problems({400: "The wait is not a number of seconds.", 404: _NO_JOB}, {404: schemas.JobMissing}),
        openapi_extra={"parameters": [JOB_NAME_PARAMETER, _WAIT]},
    )(routes.status)
    app.get(
        "/transcribe-jobs",
        summary="List jobs, latest first",
        response_model=schemas.JobList,
        responses=problems({400: "A filter, the size of the page or the token is invalid."}),
        openapi_extra={"parameters": [_STATUS_FILTER, _MAX_RESULTS, _NEXT_TOKEN]},
    )(routes.list)
    app.post(
        "/transcribe-job/{job_name}/cancel",
        summary="Cancel a job",
        response_model=schemas.JobAnswer,
        responses=problems({404: _NO_JOB, 409: "The job has already ended."}, {404: schemas.JobMissing}),
        openapi_extra={"parameters": [JOB_NAME_PARAMETER]},
    )(routes.cancel)
    app.delete(
        "/transcribe-job/{job_name}",
        summary="Delete a job with its recording and transcript",
        response_model=schemas.DeletedJob,
        responses=problems({404: _NO_JOB}, {404: schemas.JobMissing}),
        openapi_extra={"parameters": [JOB_NAME_PARAMETER]},
    )(routes.delete)


def _add_submission_routes(app: FastAPI, routes: SubmissionRoutes) -> None:
    """Add the uploads."""
    app.post(
        "/transcribe-batch-async",
        summary="Start a transcription job",
        status_code=201,
        response_model=schemas.SubmittedJob,
        responses=problems(_UPLOAD_PROBLEMS),
        openapi_extra={"requestBody": UPLOAD_BODY, "parameters": [IDEMPOTENCY_PARAMETER]},
    )(routes.submit)
    app.post(
        "/transcribe-batch",
        summary="Transcribe and wait for the transcript",
        response_model=schemas.SyncTranscript,
        responses=problems(
            {
                **_UPLOAD_PROBLEMS,
                408: "The request did not arrive in time, or the transcript took too long; then the job goes on.",
                500: "The recording could not be transcribed, or something unforeseen went wrong.",
            }
        ),
        openapi_extra={"requestBody": UPLOAD_BODY, "parameters": [IDEMPOTENCY_PARAMETER]},
    )(routes.transcribe)


def _add_download_routes(app: FastAPI, routes: DownloadRoutes) -> None:
    """Add the transcript's exports and the recording."""
    content: dict[str, dict[str, object]] = {
        export.content_type.partition(";")[0]: {"schema": {}} for export in FORMATS.values()
    }
    app.get(
        "/transcribe-job/{job_name}/transcript",
        summary="Read the transcript in an export format",
        response_class=Response,
        responses={
            200: {"description": "The transcript.", "content": content, "model": PartialAnswer},
            **problems(
                {
                    400: "No such format, or an option out of its range.",
                    404: _NO_JOB,
                    409: "There is no transcript: the job goes on, or has failed.",
                },
                {404: schemas.JobMissing},
            ),
        },
        openapi_extra={"parameters": [JOB_NAME_PARAMETER, _FORMAT, SINCE_SEGMENT, *RENDERING_PARAMETERS]},
    )(routes.transcript)
    app.get(
        "/schemas/transcript.json",
        summary="Read the JSON Schema of the format json",
        response_class=Response,
        responses={
            200: {"description": "The schema.", "content": {"application/schema+json": {"schema": {"type": "object"}}}},
            **problems({}),
        },
    )(routes.schema)
    recording = {
        content_type: {"schema": {"type": "string", "format": "binary"}} for content_type in CONTENT_TYPES.values()
    }
    app.get(
        "/transcribe-job/{job_name}/media",
        summary="Read the recording",
        response_class=Response,
        responses={
            200: {"description": "The recording.", "content": recording},
            206: {"description": "The range of the recording that was asked for.", "content": recording},
            **problems(
                {404: "No job has this name, or its recording is no longer kept.", 416: "No byte is in the range."},
                {404: schemas.JobMissing},
            ),
        },
        openapi_extra={"parameters": [JOB_NAME_PARAMETER, _RANGE]},
    )(routes.media)


def _add_health_routes(app: FastAPI, routes: HealthRoutes) -> None:
    """Add what supervisors and load balancers ask."""
    app.get("/health", summary="Is the process alive?", response_model=schemas.Health, responses=problems({}))(
        routes.health
    )
    app.get(
        "/readyz",
        summary="Can every part do its work?",
        response_model=schemas.ReadinessAnswer,
        responses=problems({503: "A part cannot do its work."}, {503: schemas.ReadinessAnswer}),
    )(routes.readiness)


def _add_metrics_route(app: FastAPI, routes: MetricsRoutes) -> None:
    """Add what Prometheus reads."""
    app.get(
        "/metrics",
        summary="How much has been done, and how much there is to do",
        response_class=Response,
        responses={
            200: {
                "description": "Every metric, in the text format of Prometheus.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **problems({}),
        },
    )(routes.scrape)
