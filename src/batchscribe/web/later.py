"""What goes on after a handler has returned.

A stream may last for hours. Within the application's layers it would hold all their frames, some 15 KiB; so it goes on
outside of them, once they have returned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

#: Under these names a request's scope has the work that is left to later, and its connection.
_LATER = "batchscribe.later"
CONNECTION = "batchscribe.connection"

Later = Callable[[Send], Awaitable[None]]


class Connection(Protocol):
    """What a handler may know of a connection."""

    def when_lost(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` when the client has gone, at once where it has already; the last caller is the one told."""


class Application(FastAPI):
    """An application whose answers may go on after it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, then do what was left to later."""
        left: list[Later] = []
        # A scope of its own: what the layers put into it ends with them.
        await super().__call__({**scope, _LATER: left}, receive, send)
        while left:
            await left.pop()(send)


def leave_to_later(scope: Scope, work: Later) -> None:
    """Have work done when the application has returned; it is given the server's own ``send``."""
    scope[_LATER].append(work)


def connection_of(scope: Scope) -> Connection | None:
    """Return the connection that a request came on, where the server tells."""
    return cast("Connection | None", scope.get(CONNECTION))
