"""What a receiver is sent: a notification, never the transcript. Every attempt at a delivery sends the same bytes."""

from __future__ import annotations

import json
import uuid
from datetime import UTC
from typing import Any

from batchscribe.domain.webhooks import TEST_EVENT, Delivery, PayloadFormat

#: EventBridge names an account and a region; there is neither here, so they are the ones that test setups use.
_ACCOUNT, _REGION = "000000000000", "us-east-1"


def body(delivery: Delivery) -> bytes:
    """Return the body of a delivery, as JSON in ASCII."""
    shape = _eventbridge if delivery.payload is PayloadFormat.EVENTBRIDGE else _standard
    return json.dumps(shape(delivery), separators=(",", ":")).encode()


def _standard(delivery: Delivery) -> dict[str, Any]:
    """Write ``type``, ``timestamp`` and ``data``, as the specification of Standard Webhooks recommends."""
    return {
        "type": delivery.event_type,
        "timestamp": delivery.happened_at.astimezone(UTC).isoformat(),
        "data": dict(delivery.data),
    }


def _eventbridge(delivery: Delivery) -> dict[str, Any]:
    """Write AWS's event "Transcribe Job State Change", as the developer guide of Amazon Transcribe shows it.

    A test-fire looks like a completed job of the name ``test``.
    """
    is_test = delivery.event_type == TEST_EVENT
    detail = {
        "TranscriptionJobName": "test" if is_test else delivery.job_name,
        "TranscriptionJobStatus": "COMPLETED" if is_test else delivery.data.get("status"),
    }
    if "failure_reason" in delivery.data:
        detail["FailureReason"] = delivery.data["failure_reason"]
    return {
        "version": "0",
        "id": str(uuid.UUID(delivery.message_id.partition("_")[2])),
        "detail-type": "Transcribe Job State Change",
        "source": "aws.transcribe",
        "account": _ACCOUNT,
        "time": delivery.happened_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": _REGION,
        "resources": [],
        "detail": detail,
    }
