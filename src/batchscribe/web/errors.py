"""How every refusal and every error is answered: the one table of statuses, and the contract's JSON shape.

An error's body is ``{"error": sentence}``; only a job that does not exist has a ``message`` beside it. The stable code
for programs stands in the header ``X-Error-Code``, so that the body stays the contract's.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from batchscribe.errors import JobNotFound, RequestRefused

ERROR_CODE_HEADER = "X-Error-Code"

#: The message beside the error of an unknown job, as the contract words it.
JOB_NOT_FOUND_MESSAGE = "The transcription job does not exist or has been deleted."

#: Seconds after which a client may try again what failed for the moment.
RETRY_AFTER_SECONDS = 5

#: Of tus alone: https://tus.io/protocols/resumable-upload#checksum
CHECKSUM_MISMATCH = 460

#: The HTTP status of every code that a request can be refused with.
STATUSES: dict[str, int] = {
    "request_refused": HTTPStatus.BAD_REQUEST,
    "invalid_request": HTTPStatus.BAD_REQUEST,
    "unsupported_media_format": HTTPStatus.BAD_REQUEST,
    "unsupported_language": HTTPStatus.BAD_REQUEST,
    "job_not_found": HTTPStatus.NOT_FOUND,
    "upload_not_found": HTTPStatus.NOT_FOUND,
    "upload_offset_conflict": HTTPStatus.CONFLICT,
    "checksum_mismatch": CHECKSUM_MISMATCH,
    "tus_version_missing": HTTPStatus.PRECONDITION_FAILED,
    "unsupported_content_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "media_not_found": HTTPStatus.NOT_FOUND,
    "vocabulary_not_found": HTTPStatus.NOT_FOUND,
    "upload_too_slow": HTTPStatus.REQUEST_TIMEOUT,
    "job_not_finished": HTTPStatus.CONFLICT,
    "job_already_ended": HTTPStatus.CONFLICT,
    "upload_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "service_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "storage_full": HTTPStatus.INSUFFICIENT_STORAGE,
    "queue_full": HTTPStatus.TOO_MANY_REQUESTS,
    "idempotency_conflict": HTTPStatus.CONFLICT,
    "address_not_allowed": HTTPStatus.BAD_REQUEST,
    "quota_used_up": HTTPStatus.TOO_MANY_REQUESTS,
    "webhook_not_found": HTTPStatus.NOT_FOUND,
    "webhooks_not_set_up": HTTPStatus.CONFLICT,
    "not_set_up": HTTPStatus.CONFLICT,
}


def error_answer(status: int, code: str, error: str, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error in the contract's shape."""
    return JSONResponse({"error": error}, status_code=status, headers={**(headers or {}), ERROR_CODE_HEADER: code})


async def answer_refusal(_request: Request, error: Exception) -> Response:
    """Answer a request that was refused."""
    if not isinstance(error, RequestRefused):
        raise error
    headers = {ERROR_CODE_HEADER: error.code}
    if error.retryable:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    content = {"error": str(error)}
    if isinstance(error, JobNotFound):
        content["message"] = JOB_NOT_FOUND_MESSAGE
    return JSONResponse(content, status_code=STATUSES[error.code], headers=headers)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: an unknown path, or a method that a path does not have.

    ``OPTIONS`` on a known path is answered with the methods it has.
    """
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
        status = HTTPStatus(error.status_code)
        return error_answer(status, status.name.lower(), f"{status.phrase}: {request.url.path}", headers=error.headers)
    methods = _methods_of(request)
    headers = {"Allow": ", ".join(methods)}
    if request.method == "OPTIONS":
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
    sentence = f"{request.method} is not allowed here. Allowed: {', '.join(methods)}."
    return error_answer(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", sentence, headers=headers)


async def answer_nobody(_request: Request, error: Exception) -> Response:
    """Answer a client that has gone; the server drops the answer."""
    if not isinstance(error, ClientDisconnect):
        raise error
    return Response(status_code=HTTPStatus.BAD_REQUEST)


def _methods_of(request: Request) -> list[str]:
    """Return every method that the request's path has, over all its routes."""
    methods = {"OPTIONS"}
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= set(getattr(route, "methods", None) or ())
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods)
