"""The one way in which a path is tied to a handler."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send


class PlainRoute(APIRoute):
    """A documented route whose handler takes the request and returns the response, with nothing between.

    FastAPI reads the documentation from it; its parameter parsing is left out, so that a bad parameter is refused in
    the contract's words and a status poll costs half. ``HEAD`` is answered wherever ``GET`` is.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler itself."""
        return cast("Callable[[Request], Coroutine[Any, Any, Response]]", self.endpoint)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether the request is for this route."""
        match, child_scope = super().matches(scope)
        if match is Match.PARTIAL and self._answers_head(scope):
            return Match.FULL, child_scope
        return match, child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        if self._answers_head(scope):
            await self.app(scope, receive, send)
        else:
            await super().handle(scope, receive, send)

    def _answers_head(self, scope: Scope) -> bool:
        """Whether this is a HEAD request to a path that GET is answered on."""
        return bool(scope["type"] == "http" and scope["method"] == "HEAD" and "GET" in (self.methods or ()))
