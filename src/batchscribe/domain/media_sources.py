"""Addresses of recordings: what is one, and what a recording is called by its address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from batchscribe.domain.media import format_by_name
from batchscribe.errors import AddressNotAllowed

#: The longest address that is taken, as ``MediaFileUri`` of AWS Transcribe has it.
LONGEST_ADDRESS = 2000
#: ``s3://bucket/key``; a bucket's name by
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^\x00-\x1f\x7f]{1,1024})")

_EXTENDED_FILE_NAME = re.compile(
    r";\s*filename\*\s*=\s*(?P<charset>utf-8|iso-8859-1)'[^']*'(?P<name>[^;\s]*)", re.IGNORECASE
)
_FILE_NAME = re.compile(r';\s*filename\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[^;\s"]+))', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAddress:
    """A recording in a bucket."""

    bucket: str
    key: str


def read_bucket_address(address: str) -> BucketAddress:
    """Read ``s3://bucket/key``. Raises AddressNotAllowed where it is no such."""
    match = _BUCKET_ADDRESS.fullmatch(address)
    if match is None or len(address) > LONGEST_ADDRESS or not _is_plain(match["key"]):
        raise AddressNotAllowed("The address is not s3://BUCKET/KEY with a key in its usual form.")
    return BucketAddress(bucket=match["bucket"], key=match["key"])


def is_bucket_address(address: str) -> bool:
    """Whether an address is of a bucket, rightly written or not."""
    return address.startswith("s3:")


def name_in_address(address: str) -> str:
    """Return the last part of an address's path, which may be empty."""
    name = PurePosixPath(unquote(urlsplit(address).path, errors="replace")).name
    return "" if name == ".." else name


def name_in_disposition(disposition: str) -> str:
    """Return the file name that a ``Content-Disposition`` header gives (RFC 6266), or an empty one."""
    if (extended := extended_file_name(disposition)) is not None:
        return extended
    match = _FILE_NAME.search(disposition)
    if match is None:
        return ""
    return match["token"] or re.sub(r"\\(.)", r"\1", match["quoted"] or "")


def extended_file_name(disposition: str) -> str | None:
    """Return the file name that a ``Content-Disposition`` header gives as ``filename*`` (RFC 8187), or None."""
    match = _EXTENDED_FILE_NAME.search(disposition)
    return None if match is None else unquote(match["name"], encoding=match["charset"])


def best_name(*names: str) -> str:
    """Return the first name that says a supported format, or else the first that there is."""
    given = [name for name in names if name]
    return next((name for name in given if format_by_name(name) is not None), given[0] if given else "")


def _is_plain(key: str) -> bool:
    """Whether no part of a key is empty or means another place."""
    return all(part not in {"", ".", ".."} for part in key.split("/"))
