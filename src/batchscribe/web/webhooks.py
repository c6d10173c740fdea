"""Webhook endpoints, the log of their deliveries, and the secrets by which receivers know us."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batchscribe.database.page_tokens import make_token, read_token
from batchscribe.domain.webhooks import (
    Attempt,
    Delivery,
    DeliveryState,
    EndpointState,
    WebhookEndpoint,
    read_subscription,
)
from batchscribe.errors import InvalidRequest
from batchscribe.web.caller import owner_of
from batchscribe.web.json_body import json_body
from batchscribe.web.pages import read_max_results

if TYPE_CHECKING:
    from batchscribe.service import TranscriptionService

_NEW_ENDPOINT: dict[str, type] = {"url": str, "events": list, "payload": str, "description": str}


class WebhookRoutes:
    """The handlers of endpoints and deliveries. Each caller has those of its own key."""

    def __init__(self, service: TranscriptionService) -> None:
        self._service = service

    async def create(self, request: Request) -> Response:
        """Register an endpoint and answer with it and its secret."""
        body = await json_body(request, fields=_NEW_ENDPOINT)
        if "url" not in body:
            raise InvalidRequest("No url provided")
        subscription = read_subscription(body["url"], tuple(body.get("events", ())), body.get("payload", ""))
        endpoint = await run_in_threadpool(
            self._service.webhooks.create,
            subscription,
            description=body.get("description", ""),
            owner=owner_of(request),
        )
        content = endpoint_to_json(endpoint) | {"secret": self._service.webhooks.secret(endpoint)}
        return JSONResponse(content, status_code=HTTPStatus.CREATED)

    async def list(self, request: Request) -> Response:
        """Answer with every endpoint, oldest first."""
        found = await run_in_threadpool(self._service.webhooks.list, owner=owner_of(request))
        return JSONResponse({"endpoints": [endpoint_to_json(each) for each in found], "count": len(found)})

    async def get(self, request: Request) -> Response:
        """Answer with one endpoint."""
        return JSONResponse(endpoint_to_json(await self._endpoint(request)))

    async def secret(self, request: Request) -> Response:
        """Answer with an endpoint's secret."""
        return JSONResponse({"secret": self._service.webhooks.secret(await self._endpoint(request))})

    async def job_secret(self, request: Request) -> Response:
        """Answer with the secret for webhooks that come with jobs."""
        return JSONResponse({"secret": self._service.webhooks.job_secret(owner=owner_of(request))})

    async def test(self, request: Request) -> Response:
        """Have a test event delivered; its delivery says what came of it."""
        delivery = await run_in_threadpool(
            self._service.webhooks.test_fire, _endpoint_id(request), owner=owner_of(request)
        )
        return JSONResponse(delivery_to_json(delivery), status_code=HTTPStatus.ACCEPTED)

    async def rotate_secret(self, request: Request) -> Response:
        """Give an endpoint another secret and answer with it."""
        endpoint = await run_in_threadpool(
            self._service.webhooks.rotate_secret, _endpoint_id(request), owner=owner_of(request)
        )
        return JSONResponse(endpoint_to_json(endpoint) | {"secret": self._service.webhooks.secret(endpoint)})

    async def pause(self, request: Request) -> Response:
        """Keep what an endpoint is to be told until it is resumed."""
        return await self._set_state(request, EndpointState.PAUSED)

    async def resume(self, request: Request) -> Response:
        """Send to an endpoint again, what was kept first."""
        return await self._set_state(request, EndpointState.ACTIVE)

    async def delete(self, request: Request) -> Response:
        """Remove an endpoint with the log of its deliveries."""
        endpoint_id = _endpoint_id(request)
        await run_in_threadpool(self._service.webhooks.delete, endpoint_id, owner=owner_of(request))
        return JSONResponse({"id": endpoint_id, "message": "The webhook endpoint has been deleted."})

    async def deliveries(self, request: Request) -> Response:
        """Answer with one page of the log, latest first."""
        query = request.query_params
        token = query.get("next_token")
        page = await run_in_threadpool(
            self._service.webhooks.deliveries,
            owner=owner_of(request),
            endpoint_id=_text(query.get("endpoint_id")),
            job_name=_text(query.get("job_name")),
            state=_state(query.get("state")),
            max_results=read_max_results(query.get("max_results")),
            after=read_token(token) if token else None,
        )
        content: dict[str, Any] = {
            "deliveries": [delivery_to_json(each) for each in page.deliveries],
            "count": len(page.deliveries),
        }
        if page.next_after is not None:
            content["next_token"] = make_token(page.next_after)
        return JSONResponse(content)

    async def delivery(self, request: Request) -> Response:
        """Answer with one delivery and every attempt at it."""
        delivery, attempts = await run_in_threadpool(
            self._service.webhooks.delivery, _delivery_id(request), owner=owner_of(request)
        )
        return JSONResponse(delivery_to_json(delivery, attempts))

    async def replay(self, request: Request) -> Response:
        """Send a delivery once more."""
        delivery = await run_in_threadpool(
            self._service.webhooks.replay, _delivery_id(request), owner=owner_of(request)
        )
        return JSONResponse(delivery_to_json(delivery), status_code=HTTPStatus.ACCEPTED)

    async def _endpoint(self, request: Request) -> WebhookEndpoint:
        return await run_in_threadpool(self._service.webhooks.get, _endpoint_id(request), owner=owner_of(request))

    async def _set_state(self, request: Request, state: EndpointState) -> Response:
        endpoint = await run_in_threadpool(
            self._service.webhooks.set_state, _endpoint_id(request), state, owner=owner_of(request)
        )
        return JSONResponse(endpoint_to_json(endpoint))


def endpoint_to_json(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Return an endpoint; never its secret."""
    return {
        "id": endpoint.id,
        "url": endpoint.subscription.url or None,
        "events": list(endpoint.subscription.events),
        "payload": endpoint.subscription.payload.value,
        "description": endpoint.description,
        "state": endpoint.state.value,
        "state_reason": endpoint.state_reason,
        "failing_since": _time(endpoint.failing_since),
        "secret_rotated_at": _time(endpoint.rotated_at),
        "created_at": _time(endpoint.created_at),
    }


def delivery_to_json(delivery: Delivery, attempts: Sequence[Attempt] | None = None) -> dict[str, Any]:
    """Return a delivery, with what came of each attempt where that is given."""
    data: dict[str, Any] = {
        "id": delivery.id,
        "webhook_id": delivery.message_id,
        "endpoint_id": delivery.endpoint_id or None,
        "url": delivery.url or None,
        "event": delivery.event_type,
        "job_name": delivery.job_name or None,
        "state": delivery.state.value,
        "attempt_count": delivery.attempts,
        "next_attempt_at": _time(delivery.due_at) if delivery.state is DeliveryState.PENDING else None,
        "happened_at": _time(delivery.happened_at),
        "ended_at": _time(delivery.ended_at),
    }
    if attempts is not None:
        data["attempts"] = [
            {
                "at": _time(each.at),
                "seconds": round(each.seconds, 3),
                "status": each.status,
                "error": each.error,
                "answer": each.answer,
            }
            for each in attempts
        ]
    return data


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _endpoint_id(request: Request) -> str:
    return _text(request.path_params["endpoint_id"]) or ""


def _delivery_id(request: Request) -> str:
    return _text(request.path_params["delivery_id"]) or ""


def _text(value: str | None) -> str | None:
    """Return a filter or an identifier without what no database keeps; then it matches nothing."""
    return None if value is None else value.encode("ascii", "replace").decode().replace("\x00", "?")[:200]


def _state(value: str | None) -> DeliveryState | None:
    if value is None:
        return None
    try:
        return DeliveryState(value)
    except ValueError:
        names = ", ".join(each.value for each in DeliveryState)
        raise InvalidRequest(f"Invalid state. Must be one of: {names}") from None
