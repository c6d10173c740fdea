"""Whether the process lives, and whether its parts can do their work."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from batchscribe.service import TranscriptionService


class HealthRoutes:
    """The handlers that supervisors and load balancers ask."""

    def __init__(self, service: TranscriptionService) -> None:
        self._service = service

    async def health(self, _request: Request) -> Response:
        """Answer that the process lives; touches nothing."""
        return JSONResponse({"status": "healthy"})

    async def readiness(self, _request: Request) -> Response:
        """Answer 200 where every part can do its work, otherwise 503, with a sentence on each part."""
        parts = await run_in_threadpool(self._service.monitor.readiness)
        is_ready = all(part.is_ok for part in parts.values())
        content = {
            "status": "ready" if is_ready else "not ready",
            "parts": {name: {"ok": part.is_ok, "message": part.sentence} for name, part in parts.items()},
        }
        return JSONResponse(content, status_code=HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE)
