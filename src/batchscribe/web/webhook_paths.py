"""The paths of webhooks, with their documentation."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field

from batchscribe.domain.webhooks import EVENT_TYPES, DeliveryState, PayloadFormat
from batchscribe.web.documentation import problems, query_parameter
from batchscribe.web.pages import DEFAULT_MAX_RESULTS, HIGHEST_MAX_RESULTS

if TYPE_CHECKING:
    from batchscribe.web.webhooks import WebhookRoutes

_NO_ENDPOINT = {404: "No endpoint of yours has this id."}
_NO_DELIVERY = {404: "No delivery of yours has this id."}
_ADDRESS = "null where it cannot be read any more, because the server's secret key was changed."
_NO_KEY = {409: "The server's operator has set no key to sign webhooks with."}


class Endpoint(BaseModel):
    """A registered receiver."""

    id: str
    url: str | None = Field(description=_ADDRESS)
    events: list[str]
    payload: Literal["standard", "eventbridge"]
    description: str
    state: Literal["active", "paused", "disabled"]
    state_reason: str | None = Field(description="Why it is not active, where nobody asked for that.")
    failing_since: datetime | None = Field(description="Since when every delivery has failed.")
    secret_rotated_at: datetime | None
    created_at: datetime


class Secret(BaseModel):
    """What deliveries are signed with."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class EndpointWithSecret(Endpoint, Secret):
    """A receiver, and what its deliveries are signed with."""


class EndpointList(BaseModel):
    """Every endpoint, oldest first."""

    endpoints: list[Endpoint]
    count: int


class DeletedEndpoint(BaseModel):
    """The confirmation that an endpoint is gone."""

    id: str
    message: str


class ShownAttempt(BaseModel):
    """One attempt at a delivery."""

    at: datetime
    seconds: float
    status: int | None = Field(description="The receiver's HTTP status.")
    error: str | None = Field(description="What went wrong before there was one.")
    answer: str = Field(description="The first characters of the receiver's answer.")


class ShownDelivery(BaseModel):
    """One event on its way to one receiver."""

    id: str
    webhook_id: str = Field(description="The header webhook-id, the same at each attempt.")
    endpoint_id: str | None = Field(description="null for a job's own webhook.")
    url: str | None = Field(description=_ADDRESS)
    event: str
    job_name: str | None
    state: Literal["pending", "held", "delivered", "failed"]
    attempt_count: int
    next_attempt_at: datetime | None
    happened_at: datetime
    ended_at: datetime | None


class DeliveryWithAttempts(ShownDelivery):
    """A delivery, and what came of each attempt."""

    attempts: list[ShownAttempt]


class DeliveryList(BaseModel):
    """One page of the log, latest first."""

    deliveries: list[ShownDelivery]
    count: int
    next_token: str | None = Field(default=None, description="Where to read on; absent on the last page.")


_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["url"],
                "properties": {
                    "url": {"type": "string", "format": "uri", "description": "https:// at a public host."},
                    "events": {"type": "array", "items": {"type": "string", "enum": list(EVENT_TYPES)}},
                    "payload": {
                        "type": "string",
                        "enum": [each.value for each in PayloadFormat],
                        "default": "standard",
                    },
                    "description": {"type": "string", "maxLength": 500},
                },
            }
        }
    },
}
_FILTERS = [
    query_parameter("endpoint_id", "Only deliveries to this endpoint.", {"type": "string"}),
    query_parameter("job_name", "Only deliveries about this job.", {"type": "string"}),
    query_parameter(
        "state", "Only deliveries in this state.", {"type": "string", "enum": [each.value for each in DeliveryState]}
    ),
    query_parameter(
        "max_results",
        f"How many to return; more than {HIGHEST_MAX_RESULTS} is taken as {HIGHEST_MAX_RESULTS}.",
        {"type": "integer", "minimum": 1, "default": DEFAULT_MAX_RESULTS},
    ),
    query_parameter("next_token", "The next_token of the page before.", {"type": "string"}),
]


def _path_parameter(name: str) -> dict[str, Any]:
    return {"parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}}]}


def add_webhook_routes(app: FastAPI, routes: WebhookRoutes) -> None:
    """Add endpoints, their secrets, and the log of deliveries."""
    app.post(
        "/webhook-endpoints",
        summary="Register a webhook endpoint",
        status_code=201,
        response_model=EndpointWithSecret,
        responses=problems({400: "The address is not allowed, or a field is invalid.", **_NO_KEY}),
        openapi_extra={"requestBody": _BODY},
    )(routes.create)
    app.get(
        "/webhook-endpoints", summary="List webhook endpoints", response_model=EndpointList, responses=problems({})
    )(routes.list)
    one = "/webhook-endpoints/{endpoint_id}"
    of_endpoint = _path_parameter("endpoint_id")
    for method, path, summary, handler, model, status, more in (
        ("GET", one, "Read a webhook endpoint", routes.get, Endpoint, 200, {}),
        ("DELETE", one, "Delete a webhook endpoint", routes.delete, DeletedEndpoint, 200, {}),
        ("GET", f"{one}/secret", "Read an endpoint's secret", routes.secret, Secret, 200, _NO_KEY),
        ("POST", f"{one}/rotate-secret", "Change a secret", routes.rotate_secret, EndpointWithSecret, 200, _NO_KEY),
        ("POST", f"{one}/test", "Send a test event", routes.test, ShownDelivery, 202, {}),
        ("POST", f"{one}/pause", "Pause an endpoint", routes.pause, Endpoint, 200, {}),
        ("POST", f"{one}/resume", "Resume an endpoint", routes.resume, Endpoint, 200, {}),
    ):
        app.add_api_route(
            path,
            handler,
            methods=[method],
            summary=summary,
            response_model=model,
            status_code=status,
            responses=problems({**_NO_ENDPOINT, **more}),
            openapi_extra=of_endpoint,
        )
    app.get(
        "/webhook-secret",
        summary="Read the secret for webhooks that come with jobs",
        response_model=Secret,
        responses=problems(_NO_KEY),
    )(routes.job_secret)
    _add_delivery_routes(app, routes)


def _add_delivery_routes(app: FastAPI, routes: WebhookRoutes) -> None:
    of_delivery = _path_parameter("delivery_id")
    app.get(
        "/webhook-deliveries",
        summary="List deliveries, latest first",
        response_model=DeliveryList,
        responses=problems({400: "A filter, the size of the page or the token is invalid."}),
        openapi_extra={"parameters": _FILTERS},
    )(routes.deliveries)
    app.get(
        "/webhook-deliveries/{delivery_id}",
        summary="Read a delivery and its attempts",
        response_model=DeliveryWithAttempts,
        responses=problems(_NO_DELIVERY),
        openapi_extra=of_delivery,
    )(routes.delivery)
    app.post(
        "/webhook-deliveries/{delivery_id}/replay",
        summary="Send a delivery once more",
        status_code=202,
        response_model=ShownDelivery,
        responses=problems(_NO_DELIVERY),
        openapi_extra=of_delivery,
    )(routes.replay)
