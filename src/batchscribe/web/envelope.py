"""The outermost layers of the application: what every answer carries, and what happens when a handler breaks."""

from __future__ import annotations

import json
import logging
import uuid
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchscribe.web.errors import ERROR_CODE_HEADER, RETRY_AFTER_SECONDS, error_answer

_LOGGER = logging.getLogger(__name__)

#: Carried by every answer that does not say otherwise itself.
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Envelope:
    """ASGI middleware around the whole application.

    It adds the security headers; and where an answer is given before the request's body was read to its end, it says
    ``Connection: close``, because what follows on the connection is not a request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_unread_body = any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in scope["headers"]
        )

        async def watched_receive() -> Message:
            nonlocal has_unread_body
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                has_unread_body = False
            return message

        async def watched_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                present = {name for name, _ in headers}
                headers += [header for header in SECURITY_HEADERS if header[0] not in present]
                if has_unread_body:
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            await send(message)

        await self._app(scope, watched_receive, watched_send)


class LastResort:
    """ASGI middleware that answers an unforeseen error with a 500; under its reference the log has the traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        has_started = False

        async def watched_send(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Exception:  # the process's edge: a client must always get an answer, and the log the traceback
            if scope["type"] != "http":
                raise
            reference = uuid.uuid4().hex
            _LOGGER.exception("Internal error %s at %s %s", reference, scope["method"], scope["path"])
            if has_started:
                raise
            sentence = f"Internal error. Reference: {reference}"
            answer = error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", sentence)
            await answer(scope, receive, watched_send)


def error_answer_bytes(status: HTTPStatus, code: str, sentence: str) -> bytes:
    """Return a whole answer in the contract's shape, for the front to send in the application's place."""
    body = json.dumps({"error": sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (ERROR_CODE_HEADER.lower().encode(), code.encode()),
        *SECURITY_HEADERS,
    ]
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() + lines + b"\r\n" + body
