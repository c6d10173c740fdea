"""Webhooks: who is told of which events, in which shape, and when a delivery that failed is tried again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from batchscribe.domain.job import DELETED_EVENT, TRANSITIONS
from batchscribe.errors import InvalidRequest

#: Every event that can be subscribed to.
EVENT_TYPES = (*dict.fromkeys(TRANSITIONS.values()), DELETED_EVENT)
DEFAULT_EVENTS = ("job.completed", "job.failed")
#: The event of a test-fire; every endpoint gets its own, whatever it subscribes to.
TEST_EVENT = "webhook.test"

#: Seconds before each attempt, counted from the one before: ten attempts over 75 hours and a half, as the
#: specification of Standard Webhooks recommends. Each is moved by up to a tenth, so that receivers recover unhurried.
WAITS_SECONDS = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER = 0.1
#: A receiver may ask for a later attempt (``Retry-After``), up to this.
LONGEST_RETRY_AFTER_SECONDS = 86_400.0
#: An endpoint at which everything has failed for so long is paused.
PATIENCE = timedelta(days=5)
#: After a rotation the secret before signs too, for so long.
ROTATION = timedelta(hours=24)

GONE = 410


class PayloadFormat(Enum):
    """The shape of what is sent."""

    #: ``type``, ``timestamp`` and ``data``, as Standard Webhooks has it.
    STANDARD = "standard"
    #: The event "Transcribe Job State Change" of AWS EventBridge; only for jobs that have ended.
    EVENTBRIDGE = "eventbridge"


class EndpointState(Enum):
    """Whether deliveries are sent to an endpoint."""

    ACTIVE = "active"
    #: By request, or after five days of failure: deliveries are kept until it is resumed.
    PAUSED = "paused"
    #: The receiver answered 410: what happens meanwhile is not kept for it.
    DISABLED = "disabled"


class DeliveryState(Enum):
    """Where a delivery is on its way."""

    PENDING = "pending"
    #: Kept for an endpoint that is not active.
    HELD = "held"
    DELIVERED = "delivered"
    #: Given up; it may be replayed.
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Where to, of what and in which shape somebody is told; a job's own webhook is no more than this."""

    #: In the database sealed; in an answer empty where it cannot be opened any more.
    url: str
    events: tuple[str, ...] = DEFAULT_EVENTS
    payload: PayloadFormat = PayloadFormat.STANDARD
    #: What :func:`origin_of` says of an address that is sealed. Not part of the text that fingerprints are made of.
    origin: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """A registered receiver."""

    id: str
    owner: str
    subscription: Subscription
    description: str
    state: EndpointState
    #: A sentence, where it is not active by request.
    state_reason: str | None
    #: How often its secret was rotated, and when last.
    generation: int
    rotated_at: datetime | None
    #: Since when everything has failed; None while deliveries succeed.
    failing_since: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one attempt: the receiver's status, or what went wrong before there was one."""

    at: datetime
    seconds: float
    status: int | None = None
    error: str | None = None
    #: The first characters of the receiver's answer.
    answer: str = ""
    retry_after_seconds: float | None = None

    @property
    def is_success(self) -> bool:
        """Whether the receiver took it: only 2xx says so, a redirect does not."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one receiver."""

    id: str
    #: The same for every receiver and every attempt: receivers know repetitions by it.
    message_id: str
    owner: str
    #: Empty for a job's own webhook.
    endpoint_id: str
    #: As that of a :class:`Subscription`.
    url: str
    #: What stands for the receiver where places are counted.
    target: str
    payload: PayloadFormat
    job_name: str
    event_type: str
    #: What the event says, as it was when it happened, and when that was.
    data: Mapping[str, Any] = field(default_factory=dict)
    happened_at: datetime
    state: DeliveryState
    attempts: int
    #: When the next attempt is due.
    due_at: datetime | None
    ended_at: datetime | None


def after_attempt(attempts: int, attempt: Attempt, *, jitter: float) -> tuple[DeliveryState, datetime | None]:
    """Return a delivery's state after its ``attempts``-th attempt, and when the next is due.

    ``jitter`` is from -1 to 1: where in the tenth around the planned wait the next attempt falls.
    """
    if attempt.is_success:
        return DeliveryState.DELIVERED, None
    if attempts >= len(WAITS_SECONDS):
        return DeliveryState.FAILED, None
    wait = WAITS_SECONDS[attempts] * (1 + JITTER * jitter)
    if attempt.retry_after_seconds is not None:
        wait = max(wait, min(attempt.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS))
    return DeliveryState.PENDING, attempt.at + timedelta(seconds=attempt.seconds + wait)


def read_subscription(url: str, events: tuple[str, ...], payload: str) -> Subscription:
    """Read what somebody asks for; nothing means the default. Raises InvalidRequest. The address is not judged here."""
    try:
        shape = PayloadFormat(payload.strip().lower() or "standard")
    except ValueError:
        names = ", ".join(each.value for each in PayloadFormat)
        raise InvalidRequest(f"Invalid payload of the webhook. Must be one of: {names}") from None
    wanted = tuple(dict.fromkeys(each.strip() for each in events if each.strip())) or DEFAULT_EVENTS
    known = DEFAULT_EVENTS if shape is PayloadFormat.EVENTBRIDGE else EVENT_TYPES
    if unknown := set(wanted) - set(known):
        raise InvalidRequest(f"Invalid event: {min(unknown)[:50]}. Must be one of: {', '.join(known)}")
    return Subscription(url=url.strip(), events=wanted, payload=shape)


def origin_of(url: str) -> str:
    """Return an address's scheme, host and port: no more of it than shows which receiver it leads to."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def new_id(prefix: str) -> str:
    """Make an identifier that no other thing has."""
    return f"{prefix}_{uuid.uuid4().hex}"
