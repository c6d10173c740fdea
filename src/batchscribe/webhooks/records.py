"""What is written down when attempts at deliveries have come back: many at a time, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from batchscribe.database import deliveries, webhooks
from batchscribe.database.deliveries import Outcome
from batchscribe.domain.webhooks import (
    GONE,
    PATIENCE,
    Attempt,
    Delivery,
    DeliveryState,
    EndpointState,
    WebhookEndpoint,
    after_attempt,
)

GONE_REASON = "The receiver answered 410 Gone."
PATIENCE_REASON = "Every delivery has failed for five days."


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A delivery that was tried, with what came of it."""

    delivery: Delivery
    #: None for a job's own webhook.
    endpoint: WebhookEndpoint | None
    attempt: Attempt


def record_results(
    connection: Connection, results: Sequence[Result], *, token: str, jitter: Callable[[], float]
) -> None:
    """Store what came of attempts, when each is to be repeated, and how the endpoints are."""
    deliveries.record(connection, [_outcome(each, jitter()) for each in results], token=token)
    last = {result.endpoint.id: result for result in results if result.endpoint is not None}
    for endpoint_id, endpoint in webhooks.find_endpoints(connection, last).items():
        if endpoint.state is EndpointState.ACTIVE:
            _note_health(connection, endpoint, last[endpoint_id].attempt)


def _outcome(result: Result, jitter: float) -> Outcome:
    made = result.delivery.attempts + 1
    state, due_at = after_attempt(made, result.attempt, jitter=jitter)
    if result.attempt.status == GONE and result.endpoint is None:
        state, due_at = DeliveryState.FAILED, None
    return Outcome(
        delivery_id=result.delivery.id, attempt=result.attempt, attempts_made=made, state=state, due_at=due_at
    )


def _note_health(connection: Connection, endpoint: WebhookEndpoint, attempt: Attempt) -> None:
    """Store what the last attempt says of an active endpoint."""
    if attempt.status == GONE:
        webhooks.set_state(connection, endpoint.id, EndpointState.DISABLED, at=attempt.at, reason=GONE_REASON)
    elif attempt.is_success:
        if endpoint.failing_since is not None:
            webhooks.note_health(connection, endpoint.id, failing_since=None)
    elif endpoint.failing_since is None:
        webhooks.note_health(connection, endpoint.id, failing_since=attempt.at)
    elif attempt.at - endpoint.failing_since >= PATIENCE:
        webhooks.set_state(connection, endpoint.id, EndpointState.PAUSED, at=attempt.at, reason=PATIENCE_REASON)
