"""Numbers and page marks in queries, read strictly."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime, timedelta

from batchscribe.errors import InvalidRequest

DEFAULT_MAX_RESULTS = 20
HIGHEST_MAX_RESULTS = 100

_WHOLE_NUMBER = re.compile(r"[0-9]{1,100}")


def read_max_results(value: str | None) -> int:
    """Return the size of a page; more than the highest is taken as the highest. Raises InvalidRequest."""
    if value is None:
        return DEFAULT_MAX_RESULTS
    if not _WHOLE_NUMBER.fullmatch(value) or int(value) < 1:
        raise InvalidRequest("Invalid max_results. Must be a whole number of at least 1")
    return min(int(value), HIGHEST_MAX_RESULTS)


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
