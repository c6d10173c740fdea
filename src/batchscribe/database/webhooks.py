"""Queries for webhook endpoints, and the scheduling of what they are told. All run in their caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from batchscribe.database.schema import webhook_attempts as attempts
from batchscribe.database.schema import webhook_deliveries as deliveries
from batchscribe.database.schema import webhook_endpoints as endpoints
from batchscribe.database.schema import webhook_messages as messages
from batchscribe.domain.webhooks import (
    TEST_EVENT,
    DeliveryState,
    EndpointState,
    PayloadFormat,
    Subscription,
    WebhookEndpoint,
    new_id,
    origin_of,
)

#: Rows of endpoints: id, events, payload, state.
Receivers = Sequence[Row[Any, Any, Any, Any]]


def add_endpoint(connection: Connection, endpoint: WebhookEndpoint) -> None:
    """Insert an endpoint."""
    connection.execute(
        insert(endpoints).values(
            id=endpoint.id,
            owner=endpoint.owner,
            url=endpoint.subscription.url,
            events=list(endpoint.subscription.events),
            payload=endpoint.subscription.payload.value,
            description=endpoint.description,
            state=endpoint.state.value,
            created_at=endpoint.created_at,
        )
    )


def find_endpoint(connection: Connection, endpoint_id: str, *, owner: str | None = None) -> WebhookEndpoint | None:
    """Return an endpoint, or None where there is none, or it is not this owner's."""
    query = select(endpoints).where(endpoints.c.id == endpoint_id)
    if owner is not None:
        query = query.where(endpoints.c.owner == owner)
    row = connection.execute(query).one_or_none()
    return None if row is None else _endpoint(row)


def find_endpoints(connection: Connection, endpoint_ids: Iterable[str]) -> dict[str, WebhookEndpoint]:
    """Return those of some endpoints that there are, by their ids."""
    ids = list(endpoint_ids)
    found: dict[str, WebhookEndpoint] = {}
    for start in range(0, len(ids), 500):
        query = select(endpoints).where(endpoints.c.id.in_(ids[start : start + 500]))
        found |= {row.id: _endpoint(row) for row in connection.execute(query)}
    return found


def list_endpoints(connection: Connection, *, owner: str) -> list[WebhookEndpoint]:
    """Return an owner's endpoints, oldest first."""
    query = select(endpoints).where(endpoints.c.owner == owner).order_by(endpoints.c.created_at, endpoints.c.id)
    return [_endpoint(row) for row in connection.execute(query)]


def rotate(connection: Connection, endpoint_id: str, *, at: datetime) -> None:
    """Give an endpoint another secret."""
    connection.execute(
        update(endpoints)
        .where(endpoints.c.id == endpoint_id)
        .values(generation=endpoints.c.generation + 1, rotated_at=at)
    )


def set_state(
    connection: Connection, endpoint_id: str, state: EndpointState, *, at: datetime, reason: str | None = None
) -> None:
    """Pause, disable or resume an endpoint; what waits for it is held, or due at once."""
    connection.execute(
        update(endpoints)
        .where(endpoints.c.id == endpoint_id)
        .values(state=state.value, state_reason=reason, failing_since=None)
    )
    before, after = DeliveryState.PENDING, DeliveryState.HELD
    if state is EndpointState.ACTIVE:
        before, after = after, before
    connection.execute(
        update(deliveries)
        .where(deliveries.c.endpoint_id == endpoint_id, deliveries.c.state == before.value)
        .values(state=after.value, due_at=at, claim=None)
    )


def note_health(connection: Connection, endpoint_id: str, *, failing_since: datetime | None) -> None:
    """Store since when everything fails at an endpoint, or that it does no more."""
    connection.execute(update(endpoints).where(endpoints.c.id == endpoint_id).values(failing_since=failing_since))


def delete_endpoint(connection: Connection, endpoint_id: str) -> None:
    """Remove an endpoint with the log of its deliveries."""
    own = select(deliveries.c.id).where(deliveries.c.endpoint_id == endpoint_id)
    connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(own)))
    connection.execute(delete(deliveries).where(deliveries.c.endpoint_id == endpoint_id))
    connection.execute(delete(endpoints).where(endpoints.c.id == endpoint_id))


def find_receivers(connection: Connection, owner: str) -> Receivers:
    """Return whom an owner's events are written down for."""
    query = select(endpoints.c.id, endpoints.c.events, endpoints.c.payload, endpoints.c.state)
    is_told = endpoints.c.state != EndpointState.DISABLED.value
    return connection.execute(query.where(endpoints.c.owner == owner, is_told)).all()


def schedule(
    connection: Connection,
    event_type: str,
    data: Mapping[str, Any],
    *,
    owner: str,
    webhook: Subscription | None,
    at: datetime,
    receivers: Receivers | None = None,
) -> None:
    """Write what is to be told of a job's event, and to whom, in the transaction in which it happens.

    ``receivers`` are the owner's, where they were looked up before.
    """
    found = find_receivers(connection, owner) if receivers is None else receivers
    rows = [
        _delivery(endpoint_id=row.id, payload=row.payload, is_held=row.state == EndpointState.PAUSED.value)
        for row in found
        if event_type in row.events
    ]
    if webhook is not None and event_type in webhook.events:
        rows.append(_delivery(webhook=webhook, payload=webhook.payload.value))
    if rows:
        _add(connection, rows, event_type, data, owner=owner, at=at)


def schedule_test(connection: Connection, endpoint: WebhookEndpoint, *, at: datetime) -> str:
    """Write a test-fire, whatever the endpoint subscribes to; return the delivery's id."""
    row = _delivery(endpoint_id=endpoint.id, payload=endpoint.subscription.payload.value)
    _add(connection, [row], TEST_EVENT, {"endpoint_id": endpoint.id}, owner=endpoint.owner, at=at)
    return str(row["id"])


def _delivery(
    *, endpoint_id: str = "", webhook: Subscription | None = None, payload: str, is_held: bool = False
) -> dict[str, Any]:
    """Make the part of a row that differs between receivers; all rows have the same keys."""
    return {
        "id": new_id("dlv"),
        "endpoint_id": endpoint_id,
        "url": None if webhook is None else webhook.url,
        "payload": payload,
        # Addresses of jobs may all differ although they lead to one receiver.
        "target": endpoint_id if webhook is None else (webhook.origin or origin_of(webhook.url))[:300],
        "state": (DeliveryState.HELD if is_held else DeliveryState.PENDING).value,
    }


def _add(
    connection: Connection,
    rows: Sequence[dict[str, Any]],
    event_type: str,
    data: Mapping[str, Any],
    *,
    owner: str,
    at: datetime,
) -> None:
    message_id = new_id("msg")
    connection.execute(insert(messages).values(id=message_id, data=dict(data), happened_at=at))
    shared = {
        "message_id": message_id,
        "owner": owner,
        "job_name": data.get("job_name", ""),
        "event_type": event_type,
        "due_at": at,
        "created_at": at,
    }
    connection.execute(insert(deliveries), [row | shared for row in rows])


def _endpoint(row: Row[*tuple[Any, ...]]) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=row.id,
        owner=row.owner,
        subscription=Subscription(url=row.url, events=tuple(row.events), payload=PayloadFormat(row.payload)),
        description=row.description,
        state=EndpointState(row.state),
        state_reason=row.state_reason,
        generation=row.generation,
        rotated_at=row.rotated_at,
        failing_since=row.failing_since,
        created_at=row.created_at,
    )
