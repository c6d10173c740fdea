"""The one door to API keys: making and closing them, and asking whether one opens."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from sqlalchemy import Connection
from sqlalchemy import Engine as Database

from batchscribe.database import keys
from batchscribe.database.connection import reading, writing
from batchscribe.domain.keys import ApiKey, Quotas, hash_of, key_text, new_key_id, new_secret, read_key_text
from batchscribe.errors import KeyUnknown, QuotaUsedUp

#: For so long it is believed that there is no key yet.
LOOK_SECONDS = 1.0
#: What an unknown key's secret is compared with, so that it takes as long as a known one's.
_NOBODY = ApiKey(id="", name="", secret_hash=hash_of(""), created_at=datetime(2026, 1, 1, tzinfo=UTC))


class KeyRing:
    """Makes and knows keys. Every method may be called from any thread, and raises ServiceUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._has_keys = False
        self._looked_at = 0.0

    def create(
        self, name: str, *, scopes: tuple[str, ...], quotas: Quotas, expires_at: datetime | None
    ) -> tuple[ApiKey, str]:
        """Make a key; return it with its text, which is shown this once and never again."""
        secret = new_secret()
        key = ApiKey(
            id=new_key_id(),
            name=name,
            secret_hash=hash_of(secret),
            scopes=scopes,
            quotas=quotas,
            created_at=datetime.now(UTC),
            expires_at=expires_at,
        )
        with writing(self._database) as connection:
            keys.add_key(connection, key)
        return key, key_text(key.id, secret)

    def list(self) -> list[ApiKey]:
        """Return all keys, oldest first."""
        with reading(self._database) as connection:
            return keys.list_keys(connection)

    def rotate(self, key_id: str) -> str:
        """Give a key another secret and return its new text; the one before opens for a day. Raises KeyUnknown."""
        secret = new_secret()
        with writing(self._database) as connection:
            keys.rotate_key(connection, _known(connection, key_id), secret, at=datetime.now(UTC))
        return key_text(key_id, secret)

    def revoke(self, key_id: str) -> None:
        """Close a key for ever, at once. Raises KeyUnknown."""
        with writing(self._database) as connection:
            keys.revoke_key(connection, _known(connection, key_id).id, at=datetime.now(UTC))

    def has_keys(self) -> bool:
        """Whether there is any key; that there is none may be a second old."""
        if not self._has_keys and time.monotonic() >= self._looked_at + LOOK_SECONDS:
            with reading(self._database) as connection:
                self._has_keys = keys.has_keys(connection)
            self._looked_at = time.monotonic()
        return self._has_keys

    def opened_by(self, text: str) -> ApiKey | None:
        """Return the key that was sent, where it is good."""
        read = read_key_text(text)
        if read is None:
            return None
        with reading(self._database) as connection:
            key = keys.find_key(connection, read[0])
        opens = (key or _NOBODY).opens_with(read[1], at=datetime.now(UTC))
        return key if opens else None

    def check_quotas(self, key: ApiKey) -> None:
        """Raise QuotaUsedUp where another job would be refused."""
        with reading(self._database) as connection:
            check_quotas(connection, key, is_counted=False)


def check_quotas(connection: Connection, key: ApiKey, *, is_counted: bool) -> None:
    """Raise QuotaUsedUp where a key has no room for another job; with ``is_counted`` that job is stored already."""
    quotas, now = key.quotas, datetime.now(UTC)
    if quotas.jobs is not None and keys.open_jobs(connection, key.id) - is_counted >= quotas.jobs:
        raise QuotaUsedUp(f"{quotas.jobs} of your jobs wait or run already. Try again when one has ended.")
    if quotas.audio_minutes is not None:
        used = keys.used_seconds(connection, key.id, at=now)
        if used >= quotas.audio_minutes * 60:
            raise QuotaUsedUp(f"Today's {quotas.audio_minutes:g} minutes of audio are used up. Try again tomorrow.")


def _known(connection: Connection, key_id: str) -> ApiKey:
    key = keys.find_key(connection, key_id)
    if key is None or key.revoked_at is not None:
        raise KeyUnknown(f"There is no key {key_id}, or it was revoked.")
    return key
