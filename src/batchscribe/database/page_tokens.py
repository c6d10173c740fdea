"""Where a page of a list ended, written so that clients hand it back and nothing else."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime, timedelta

from batchscribe.errors import InvalidRequest


def make_token(after: tuple[datetime, str]) -> str:
    """Write where a page ended, opaque to clients."""
    moment, name = after
    return base64.urlsafe_b64encode(f"{moment.isoformat()} {name}".encode()).decode().rstrip("=")


def read_token(token: str) -> tuple[datetime, str]:
    """Read where a page ended. Raises InvalidRequest for anything that we did not write."""
    refusal = InvalidRequest("Invalid next_token. Use the value of the page before, unchanged.")
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        written_at, _, name = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(" ")
        moment = datetime.fromisoformat(written_at)
    except (ValueError, binascii.Error) as error:
        raise refusal from error
    if moment.utcoffset() != timedelta(0) or not name or not name.isprintable():
        raise refusal
    return moment, name
