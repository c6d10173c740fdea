"""API keys: who a request is from, what it may do, and how much."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

#: ``read`` asks, ``write`` submits, cancels, deletes and registers webhooks, ``metrics`` reads /metrics.
SCOPES = ("read", "write", "metrics")
DEFAULT_SCOPES = ("read", "write")
#: After a rotation the secret before opens too, for so long.
ROTATION = timedelta(hours=24)

_SHAPE = re.compile(r"bsk_([0-9a-f]{16})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What one key may use; None means as much as it likes."""

    requests_per_second: float | None = None
    #: Jobs that wait or run.
    jobs: int | None = None
    #: Minutes of audio transcribed in a day of UTC; when they are used up, no more jobs are accepted.
    audio_minutes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is kept: never its secret, only the hash of it."""

    id: str
    name: str
    secret_hash: str
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    quotas: Quotas = field(default_factory=Quotas)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    #: The hash before a rotation, and until when it opens.
    previous_hash: str | None = None
    previous_until: datetime | None = None

    def opens_with(self, secret: str, *, at: datetime) -> bool:
        """Whether a secret is this key's, and the key still good. Takes as long for a wrong secret as for the right."""
        given = hash_of(secret)
        is_own = hmac.compare_digest(given, self.secret_hash)
        is_previous = hmac.compare_digest(given, self.previous_hash or self.secret_hash)
        is_previous &= self.previous_until is not None and at < self.previous_until
        is_good = self.revoked_at is None and (self.expires_at is None or at < self.expires_at)
        return (is_own or is_previous) and is_good


def new_secret() -> str:
    """Make a secret of 256 bits."""
    return secrets.token_hex(32)


def new_key_id() -> str:
    """Make an identifier; it is no secret."""
    return secrets.token_hex(8)


def hash_of(secret: str) -> str:
    """Return what is kept of a secret. It has 256 bits of chance, so a plain SHA-256 cannot be guessed back."""
    return hashlib.sha256(secret.encode()).hexdigest()


def key_text(key_id: str, secret: str) -> str:
    """Write a key as its holder gets it."""
    return f"bsk_{key_id}_{secret}"


def read_key_text(text: str) -> tuple[str, str] | None:
    """Return the id and the secret of a key as it was sent; None for what is no key."""
    match = _SHAPE.fullmatch(text)
    return None if match is None else (match[1], match[2])
