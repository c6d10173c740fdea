"""Which pages of other origins may use the server from a browser, and what of its answers they may read."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from batchscribe.web.errors import ERROR_CODE_HEADER
from batchscribe.web.tus_headers import JOB_NAME_HEADER, VERSION_HEADER
from batchscribe.web.uploads import IDEMPOTENCY_HEADER

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

#: What a page may send, beside what every page may.
REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    IDEMPOTENCY_HEADER,
    "Last-Event-ID",
    "Range",
    "X-API-Key",
    VERSION_HEADER,
    "Upload-Checksum",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-HTTP-Method-Override",
    # What tus-js-client sends on request.
    "X-Request-ID",
    "X-Requested-With",
)

#: What a page may read, beside what every page may.
ANSWER_HEADERS = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    ERROR_CODE_HEADER,
    JOB_NAME_HEADER,
    VERSION_HEADER,
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Version",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
)

#: Seconds for which a browser may remember what it was allowed.
_MAX_AGE_SECONDS = 3600


def allow_origins(app: FastAPI, origins: tuple[str, ...]) -> None:
    """Let pages of these origins, and of no other, use the server. They bring an API key; cookies mean nothing here."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_credentials=False,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=ANSWER_HEADERS,
            max_age=_MAX_AGE_SECONDS,
        )
