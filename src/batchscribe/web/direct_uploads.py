"""Permission to put a recording into the bucket, over HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batchscribe.errors import InvalidRequest
from batchscribe.web.caller import key_of, owner_of
from batchscribe.web.documentation import problems
from batchscribe.web.json_body import json_object
from batchscribe.web.schemas import Moment

if TYPE_CHECKING:
    from batchscribe.service import TranscriptionService

_BODY: dict[str, Any] = {
    "required": False,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "size_bytes": {
                        "type": "integer",
                        "minimum": 0,
                        "description": "How large the recording is: one that is too large is refused at once.",
                    }
                },
            }
        }
    },
}


class UploadPermission(BaseModel):
    """Permission to put one recording into the bucket."""

    upload_id: str = Field(description="Send this as `upload_id` in the recording's place, once it is there.")
    method: Literal["PUT"]
    url: str = Field(description="Where to PUT the recording's bytes. Whoever has it may.")
    headers: dict[str, str] = Field(description="What to send beside them.")
    expires_at: Moment
    max_bytes: int = Field(description="A larger recording is not accepted afterwards.")


class DirectUploadRoutes:
    """The handler."""

    def __init__(self, service: TranscriptionService) -> None:
        self._service = service

    async def begin(self, request: Request) -> Response:
        """Answer 201 with a signed address."""
        size_bytes = _size((await json_object(request)).get("size_bytes"))
        upload = await run_in_threadpool(
            self._service.begin_direct_upload, owner=owner_of(request), key=key_of(request), size_bytes=size_bytes
        )
        answer = {
            "upload_id": upload.id,
            "method": "PUT",
            "url": upload.url,
            "headers": {},
            "expires_at": upload.expires_at.isoformat(),
            "max_bytes": upload.max_bytes,
        }
        return JSONResponse(answer, status_code=HTTPStatus.CREATED)


def _size(value: Any) -> int | None:  # noqa: ANN401 - JSON
    """Return a size in bytes; JSON may write a whole number with a point. Raises InvalidRequest."""
    if value is None:
        return None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value < 0 or value != value // 1:
        raise InvalidRequest("Invalid size_bytes. Must be a whole number")
    return int(value)


def add_direct_upload_routes(app: FastAPI, service: TranscriptionService) -> None:
    """Add the route."""
    app.post(
        "/uploads",
        summary="Get permission to put a recording into the bucket",
        status_code=201,
        response_model=UploadPermission,
        responses=problems(
            {
                400: "The body cannot be read.",
                409: "The server keeps recordings in a folder.",
                413: "The recording is larger than the limit.",
                507: "There is too little free space.",
            }
        ),
        openapi_extra={"requestBody": _BODY},
    )(DirectUploadRoutes(service).begin)
