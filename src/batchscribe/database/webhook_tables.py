"""The tables of webhooks: endpoints, messages, deliveries, attempts."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Index, Integer, String, Table, Text

from batchscribe.database.metadata import event_id_type, metadata
from batchscribe.database.utc_date_time import UtcDateTime

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(40), nullable=False, default="", server_default="", index=True),
    Column("url", Text, nullable=False),
    Column("events", JSON, nullable=False),
    Column("payload", String(20), nullable=False),
    Column("description", Text, nullable=False, default="", server_default=""),
    Column("state", String(20), nullable=False),
    Column("state_reason", Text),
    #: The secret is made of the server's key, the id and this; it is kept nowhere.
    Column("generation", Integer, nullable=False, default=0, server_default="0"),
    Column("rotated_at", UtcDateTime),
    Column("failing_since", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
)

#: Events that somebody is to be told of, as they were when they happened.
webhook_messages = Table(
    "webhook_messages",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("data", JSON, nullable=False),
    Column("happened_at", UtcDateTime, nullable=False, index=True),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("message_id", String(40), nullable=False, index=True),
    Column("owner", String(40), nullable=False, default="", server_default=""),
    #: Empty for a job's own webhook, whose address stands in ``url``; an endpoint's stands with the endpoint.
    Column("endpoint_id", String(40), nullable=False),
    Column("url", Text),
    Column("payload", String(20), nullable=False),
    Column("job_name", String(200), nullable=False, index=True),
    Column("event_type", String(50), nullable=False),
    #: The receiver as far as it can be told, which bounds how much is sent to it at once.
    Column("target", String(300), nullable=False),
    Column("state", String(20), nullable=False),
    Column("attempts", Integer, nullable=False, default=0, server_default="0"),
    #: When it is to be sent; while a worker sends it, when it is to be sent again if that worker dies.
    Column("due_at", UtcDateTime),
    #: Of the worker that sends it.
    Column("claim", String(40)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, index=True),
    Index(None, "owner", "created_at", "id"),
    Index(None, "endpoint_id", "created_at", "id"),
)
_is_pending = webhook_deliveries.c.state == "pending"
Index(
    "ix_webhook_deliveries_due",
    webhook_deliveries.c.due_at,
    webhook_deliveries.c.target,
    sqlite_where=_is_pending,
    postgresql_where=_is_pending,
)
Index(
    "ix_webhook_deliveries_target",
    webhook_deliveries.c.target,
    webhook_deliveries.c.due_at,
    sqlite_where=_is_pending,
    postgresql_where=_is_pending,
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("id", event_id_type, primary_key=True, autoincrement=True),
    Column("delivery_id", String(40), nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("status", Integer),
    Column("error", Text),
    Column("answer", Text, nullable=False, default="", server_default=""),
    sqlite_autoincrement=True,
)
