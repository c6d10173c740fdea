"""Secrets that are planted in the tests' deployments, and the search for them in whatever others may read."""

from __future__ import annotations

import base64
import re
from functools import cache
from urllib.parse import quote

#: Each is found by its name, and nothing else is called so.
SERVER_KEY = "planted-server-key-3f9c1b7a5d2e4860"
DATABASE_PASSWORD = "planted-database-password-91c2"
OBJECT_STORE_SECRET = "planted-object-store-secret-77aa"
COLLECTOR_TOKEN = "planted-collector-token-0b5e6d"

#: Of every test's deployment; the acceptance test of secrets knows more of its own.
EVERYWHERE = (SERVER_KEY, DATABASE_PASSWORD, OBJECT_STORE_SECRET, COLLECTOR_TOKEN)


def spellings(secret: str) -> set[bytes]:
    """Return a secret as it may be written: plain, percent-encoded, in hexadecimal, within any Base64."""
    plain = secret.encode()
    found = {plain, quote(secret, safe="").encode(), plain.hex().encode(), plain.hex().upper().encode()}
    for shift in range(3):
        # What stands before it moves it within the groups of three bytes; the ends mix with their neighbours.
        encoded = base64.b64encode(bytes(shift) + plain)
        inner = encoded[-(-8 * shift // 6) : len(encoded) - 4 if (shift + len(plain)) % 3 else None]
        found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return found


@cache
def pattern(secrets: tuple[str, ...]) -> re.Pattern[bytes]:
    """Return what finds any spelling of these secrets."""
    every = sorted({form for secret in secrets for form in spellings(secret)}, key=len, reverse=True)
    return re.compile(b"|".join(map(re.escape, every)))


def names_found(secrets: dict[str, str], content: bytes) -> set[str]:
    """Return the names of those secrets that are in some bytes, in any spelling."""
    return {name for name, secret in secrets.items() if pattern((secret,)).search(content)}
