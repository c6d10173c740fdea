"""Who speaks in a transcript, and the names that people give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batchscribe.errors import InvalidRequest
from batchscribe.web import schemas
from batchscribe.web.caller import owner_of
from batchscribe.web.documentation import JOB_NAME_PARAMETER, problems
from batchscribe.web.json_body import check_text, json_object
from batchscribe.wire import speakers_to_json

if TYPE_CHECKING:
    from batchscribe.service import TranscriptionService

LONGEST_NAME = 100

_PATH = "/transcribe-job/{job_name}/speakers"
_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "minProperties": 1,
                "description": "Names by label; null takes a name away, and labels that are not here keep theirs.",
                "additionalProperties": {"type": ["string", "null"], "minLength": 1, "maxLength": LONGEST_NAME},
                "examples": [{"spk_0": "Ann", "spk_1": "Bob"}],
            }
        }
    },
}


class SpeakerRoutes:
    """The handlers of speakers."""

    def __init__(self, service: TranscriptionService) -> None:
        self._service = service

    async def list(self, request: Request) -> Response:
        """Send the speakers and channels of a transcript."""
        job_name = request.path_params["job_name"]
        transcript = await run_in_threadpool(self._service.transcript, job_name, owner=owner_of(request))
        return JSONResponse(speakers_to_json(job_name, transcript))

    async def rename(self, request: Request) -> Response:
        """Give names, and send the speakers as they are then."""
        job_name = request.path_params["job_name"]
        given = await json_object(request)
        if not given:
            raise InvalidRequest("The body names nobody. Send names by label")
        names: dict[str, str | None] = {}
        for label, name in given.items():
            check_text(label, "label")
            names[label] = None if name is None else _checked(label, name)
        transcript = await run_in_threadpool(self._service.name_speakers, job_name, names, owner=owner_of(request))
        return JSONResponse(speakers_to_json(job_name, transcript))


def add_speaker_routes(app: FastAPI, service: TranscriptionService) -> None:
    """Add the routes of speakers."""
    routes = SpeakerRoutes(service)
    answers = {404: "No job has this name.", 409: "There is no transcript: the job goes on, or has failed."}
    app.get(
        _PATH,
        summary="List the speakers and channels of a transcript",
        response_model=schemas.SpeakersAnswer,
        responses=problems(answers, {404: schemas.JobMissing}),
        openapi_extra={"parameters": [JOB_NAME_PARAMETER]},
    )(routes.list)
    app.patch(
        _PATH,
        summary="Give speakers and channels names, in every format",
        response_model=schemas.SpeakersAnswer,
        responses=problems(
            answers | {400: "The body is no object of names, or a label is none of this transcript."},
            {404: schemas.JobMissing},
        ),
        openapi_extra={"parameters": [JOB_NAME_PARAMETER], "requestBody": _BODY},
    )(routes.rename)


def _checked(label: str, name: object) -> str:
    """Return a name with single spaces. Raises InvalidRequest for what cannot be one."""
    if not isinstance(name, str):
        raise InvalidRequest(f"The name of {label[:50]} must be a text or null")
    check_text(name, "name")
    plain = " ".join(name.split())
    if not 1 <= len(plain) <= LONGEST_NAME or not plain.isprintable():
        raise InvalidRequest(f"The name of {label[:50]} must have 1 to {LONGEST_NAME} printable characters")
    return plain
