"""Who a request is from, as far as it says."""

from __future__ import annotations

from starlette.requests import Request


def owner_of(request: Request) -> str:
    """Return the id of the request's key; empty where none is asked for."""
    owner: str = request.scope.get("batchscribe.owner", "")
    return owner
