"""The root of all errors, and of those that refuse a request."""

from __future__ import annotations

from typing import ClassVar


class BatchScribeError(Exception):
    """Something went wrong that BatchScribe foresaw."""

    code: ClassVar[str] = "error"
    #: True where the same work may succeed when it is tried again.
    retryable: ClassVar[bool] = False


class RequestRefused(BatchScribeError):
    """A request that cannot be granted."""

    code = "request_refused"
