"""The paths of resumable uploads, with their documentation."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from batchscribe.web.documentation import IDEMPOTENCY_PARAMETER, problems
from batchscribe.web.tus import FILES_PATH, TusRoutes
from batchscribe.web.tus_headers import BODY_TYPE, CHECKSUM_ALGORITHMS, JOB_NAME_HEADER, VERSION, VERSION_HEADER


def _header(name: str, description: str, schema: dict[str, Any], *, is_required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": is_required, "description": description, "schema": schema}


_BYTES: dict[str, Any] = {"type": "integer", "minimum": 0}
_TEXT: dict[str, Any] = {"type": "string"}

_VERSION = _header(
    VERSION_HEADER, "The version of the protocol.", {"type": "string", "enum": [VERSION]}, is_required=True
)
_UPLOAD_ID = {"name": "upload_id", "in": "path", "required": True, "schema": _TEXT, "example": 32 * "0"}
_CHECKSUM = _header(
    "Upload-Checksum",
    f"An algorithm ({', '.join(CHECKSUM_ALGORITHMS)}) and the digest of this request's bytes in Base64.",
    _TEXT,
)
_BODY = {"content": {BODY_TYPE: {"schema": {"type": "string", "format": "binary"}}}}

_SAID: dict[str, dict[str, Any]] = {
    VERSION_HEADER: {"description": "The version of the protocol.", "schema": _TEXT},
    "Upload-Offset": {"description": "How many bytes are durable.", "schema": _BYTES},
    "Upload-Expires": {"description": "When an upload that nothing is added to is given up.", "schema": _TEXT},
    JOB_NAME_HEADER: {"description": "The job that the whole recording became.", "schema": _TEXT},
}
_NO_UPLOAD = "There is no such upload, or its time is over."
_NO_VERSION = f"The header {VERSION_HEADER} is missing, or names another version than {VERSION}."
_WRITING = {
    408: "No data arrived for too long; what had arrived is kept.",
    409: "The upload is at another offset, another request has taken it over, or its idempotency key was used before.",
    412: _NO_VERSION,
    413: "The recording is larger than the limit, or than was announced.",
    415: f"The body is not {BODY_TYPE}, or has a Content-Encoding.",
    429: "So many jobs wait, or uploads are under way, of all or of this API key, that one more is not accepted.",
    460: "The bytes are not those of Upload-Checksum; none of them is kept.",
    507: "There is too little free space for the recording.",
}


def _answer(status: int, description: str, **more: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": description, "headers": _SAID | more}}


def add_tus_routes(app: FastAPI, routes: TusRoutes) -> None:
    """Add the resumable uploads."""
    one = FILES_PATH + "/{upload_id}"
    for path, parameters in ((FILES_PATH, []), (one, [_UPLOAD_ID])):
        app.options(
            path,
            summary="Ask what the resumable uploads can do",
            status_code=204,
            response_class=Response,
            responses={
                204: {"description": "The versions, the extensions, and the largest recording."},
                **problems({}),
            },
            openapi_extra={"parameters": parameters},
        )(routes.options)
    app.post(
        FILES_PATH,
        summary="Begin a resumable upload (tus 1.0)",
        description="With a body of its own type also its first bytes. What is to become of the whole is said in "
        "Upload-Metadata: filename, and every other field of the form, each with its value in Base64.",
        status_code=201,
        response_class=Response,
        responses={
            **_answer(201, "The upload begins.", Location={"description": "Its path.", "schema": _TEXT}),
            **problems({400: "A header is missing or cannot be read, or no job could be made of this.", **_WRITING}),
        },
        openapi_extra={
            "parameters": [
                _VERSION,
                _header("Upload-Length", "The recording's size.", _BYTES, is_required=True),
                _header(
                    "Upload-Metadata",
                    "Pairs of a key and a value in Base64, with commas between them.",
                    {"type": "string", "example": "filename c3BlZWNoLndhdg==,language_code ZW4tVVM="},
                    is_required=True,
                ),
                _CHECKSUM,
                IDEMPOTENCY_PARAMETER,
            ],
            "requestBody": _BODY,
        },
    )(routes.create)
    app.head(
        one,
        summary="Ask how much of an upload is there",
        response_class=Response,
        responses={
            **_answer(
                200,
                "How much there is.",
                **{
                    "Upload-Length": {"description": "The recording's size.", "schema": _BYTES},
                    "Upload-Metadata": {"description": "As it was sent.", "schema": _TEXT},
                },
            ),
            **problems({404: _NO_UPLOAD, 412: _NO_VERSION}),
        },
        openapi_extra={"parameters": [_UPLOAD_ID, _VERSION]},
    )(routes.head)
    writing = problems({400: "A header is missing or cannot be read.", 404: _NO_UPLOAD, **_WRITING})
    offset = _header("Upload-Offset", "Where the bytes belong: where the upload is.", _BYTES, is_required=True)
    app.patch(
        one,
        summary="Add bytes to an upload; the last ones make the job",
        status_code=204,
        response_class=Response,
        responses={**_answer(204, "The bytes are durable."), **writing},
        openapi_extra={"parameters": [_UPLOAD_ID, _VERSION, offset, _CHECKSUM], "requestBody": _BODY},
    )(routes.patch)
    app.post(
        one,
        summary="Do what X-HTTP-Method-Override names",
        status_code=204,
        response_class=Response,
        responses={
            200: {"description": "As HEAD is answered.", "headers": _SAID},
            **_answer(204, "As PATCH or DELETE is answered."),
            **writing,
        },
        openapi_extra={
            "parameters": [
                _UPLOAD_ID,
                _header(
                    "X-HTTP-Method-Override",
                    "The method.",
                    {"type": "string", "enum": ["PATCH", "DELETE", "HEAD"]},
                    is_required=True,
                ),
                _VERSION,
                _header("Upload-Offset", "As for PATCH.", _BYTES),
                _CHECKSUM,
            ],
            "requestBody": _BODY,
        },
    )(routes.override)
    app.delete(
        one,
        summary="Drop an upload; a job that it became stays",
        status_code=204,
        response_class=Response,
        responses={204: {"description": "It is gone."}, **problems({404: _NO_UPLOAD, 412: _NO_VERSION})},
        openapi_extra={"parameters": [_UPLOAD_ID, _VERSION]},
    )(routes.delete)
