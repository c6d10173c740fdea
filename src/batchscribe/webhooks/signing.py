"""Secrets of webhooks, and signatures as Standard Webhooks has them (github.com/standard-webhooks/standard-webhooks).

No secret is kept anywhere: each is an HMAC-SHA256 of who it is for, under the server's own key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from batchscribe.domain.webhooks import ROTATION, WebhookEndpoint

_PREFIX = "whsec_"


def endpoint_secrets(server_key: bytes, endpoint: WebhookEndpoint, *, at: datetime) -> list[str]:
    """Return an endpoint's secret and, for a day after it was rotated, the one before."""
    generations = [endpoint.generation]
    if endpoint.rotated_at is not None and at - endpoint.rotated_at < ROTATION:
        generations.append(endpoint.generation - 1)
    return [_secret(server_key, f"endpoint {endpoint.id} {generation}") for generation in generations]


def job_secret(server_key: bytes, owner: str) -> str:
    """Return the secret of an owner's webhooks that come with jobs."""
    return _secret(server_key, f"jobs {owner}")


def signature_headers(secrets: Sequence[str], *, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers by which a receiver knows a message for ours, and how old it is."""
    timestamp = str(int(at.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = []
    for secret in secrets:
        digest = hmac.new(base64.b64decode(secret.removeprefix(_PREFIX)), signed, hashlib.sha256).digest()
        signatures.append(f"v1,{base64.b64encode(digest).decode()}")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }


def _secret(server_key: bytes, purpose: str) -> str:
    digest = hmac.new(server_key, f"webhook secret: {purpose}".encode(), hashlib.sha256).digest()
    return _PREFIX + base64.b64encode(digest).decode()
