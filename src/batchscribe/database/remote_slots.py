"""The right to call a remote engine: never more calls of an operation in any second than its quota, whoever makes them.

A quota of 25 a second is 25 slots. A call takes a slot before it is sent, and gives it back, to be taken again a second
later, when it is answered. So whatever happens on the way, two calls of one slot arrive more than a second apart, and
in no second more calls than slots. What a dead worker has taken comes back after :data:`LONGEST_CALL_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from batchscribe.database.schema import remote_slots

WINDOW_SECONDS = 1.0
#: No call takes so long, its answer's timeout included.
LONGEST_CALL_SECONDS = 60.0
#: The quotas' operations, and the poller's turn, of which there is one for all workers.
START, LOOK, LIST, DELETE, POLL = "start", "look", "list", "delete", "poll"


def prepare(connection: Connection, quotas: Mapping[str, int], *, at: datetime) -> None:
    """Make the slots that are missing; those above a quota are left alone, and not taken."""
    rows = [
        {"operation": operation, "slot": slot, "free_at": at}
        for operation, quota in quotas.items()
        for slot in range(quota)
    ]
    # Several workers may begin at once.
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(insert(remote_slots).on_conflict_do_nothing(), rows)


def lock(connection: Connection, operation: str) -> None:
    """Let no other transaction take slots of an operation until this one ends. Over SQLite there is no other."""
    connection.execute(
        select(remote_slots.c.free_at)
        .where(remote_slots.c.operation == operation, remote_slots.c.slot == 0)
        .with_for_update()
    )


def take(connection: Connection, operation: str, *, quota: int, most: int, at: datetime) -> list[int]:
    """Take free slots, at most so many; each is held until it is given back."""
    if most <= 0:
        return []
    slots = (
        connection.execute(
            select(remote_slots.c.slot)
            .where(remote_slots.c.operation == operation, remote_slots.c.slot < quota, remote_slots.c.free_at <= at)
            .order_by(remote_slots.c.slot)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
        .scalars()
        .all()
    )
    if not slots:
        return []
    taken = connection.execute(
        update(remote_slots)
        # Asked again: over SQLite another may have taken it since it was found.
        .where(remote_slots.c.operation == operation, remote_slots.c.slot.in_(slots), remote_slots.c.free_at <= at)
        .values(free_at=at + timedelta(seconds=LONGEST_CALL_SECONDS))
        .returning(remote_slots.c.slot)
    )
    return sorted(taken.scalars())


def give_back(connection: Connection, operation: str, slots: Collection[int], *, free_at: datetime) -> None:
    """Have slots free from a moment on."""
    if slots:
        connection.execute(
            update(remote_slots)
            .where(remote_slots.c.operation == operation, remote_slots.c.slot.in_(slots))
            .values(free_at=free_at)
        )
