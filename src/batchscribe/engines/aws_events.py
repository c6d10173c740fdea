"""AWS's word that jobs have ended: events of EventBridge, by way of a queue of SQS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from batchscribe.domain.remote_ports import RemoteEnding
from batchscribe.engines.aws_client import answering, connect

#: SQS answers as soon as there is a message, or after this time without.
WAIT_SECONDS = 20
_MOST_MESSAGES = 10


class SqsEvents:
    """A :class:`~batchscribe.domain.remote_ports.RemoteEvents` that reads a queue."""

    def __init__(self, queue_url: str, *, region: str = "") -> None:
        """Read this queue; asks nothing of it yet. Raises ConfigurationError."""
        self._queue_url = queue_url
        self._sqs = connect("sqs", region=region, tries=2, read_seconds=WAIT_SECONDS + 10.0)

    def receive(self) -> list[RemoteEnding]:
        """Wait for messages. One that is no event of a job's end counts as one of a job without a name."""
        with answering("the queue of events"):
            answer = self._sqs.receive_message(
                QueueUrl=self._queue_url, MaxNumberOfMessages=_MOST_MESSAGES, WaitTimeSeconds=WAIT_SECONDS
            )
        return [
            RemoteEnding(remote_name=ended_job(each["Body"]) or "", receipt=each["ReceiptHandle"])
            for each in answer.get("Messages", [])
        ]

    def acknowledge(self, endings: list[RemoteEnding]) -> None:
        """Remove the messages from the queue."""
        entries = [{"Id": str(index), "ReceiptHandle": each.receipt} for index, each in enumerate(endings)]
        with answering("the queue of events"):
            self._sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)


def ended_job(body: str) -> str | None:
    """Return the name of the job whose end an event tells of, or None for any other message.

    ``body`` is an event of EventBridge, or SNS's envelope around one (a queue may be subscribed to a topic).
    https://docs.aws.amazon.com/transcribe/latest/dg/monitoring-events.html
    """
    event = _object(body)
    if event is not None and isinstance(event.get("Message"), str):
        event = _object(event["Message"])
    if event is None or event.get("source") != "aws.transcribe":
        return None
    if event.get("detail-type") != "Transcribe Job State Change":
        return None
    detail = event.get("detail")
    if not isinstance(detail, dict) or detail.get("TranscriptionJobStatus") not in {"COMPLETED", "FAILED"}:
        return None
    name = detail.get("TranscriptionJobName")
    return name if isinstance(name, str) else None


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
