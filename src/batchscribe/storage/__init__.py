"""Where media and working audio are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from batchscribe.errors import ServiceUnavailable, StoreUnavailable


@contextmanager
def store_errors_are_said() -> Iterator[None]:
    """Raise ServiceUnavailable where the media store does not take a recording."""
    try:
        yield
    except (OSError, StoreUnavailable) as error:
        raise ServiceUnavailable("The recording could not be stored. Try again in a moment.") from error
