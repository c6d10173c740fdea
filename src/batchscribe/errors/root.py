"""The root of all errors."""

from __future__ import annotations

from typing import ClassVar


class BatchScribeError(Exception):
    """Something went wrong that BatchScribe foresaw."""

    code: ClassVar[str] = "error"
    #: True where the same work may succeed when it is tried again.
    retryable: ClassVar[bool] = False
