"""The size of a page, read strictly."""

from __future__ import annotations

import re

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
