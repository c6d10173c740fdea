"""What AWS tells us over HTTP: jobs that have ended."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batchscribe.errors import UploadTooLarge
from batchscribe.web import schemas
from batchscribe.web.documentation import problems
from batchscribe.web.errors import error_answer

#: SNS's largest message is 256 KiB, and JSON may double it.
LARGEST_MESSAGE_BYTES = 512 << 10


class NotificationRoutes:
    """The handler of SNS's messages."""

    def __init__(self, receive: Callable[[bytes], None] | None) -> None:
        """Hand each message to ``receive``, which raises what it is refused for; None where none are expected."""
        self._receive = receive

    async def notify(self, request: Request) -> Response:
        """Take one message of SNS's, and answer once it is stored what is to be done."""
        if self._receive is None:
            return error_answer(HTTPStatus.NOT_FOUND, "not_found", "This server expects no notifications.")
        body = bytearray()
        async for data in request.stream():
            body += data
            if len(body) > LARGEST_MESSAGE_BYTES:
                raise UploadTooLarge(f"The message is larger than {LARGEST_MESSAGE_BYTES} bytes.")
        await run_in_threadpool(self._receive, bytes(body))
        return JSONResponse({"message": "Taken."})


def add_notification_route(app: FastAPI, routes: NotificationRoutes) -> None:
    """Add what AWS tells us."""
    body = {"application/json": {"schema": {"type": "object"}}, "text/plain": {"schema": {"type": "string"}}}
    app.post(
        "/aws-notifications",
        summary="Take a message of Amazon SNS: a job at AWS has ended",
        response_model=schemas.TakenNotification,
        responses=problems(
            {
                400: "The message is not SNS's own, or of another topic.",
                404: "No notifications are expected.",
                413: "The message is larger than any of SNS's.",
            }
        ),
        openapi_extra={"requestBody": {"required": True, "content": body}},
    )(routes.notify)
