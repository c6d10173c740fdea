"""Queries for deliveries: claiming what is due, recording what came of it, the log. All in the caller's transaction.

To claim is to move the time at which a delivery is due behind the longest time that sending it can take: whoever dies
with it in hand loses it to whoever looks next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from batchscribe.database.schema import webhook_attempts as attempts
from batchscribe.database.schema import webhook_deliveries as deliveries
from batchscribe.database.schema import webhook_endpoints as endpoints
from batchscribe.database.schema import webhook_messages as messages
from batchscribe.domain.webhooks import Attempt, Delivery, DeliveryState, PayloadFormat

#: Beyond the time that an attempt may take (15 s), and the recording of it.
LEASE = timedelta(seconds=40)
#: How many are removed at a time.
BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPage:
    """One page of the log of deliveries, latest first."""

    deliveries: tuple[Delivery, ...]
    #: Hand it back to read on; None on the last page.
    next_after: tuple[datetime, str] | None


def due_targets(connection: Connection, *, at: datetime, limit: int) -> list[str]:
    """Return targets for which something is due, those first that wait longest."""
    query = (
        select(deliveries.c.target)
        .where(deliveries.c.state == DeliveryState.PENDING.value, deliveries.c.due_at <= at)
        .group_by(deliveries.c.target)
        .order_by(func.min(deliveries.c.due_at))
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def claim(connection: Connection, slots: Mapping[str, int], *, token: str, at: datetime) -> list[Delivery]:
    """Take up to so many due deliveries of each target in hand, under a token of the claimer's."""
    by_count: dict[int, list[str]] = {}
    for target, count in slots.items():
        by_count.setdefault(count, []).append(target)
    taken: list[str] = []
    for count, targets in by_count.items():
        for start in range(0, len(targets), BATCH):
            taken += connection.execute(_first_due(targets[start : start + BATCH], count, at)).scalars()
    found: list[Delivery] = []
    for start in range(0, len(taken), BATCH):
        some = taken[start : start + BATCH]
        # SQLite takes its lock only now: what another has claimed since we looked is due no more.
        ours = connection.execute(
            update(deliveries)
            .where(deliveries.c.id.in_(some), *_is_due(at))
            .values(due_at=at + LEASE, claim=token)
            .returning(deliveries.c.id)
        )
        ids = list(ours.scalars())
        found += [_delivery(row) for row in connection.execute(_select().where(deliveries.c.id.in_(ids)))]
    return found


def _is_due(at: datetime) -> tuple[ColumnElement[bool], ...]:
    return deliveries.c.state == DeliveryState.PENDING.value, deliveries.c.due_at <= at


def _first_due(targets: Sequence[str], count: int, at: datetime) -> Select[str]:
    """Select the ids of the ``count`` deliveries of each target that wait longest, but for those that another locks."""
    place = func.row_number().over(partition_by=deliveries.c.target, order_by=(deliveries.c.due_at, deliveries.c.id))
    ranked = select(deliveries.c.id, place.label("place")).where(deliveries.c.target.in_(targets), *_is_due(at))
    first = ranked.subquery()
    return (
        select(deliveries.c.id)
        .where(deliveries.c.id.in_(select(first.c.id).where(first.c.place <= count)))
        .with_for_update(skip_locked=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt at a delivery that is claimed, and what is next."""

    delivery_id: str
    attempt: Attempt
    attempts_made: int
    state: DeliveryState
    due_at: datetime | None


def record(connection: Connection, outcomes: Sequence[Outcome], *, token: str) -> None:
    """Store what came of attempts; of those whose claim was lost, nothing."""
    claimed = {each.delivery_id: each for each in outcomes}
    ids = list(claimed)
    kept: set[str] = set()
    for start in range(0, len(ids), BATCH):
        query = select(deliveries.c.id).where(
            deliveries.c.id.in_(ids[start : start + BATCH]), deliveries.c.claim == token
        )
        kept |= set(connection.execute(query.with_for_update()).scalars())
    ours = [each for each in outcomes if each.delivery_id in kept]
    if not ours:
        return
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == bindparam("of_delivery"), deliveries.c.claim == token)
        .values(
            state=bindparam("new_state"), attempts=bindparam("made"), due_at=bindparam("next_at"),
            ended_at=bindparam("over_at"), claim=None,
        ),
        [
            {
                "of_delivery": each.delivery_id,
                "new_state": each.state.value,
                "made": each.attempts_made,
                "next_at": each.due_at,
                "over_at": None if each.state is DeliveryState.PENDING else _ended_at(each.attempt),
            }
            for each in ours
        ],
    )  # fmt: skip
    connection.execute(
        insert(attempts),
        [
            {
                "delivery_id": each.delivery_id,
                "at": each.attempt.at,
                "seconds": each.attempt.seconds,
                "status": each.attempt.status,
                "error": each.attempt.error,
                "answer": each.attempt.answer,
            }
            for each in ours
        ],
    )


def _ended_at(attempt: Attempt) -> datetime:
    return attempt.at + timedelta(seconds=attempt.seconds)


def hold(connection: Connection, delivery_ids: list[str], *, token: str) -> None:
    """Keep claimed deliveries for an endpoint that is not active."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(delivery_ids), deliveries.c.claim == token)
        .values(state=DeliveryState.HELD.value, claim=None)
    )


def replay(connection: Connection, delivery_id: str, *, owner: str, at: datetime) -> bool:
    """Send a delivery once more, from the beginning of the schedule; return whether this owner has it."""
    changed = connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id, deliveries.c.owner == owner)
        .values(state=DeliveryState.PENDING.value, attempts=0, due_at=at, ended_at=None, claim=None)
    )
    return changed.rowcount == 1


def find_delivery(connection: Connection, delivery_id: str, *, owner: str) -> Delivery | None:
    """Return one of an owner's deliveries, or None."""
    row = connection.execute(_select().where(deliveries.c.id == delivery_id, deliveries.c.owner == owner)).one_or_none()
    return None if row is None else _delivery(row)


def list_deliveries(
    connection: Connection,
    *,
    owner: str,
    endpoint_id: str | None,
    job_name: str | None,
    state: DeliveryState | None,
    max_results: int,
    after: tuple[datetime, str] | None,
) -> DeliveryPage:
    """Return a page of an owner's deliveries, latest first."""
    query = _select().where(deliveries.c.owner == owner)
    wanted = {"endpoint_id": endpoint_id, "job_name": job_name, "state": None if state is None else state.value}
    for column, value in wanted.items():
        if value is not None:
            query = query.where(deliveries.c[column] == value)
    if after is not None:
        query = query.where(tuple_(deliveries.c.created_at, deliveries.c.id) < tuple_(*after))
    query = query.order_by(deliveries.c.created_at.desc(), deliveries.c.id.desc()).limit(max_results + 1)
    rows = connection.execute(query).all()
    page = rows[:max_results]
    last = (page[-1].created_at, page[-1].id) if len(rows) > max_results else None
    return DeliveryPage(deliveries=tuple(_delivery(row) for row in page), next_after=last)


def list_attempts(connection: Connection, delivery_id: str) -> list[Attempt]:
    """Return the attempts at a delivery, oldest first, at most 100."""
    query = select(attempts).where(attempts.c.delivery_id == delivery_id).order_by(attempts.c.id).limit(100)
    return [
        Attempt(at=row.at, seconds=row.seconds, status=row.status, error=row.error, answer=row.answer)
        for row in connection.execute(query)
    ]


def forget_old(connection: Connection, *, before: datetime) -> int:
    """Remove deliveries that ended before, with their attempts, and messages without any; return how many."""
    old = list(connection.execute(select(deliveries.c.id).where(deliveries.c.ended_at < before).limit(BATCH)).scalars())
    connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(old)))
    connection.execute(delete(deliveries).where(deliveries.c.id.in_(old)))
    is_wanted = select(deliveries.c.id).where(deliveries.c.message_id == messages.c.id).exists()
    unwanted = select(messages.c.id).where(messages.c.happened_at < before, ~is_wanted).limit(BATCH)
    connection.execute(delete(messages).where(messages.c.id.in_(unwanted)))
    return len(old)


def _select() -> Select[Any]:
    """Select deliveries with what their event says and where they go."""
    return (
        select(
            deliveries,
            messages.c.data,
            messages.c.happened_at,
            func.coalesce(deliveries.c.url, endpoints.c.url, "").label("address"),
        )
        .join_from(deliveries, messages, deliveries.c.message_id == messages.c.id)
        .outerjoin(endpoints, deliveries.c.endpoint_id == endpoints.c.id)
    )


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        message_id=row.message_id,
        owner=row.owner,
        endpoint_id=row.endpoint_id,
        url=row.address,
        target=row.target,
        payload=PayloadFormat(row.payload),
        job_name=row.job_name,
        event_type=row.event_type,
        data=row.data,
        happened_at=row.happened_at,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        due_at=row.due_at,
        ended_at=row.ended_at,
    )
