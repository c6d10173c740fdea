"""Stopping to wait for a client that has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from batchscribe.web.later import connection_of

T = TypeVar("T")


async def unless_client_leaves(request: Request, waiting: Coroutine[Any, Any, T]) -> T:
    """Return what is waited for. Raises ClientDisconnect as soon as the client hangs up, and then stops to wait.

    The request's body must have been read, or there must be none.
    """
    connection, task = connection_of(request.scope), asyncio.current_task()
    if connection is None or task is None:
        return await waiting
    departure = _Departure(task)
    connection.when_lost(departure.happen)
    if departure.has_happened():
        waiting.close()
        raise ClientDisconnect
    departure.is_awaited = True
    try:
        return await waiting
    except asyncio.CancelledError:
        if departure.has_happened() and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        departure.is_awaited = False


class _Departure:
    """A client's going away, which cancels who waits for it: for thousands cheaper than a watching task each."""

    __slots__ = ("_has_happened", "_task", "is_awaited")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self._has_happened = self.is_awaited = False

    def has_happened(self) -> bool:
        return self._has_happened

    def happen(self) -> None:
        self._has_happened = True
        if self.is_awaited:
            self._task.cancel()
