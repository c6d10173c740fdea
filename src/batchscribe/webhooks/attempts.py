"""One attempt at a delivery: a signed POST, and what came of it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from batchscribe import __version__
from batchscribe.domain.webhooks import Attempt, Delivery
from batchscribe.egress import Egress
from batchscribe.errors import AddressNotAllowed, ReceiverUnreachable
from batchscribe.webhooks.bodies import body
from batchscribe.webhooks.signing import signature_headers

#: From the name's resolution to the last byte that is read of the answer.
ATTEMPT_SECONDS = 15.0
MAX_ANSWER_BYTES = 64 << 10
#: Characters of the answer that the log of deliveries keeps.
KEPT_CHARACTERS = 256

_UNSAFE = re.compile(r"[^ -~]+")


async def attempt_delivery(egress: Egress, delivery: Delivery, secrets: Sequence[str], *, at: datetime) -> Attempt:
    """Send a delivery once, signed with each of these secrets."""
    content = body(delivery)
    headers = {
        "content-type": "application/json",
        "content-length": str(len(content)),
        "user-agent": f"BatchScribe/{__version__}",
        **signature_headers(secrets, message_id=delivery.message_id, at=at, body=content),
    }
    began = time.monotonic()
    try:
        answer = await egress.send(
            "POST",
            delivery.url,
            headers=headers,
            content=content,
            seconds=ATTEMPT_SECONDS,
            max_bytes=MAX_ANSWER_BYTES,
        )
    except (ReceiverUnreachable, AddressNotAllowed) as error:
        return Attempt(at=at, seconds=time.monotonic() - began, error=str(error))
    return Attempt(
        at=at,
        seconds=time.monotonic() - began,
        status=answer.status,
        answer=_UNSAFE.sub(" ", answer.body[: 4 * KEPT_CHARACTERS].decode("utf-8", "replace"))[:KEPT_CHARACTERS],
        retry_after_seconds=retry_after_seconds(answer.headers.get("retry-after"), at=at),
    )


def retry_after_seconds(value: str | None, *, at: datetime) -> float | None:
    """Read the header ``Retry-After``, seconds or a date (RFC 9110, section 10.2.3); None where it says nothing."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - at).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
