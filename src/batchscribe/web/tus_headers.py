"""The headers of tus 1.0: what a request's say, and what an answer's must (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from email.utils import format_datetime
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from batchscribe.domain.submission import FIELDS
from batchscribe.errors import InvalidRequest
from batchscribe.upload_errors import TusVersionMissing, UnsupportedContentType

if TYPE_CHECKING:
    from batchscribe.domain.resumable import ResumableUpload

VERSION = "1.0.0"
EXTENSIONS = ("creation", "creation-with-upload", "expiration", "checksum", "termination")
CHECKSUM_ALGORITHMS = ("sha1", "sha256", "sha512", "md5")
BODY_TYPE = "application/offset+octet-stream"

VERSION_HEADER = "Tus-Resumable"
JOB_NAME_HEADER = "X-Job-Name"

#: Of the header ``Upload-Metadata``.
MOST_METADATA_BYTES = 16 << 10
LONGEST_FILE_NAME = 1024

_NUMBER = re.compile(r"[0-9]{1,18}")
#: Any visible ASCII characters but a comma.
_METADATA_KEY = re.compile(r"[!-+\--~]+")


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of a request are to amount to."""

    algorithm: str
    digest: bytes

    def new_digest(self) -> hashlib._Hash:
        """Return what takes the bytes."""
        return hashlib.new(self.algorithm, usedforsecurity=False)


def check_version(headers: Headers) -> None:
    """Raise TusVersionMissing where a request does not name our version of the protocol."""
    if headers.get(VERSION_HEADER) != VERSION:
        raise TusVersionMissing(f"This is tus {VERSION}: send the header {VERSION_HEADER}: {VERSION}.")


def check_body_type(headers: Headers) -> None:
    """Raise UnsupportedContentType where a body is not bytes as they are."""
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedContentType("Content-Encoding is not supported: send the bytes as they are.")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != BODY_TYPE:
        raise UnsupportedContentType(f"Invalid Content-Type. Must be {BODY_TYPE}")


def read_number(headers: Headers, name: str) -> int:
    """Return the number of bytes that a header names. Raises InvalidRequest."""
    value = headers.get(name)
    if value is None:
        raise InvalidRequest(f"No {name} provided")
    if not _NUMBER.fullmatch(value):
        raise InvalidRequest(f"Invalid {name}. Must be a whole number of bytes")
    return int(value)


def read_metadata(header: str) -> tuple[str, dict[str, str]]:
    """Return a recording's file name and its submission's fields from ``Upload-Metadata``. Raises InvalidRequest.

    Other keys are ignored, as other fields of the form are.
    """
    if len(header) > MOST_METADATA_BYTES:
        raise InvalidRequest(f"Upload-Metadata is longer than {MOST_METADATA_BYTES} bytes.")
    values: dict[str, str] = {}
    for pair in filter(None, (each.strip(" ") for each in header.split(","))):
        key, _, encoded = pair.partition(" ")
        if not _METADATA_KEY.fullmatch(key):
            raise InvalidRequest("Invalid Upload-Metadata. Must be pairs of a key and a value in Base64, with commas")
        if key in values:
            raise InvalidRequest(f"Upload-Metadata has {key[:100]} twice.")
        values[key] = _decoded(key, encoded)
    # What tus-js-client's Uppy calls it beside the usual.
    file_name = values.get("filename") or values.get("name", "")
    if not file_name:
        raise InvalidRequest("No filename provided: put it in Upload-Metadata.")
    if len(file_name) > LONGEST_FILE_NAME:
        raise InvalidRequest(f"The filename is longer than {LONGEST_FILE_NAME} characters.")
    return file_name, {name: values[name] for name in FIELDS if name in values}


def read_checksum(headers: Headers) -> Checksum | None:
    """Return what ``Upload-Checksum`` says, or None. Raises InvalidRequest."""
    value = headers.get("upload-checksum")
    if value is None:
        return None
    algorithm, _, encoded = value.partition(" ")
    if algorithm not in CHECKSUM_ALGORITHMS:
        raise InvalidRequest(f"Invalid Upload-Checksum. Its algorithm must be one of: {', '.join(CHECKSUM_ALGORITHMS)}")
    try:
        digest = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise InvalidRequest(f"Invalid Upload-Checksum. Must be {algorithm} and the digest in Base64")
    return Checksum(algorithm, digest)


def server_headers(max_upload_bytes: int) -> dict[str, str]:
    """Return what ``OPTIONS`` is answered with."""
    return {
        VERSION_HEADER: VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Max-Size": str(max_upload_bytes),
        "Tus-Checksum-Algorithm": ",".join(CHECKSUM_ALGORITHMS),
    }


def upload_headers(upload: ResumableUpload) -> dict[str, str]:
    """Return what every answer about an upload says."""
    headers = {
        VERSION_HEADER: VERSION,
        "Upload-Offset": str(upload.offset_bytes),
        "Upload-Expires": format_datetime(upload.expires_at, usegmt=True),
    }
    return headers if upload.job_name is None else headers | {JOB_NAME_HEADER: upload.job_name}


def _decoded(key: str, encoded: str) -> str:
    try:
        value = base64.b64decode(encoded.encode("ascii"), validate=True).decode()
    except (ValueError, binascii.Error):
        raise InvalidRequest(f"The value of {key[:100]} in Upload-Metadata is not text in UTF-8 and Base64.") from None
    if "\0" in value:
        raise InvalidRequest(f"The value of {key[:100]} in Upload-Metadata has a NUL character.")
    return value
