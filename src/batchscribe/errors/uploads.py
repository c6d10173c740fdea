"""Why a request of an upload in several parts is refused."""

from __future__ import annotations

from batchscribe.errors.root import RequestRefused


class UploadNotFound(RequestRefused):
    """No upload has this identifier, its time is over, or it is another's."""

    code = "upload_not_found"


class UploadOffsetConflict(RequestRefused):
    """The upload is not at the offset that the request names, or another request has taken it over."""

    code = "upload_offset_conflict"


class ChecksumMismatch(RequestRefused):
    """The bytes of a request are not those whose checksum it names."""

    code = "checksum_mismatch"


class TusVersionMissing(RequestRefused):
    """A request of a resumable upload that does not name the version of tus that is spoken here."""

    code = "tus_version_missing"


class UnsupportedContentType(RequestRefused):
    """A body of a kind that is not taken here."""

    code = "unsupported_content_type"
