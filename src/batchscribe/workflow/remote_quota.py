"""One call to a remote engine, once a quota has room for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import Engine as Database

from batchscribe.database import remote, remote_slots
from batchscribe.workflow.remote_terms import RemoteTerms

_LOOK_SECONDS = 0.05


@contextmanager
def room_for_a_call(
    database: Database, terms: RemoteTerms, operation: str, stopped: threading.Event | None = None
) -> Iterator[None]:
    """Wait for a slot, and give it back after the call. Raises SQLAlchemyError."""
    stopped, slot = stopped or threading.Event(), list[int]()
    while not slot and not stopped.is_set():
        with database.begin() as connection:
            now = remote.database_now(connection)
            slot = remote_slots.take(connection, operation, quota=terms.quotas[operation], most=1, at=now)
        if not slot:
            stopped.wait(_LOOK_SECONDS)
    try:
        yield
    finally:
        with database.begin() as connection:
            free_at = remote.database_now(connection) + timedelta(seconds=remote_slots.WINDOW_SECONDS)
            remote_slots.give_back(connection, operation, slot, free_at=free_at)
