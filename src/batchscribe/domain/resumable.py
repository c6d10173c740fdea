"""A recording that arrives in several requests, and the slices that it is kept in until it is whole."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

#: Bytes that are gathered in memory before they are stored and counted. A killed server can lose twice as many of an
#: upload: one slice is stored while the next arrives.
SLICE_BYTES = 4 << 20

#: An upload that nothing was added to for so long is given up. An hour short of a day, so that it is gone within one.
LIFETIME = timedelta(hours=23)

#: The folder of the slices in the media store.
INCOMING = "incoming/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumableUpload:
    """What is known of an upload between two of its requests."""

    id: str
    #: The id of the key that it was created with; empty where none was.
    owner: str
    file_name: str
    #: The form's other fields, the address of its webhook sealed.
    fields: Mapping[str, str]
    #: What the client said of it, as it was sent.
    metadata: str
    length_bytes: int
    #: How many bytes are durable, and belong to the recording.
    offset_bytes: int = 0
    #: The recording's first bytes, at most ``SNIFF_BYTES``.
    head: bytes = b""
    #: The caller's own name for the submission.
    idempotency_key: str | None = None
    #: Says what was asked for at its creation: equal for equal requests alone.
    fingerprint: str
    #: Seconds that requests took to bring what is there.
    upload_seconds: float = 0.0
    created_at: datetime
    expires_at: datetime
    #: The job that the whole recording became.
    job_name: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every byte is there."""
        return self.offset_bytes == self.length_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Some of a recording's bytes, under a key of their own that is never written again."""

    key: str
    offset_bytes: int
    size_bytes: int


def slices_prefix(upload_id: str) -> str:
    """Return what the keys of an upload's slices begin with."""
    return f"{INCOMING}{upload_id}/"


def new_slice(upload_id: str, *, offset_bytes: int, size_bytes: int) -> Slice:
    """Return a slice under a key that no other has."""
    key = f"{slices_prefix(upload_id)}{uuid.uuid4().hex}"
    return Slice(key=key, offset_bytes=offset_bytes, size_bytes=size_bytes)


def absorbed(tail: list[Slice], size_bytes: int) -> list[Slice]:
    """Return the last slices that are to be stored anew with ``size_bytes`` that follow them, as one slice.

    A slice is taken in by one that has become as large. So of however small pieces a recording arrives in, the number
    of its slices grows with its length alone, and each byte is stored anew a few times at most.
    """
    first = len(tail)
    while first and tail[first - 1].size_bytes <= size_bytes < SLICE_BYTES:
        first -= 1
        size_bytes += tail[first].size_bytes
    return tail[first:]
