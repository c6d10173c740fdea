"""What clients do with webhook endpoints and the log of deliveries; what is returned is as the server writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from batchscribe.client import steps
from batchscribe.client.answers import UnexpectedAnswer
from batchscribe.client.steps import Steps, T

_ENDPOINTS, _DELIVERIES = "/webhook-endpoints", "/webhook-deliveries"


class _Run(Protocol):
    def __call__(self, things: Steps[T], /) -> T: ...


class _AsyncRun(Protocol):
    def __call__(self, things: Steps[T], /) -> Awaitable[T]: ...


class Webhooks:
    """Receivers of webhooks, of one blocking client."""

    def __init__(self, run: _Run) -> None:
        self._run = run

    def create(
        self, url: str, *, events: Sequence[str] = (), payload: str = "standard", description: str = ""
    ) -> dict[str, Any]:
        """Register a receiver of these events, by default of the end of jobs; the answer alone has its ``secret``."""
        return self._run(_creating(url, events, payload, description))

    def list(self) -> list[dict[str, Any]]:
        """Return every endpoint, oldest first."""
        return _listed(self._run(steps.calling("GET", _ENDPOINTS)), "endpoints")

    def get(self, endpoint_id: str) -> dict[str, Any]:
        """Return one endpoint."""
        return self._run(_on_endpoint("GET", endpoint_id))

    def secret(self, endpoint_id: str | None = None) -> str:
        """Return the secret that an endpoint's messages are signed with or, without one, those of jobs' webhooks."""
        return str(self._run(_reading_secret(endpoint_id))["secret"])

    def test(self, endpoint_id: str) -> dict[str, Any]:
        """Have a test event sent; return its delivery."""
        return self._run(_on_endpoint("POST", endpoint_id, "/test"))

    def rotate(self, endpoint_id: str) -> dict[str, Any]:
        """Give an endpoint another ``secret``, which is in the answer; the one before signs for 24 hours more."""
        return self._run(_on_endpoint("POST", endpoint_id, "/rotate-secret"))

    def pause(self, endpoint_id: str) -> dict[str, Any]:
        """Keep what an endpoint is to be told until it is resumed."""
        return self._run(_on_endpoint("POST", endpoint_id, "/pause"))

    def resume(self, endpoint_id: str) -> dict[str, Any]:
        """Send to an endpoint again, what was kept first."""
        return self._run(_on_endpoint("POST", endpoint_id, "/resume"))

    def delete(self, endpoint_id: str) -> None:
        """Remove an endpoint with the log of its deliveries."""
        self._run(_on_endpoint("DELETE", endpoint_id))

    def deliveries(
        self, *, endpoint_id: str | None = None, job_name: str | None = None, state: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the log of deliveries, latest first, asking for more pages as they are read."""
        token: str | None = ""
        while token is not None:
            page = self._run(_paging(token, endpoint_id=endpoint_id, job_name=job_name, state=state))
            yield from _listed(page, "deliveries")
            token = page.get("next_token")

    def delivery(self, delivery_id: str) -> dict[str, Any]:
        """Return one delivery with every attempt at it."""
        return self._run(_on_delivery("GET", delivery_id))

    def replay(self, delivery_id: str) -> dict[str, Any]:
        """Send a delivery once more, under the same id."""
        return self._run(_on_delivery("POST", delivery_id, "/replay"))


class AsyncWebhooks:
    """The same for a client of asyncio, to be awaited."""

    def __init__(self, run: _AsyncRun) -> None:
        self._run = run

    async def create(
        self, url: str, *, events: Sequence[str] = (), payload: str = "standard", description: str = ""
    ) -> dict[str, Any]:
        """Register a receiver of these events, by default of the end of jobs; the answer alone has its ``secret``."""
        return await self._run(_creating(url, events, payload, description))

    async def list(self) -> list[dict[str, Any]]:
        """Return every endpoint, oldest first."""
        return _listed(await self._run(steps.calling("GET", _ENDPOINTS)), "endpoints")

    async def get(self, endpoint_id: str) -> dict[str, Any]:
        """Return one endpoint."""
        return await self._run(_on_endpoint("GET", endpoint_id))

    async def secret(self, endpoint_id: str | None = None) -> str:
        """Return the secret that an endpoint's messages are signed with or, without one, those of jobs' webhooks."""
        return str((await self._run(_reading_secret(endpoint_id)))["secret"])

    async def test(self, endpoint_id: str) -> dict[str, Any]:
        """Have a test event sent; return its delivery."""
        return await self._run(_on_endpoint("POST", endpoint_id, "/test"))

    async def rotate(self, endpoint_id: str) -> dict[str, Any]:
        """Give an endpoint another ``secret``, which is in the answer; the one before signs for 24 hours more."""
        return await self._run(_on_endpoint("POST", endpoint_id, "/rotate-secret"))

    async def pause(self, endpoint_id: str) -> dict[str, Any]:
        """Keep what an endpoint is to be told until it is resumed."""
        return await self._run(_on_endpoint("POST", endpoint_id, "/pause"))

    async def resume(self, endpoint_id: str) -> dict[str, Any]:
        """Send to an endpoint again, what was kept first."""
        return await self._run(_on_endpoint("POST", endpoint_id, "/resume"))

    async def delete(self, endpoint_id: str) -> None:
        """Remove an endpoint with the log of its deliveries."""
        await self._run(_on_endpoint("DELETE", endpoint_id))

    async def deliveries(
        self, *, endpoint_id: str | None = None, job_name: str | None = None, state: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the log of deliveries, latest first, asking for more pages as they are read."""
        token: str | None = ""
        while token is not None:
            page = await self._run(_paging(token, endpoint_id=endpoint_id, job_name=job_name, state=state))
            for each in _listed(page, "deliveries"):
                yield each
            token = page.get("next_token")

    async def delivery(self, delivery_id: str) -> dict[str, Any]:
        """Return one delivery with every attempt at it."""
        return await self._run(_on_delivery("GET", delivery_id))

    async def replay(self, delivery_id: str) -> dict[str, Any]:
        """Send a delivery once more, under the same id."""
        return await self._run(_on_delivery("POST", delivery_id, "/replay"))


def _creating(url: str, events: Sequence[str], payload: str, description: str) -> Steps[dict[str, Any]]:
    body = {"url": url, "events": list(events), "payload": payload, "description": description}
    return steps.calling("POST", _ENDPOINTS, body=body)


def _on_endpoint(method: str, endpoint_id: str, part: str = "") -> Steps[dict[str, Any]]:
    return steps.calling(method, f"{_ENDPOINTS}/{quote(endpoint_id, safe='')}{part}")


def _on_delivery(method: str, delivery_id: str, part: str = "") -> Steps[dict[str, Any]]:
    return steps.calling(method, f"{_DELIVERIES}/{quote(delivery_id, safe='')}{part}")


def _reading_secret(endpoint_id: str | None) -> Steps[dict[str, Any]]:
    return (
        steps.calling("GET", "/webhook-secret") if endpoint_id is None else _on_endpoint("GET", endpoint_id, "/secret")
    )


def _paging(token: str, **filters: str | None) -> Steps[dict[str, Any]]:
    chosen = {name: value for name, value in {**filters, "next_token": token or None}.items() if value is not None}
    return steps.calling("GET", _DELIVERIES, params={"max_results": str(steps.PAGE_JOBS), **chosen})


def _listed(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = data.get(name)
    if not isinstance(found, list):
        raise UnexpectedAnswer(f"The server's answer has no list of {name}.")
    return found
