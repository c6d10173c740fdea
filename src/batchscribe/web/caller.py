"""Who a request is from, as far as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

if TYPE_CHECKING:
    from batchscribe.domain.keys import ApiKey


def owner_of(request: Request) -> str:
    """Return the id of the request's key; empty where none is asked for."""
    owner: str = request.scope.get("batchscribe.owner", "")
    return owner


def key_of(request: Request) -> ApiKey | None:
    """Return the request's key; None where none is asked for."""
    key: ApiKey | None = request.scope.get("batchscribe.key")
    return key
