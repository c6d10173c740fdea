"""The media store of many machines: a bucket of S3, or of a server that speaks S3's protocol, through obstore.

What a key's bytes are, S3 decides: an object is there whole or not at all, and once a request is answered its bytes are
kept. So nothing lies on local disk but the recordings that are open for reading.
"""

from __future__ import annotations

import logging
import re
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store as Bucket

from batchscribe.errors import ConfigurationError, MediaMissing, StoreUnavailable
from batchscribe.storage.s3_direct import S3DirectUploads
from batchscribe.storage.s3_upload import UPLOADS, S3Upload, check_size, remove

if TYPE_CHECKING:
    from obstore import GetResult

logger = logging.getLogger(__name__)

_DOWNLOAD_BYTES = 4 << 20
#: Longest request: a large recording on a slow line. A silent line is given up much sooner.
_LONGEST_REQUEST = timedelta(hours=6)
_CONNECT_SECONDS = 5.0
#: What https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html allows.
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class S3Store:
    """A :class:`~batchscribe.domain.ports.MediaStore` in a bucket.

    Region, endpoint and credentials come from AWS's own variables (``AWS_REGION``, ``AWS_ENDPOINT_URL``,
    ``AWS_ACCESS_KEY_ID`` and so on), or from the machine's or container's role. A request that is refused for the
    moment or gets no answer is sent again after waits that grow, with jitter, for ``retry_seconds``; then
    StoreUnavailable is raised, as it is for every other trouble with the bucket, and the log has the reason.
    """

    def __init__(
        self,
        url: str,
        *,
        spool_folder: Path,
        retry_seconds: float = 10.0,
        silence_seconds: float = 30.0,
        upload_grace_seconds: float = 24 * 3600.0,
    ) -> None:
        """Use the bucket and prefix of ``url`` (``s3://bucket/prefix``). Raises ConfigurationError for another address.

        Recordings that are open lie in ``spool_folder``. ``silence_seconds`` is how long a request may go without a
        byte of its answer; a part of 8 MiB must be sent in that time. Uploads are never reclaimed that are younger
        than ``upload_grace_seconds``: S3 dates an upload by its beginning.
        """
        self.bucket, prefix = _parse(url)
        #: What stands before a key in the address of its object.
        self.address = f"s3://{self.bucket}/{prefix}".rstrip("/")
        self._spool_folder = spool_folder
        self._upload_grace_seconds = upload_grace_seconds
        spool_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._objects = Bucket(
            self.bucket,
            prefix=prefix or None,
            config={
                # Sent beside every body and compared by the server, which refuses what was bent on its way.
                "checksum_algorithm": "SHA256",
                # One request a key: not every server has the one for many.
                "disable_bulk_delete": True,
            },
            client_options={
                # Whoever writes an endpoint with http:// means it; AWS's own is https.
                "allow_http": True,
                "connect_timeout": timedelta(seconds=min(_CONNECT_SECONDS, silence_seconds)),
                "read_timeout": timedelta(seconds=silence_seconds),
                "timeout": _LONGEST_REQUEST,
            },
            retry_config={
                # Time is what bounds the tries.
                "max_retries": 1000,
                "retry_timeout": timedelta(seconds=retry_seconds),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=max(0.1, min(3.0, retry_seconds / 3))),
                    "base": 2,
                },
            },
        )

    def check(self) -> None:
        """Store, list, read and remove an object. Raises ConfigurationError, which says what to change."""
        key = f"{UPLOADS}/check-{uuid.uuid4().hex}"
        try:
            self._objects.put(key, b"check", use_multipart=False)
            next(self._objects.list(f"{UPLOADS}/"), None)
            self._objects.get(key).bytes()
            remove(self._objects, [key])
        except (BaseError, FileNotFoundError) as error:
            raise ConfigurationError(_advice(error, bucket=self.bucket)) from error

    def begin_upload(self) -> S3Upload:
        """Start taking in a recording. Asks nothing of the bucket yet."""
        return S3Upload(self._objects, self._answering)

    def direct_uploads(self) -> S3DirectUploads:
        """Return what lets clients put recordings here themselves."""
        return S3DirectUploads(self._objects, self._answering)

    def check_room(self, recording_bytes: int, needed_bytes: int | None = None) -> None:  # noqa: ARG002 - see the port
        """Raise UploadTooLarge where no recording may have so many bytes; a bucket is never full."""
        check_size(recording_bytes)

    def join(self, keys: Iterable[str], key: str) -> int:
        """Send what lies under ``keys`` as the parts of one object. Raises MediaMissing, StoreUnavailable."""
        upload = self.begin_upload()
        try:
            for each in keys:
                upload.write(self.get(each))
            return upload.commit(_checked(key))
        finally:
            upload.abort()

    def put(self, key: str, data: bytes) -> None:
        """Store bytes durably under ``key``, at once and whole, replacing what was there. Raises StoreUnavailable."""
        with self._answering():
            self._objects.put(_checked(key), data, use_multipart=False)

    def get(self, key: str) -> bytes:
        """Return all bytes under ``key``. Raises MediaMissing, StoreUnavailable."""
        with self._answering():
            found = self._found(key)
            data = bytes(found.bytes())
            _check_length(len(data), found.meta["size"])
        return data

    def open(self, key: str) -> BinaryIO:
        """Download a recording and open it for reading, seekable. Raises MediaMissing, StoreUnavailable.

        The copy has no name: it is gone once the file is closed, or its process ends.
        """
        with self._answering(), ExitStack() as unless_whole:
            found = self._found(key)
            media = unless_whole.enter_context(tempfile.TemporaryFile(dir=self._spool_folder))
            for data in found.stream(min_chunk_size=_DOWNLOAD_BYTES):
                media.write(data)
            _check_length(media.tell(), found.meta["size"])
            media.seek(0)
            # The caller closes it.
            unless_whole.pop_all()
        return media

    def size(self, key: str) -> int:
        """Return the size in bytes under ``key``. Raises MediaMissing, StoreUnavailable."""
        with self._answering():
            return self._found(key).meta["size"]

    def delete(self, key: str) -> None:
        """Remove ``key``. Harmless when it is not there. Raises StoreUnavailable."""
        with self._answering():
            remove(self._objects, [_checked(key)])

    def delete_prefix(self, prefix: str) -> None:
        """Remove every key that begins with ``prefix`` (which ends in ``/``). Raises StoreUnavailable."""
        with self._answering():
            for page in self._objects.list(_checked_prefix(prefix)):
                remove(self._objects, [each["path"] for each in page])

    def keys_older_than(self, prefix: str, seconds: float) -> list[str]:
        """Return the keys below ``prefix`` (which ends in ``/``) that were written longer ago. Raises StoreUnavailable.

        Ages are the difference between this machine's clock and the bucket's.
        """
        limit = datetime.fromtimestamp(time.time() - seconds, UTC)
        with self._answering():
            pages = list(self._objects.list(_checked_prefix(prefix)))
        return [each["path"] for page in pages for each in page if each["last_modified"] < limit]

    def reclaim(self, older_than_seconds: float) -> int:
        """Remove uploads that were never committed and are older than this; return how many. Raises StoreUnavailable.

        Parts of an upload that a killed process never completed cannot be seen from here: the bucket's lifecycle rule
        (``AbortIncompleteMultipartUpload``) removes those.
        """
        abandoned = self.keys_older_than(f"{UPLOADS}/", max(older_than_seconds, self._upload_grace_seconds))
        for key in abandoned:
            self.delete(key)
        return len(abandoned)

    def _found(self, key: str) -> GetResult:
        """Begin to read an object. Raises MediaMissing, or an error for :meth:`_answering`."""
        try:
            return self._objects.get(_checked(key))
        except FileNotFoundError as error:
            # Only S3's own word ends a job: a gateway in front of it may answer 404 for a moment too.
            if "<Code>NoSuchKey</Code>" in str(error):
                raise MediaMissing("The recording is no longer in the media store. Upload it again.") from error
            raise

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn every trouble with the bucket or the spool folder into StoreUnavailable."""
        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            logger.warning("the bucket refuses our credentials: %s", _reason(error))
            raise StoreUnavailable("The media store refuses our credentials. Try again later.") from error
        except (BaseError, OSError) as error:
            logger.warning("the media store failed: %s", _reason(error))
            raise StoreUnavailable("The media store cannot be used at present. Try again in a moment.") from error


def _parse(url: str) -> tuple[str, str]:
    """Return bucket and prefix of an address. Raises ConfigurationError."""
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    is_address = parts.scheme == "s3" and _BUCKET_NAME.fullmatch(parts.netloc) and not parts.query + parts.fragment
    if not is_address or (prefix and not _is_key(prefix)):
        raise ConfigurationError(
            "BATCHSCRIBE_STORAGE_URL is no bucket's address; it must look like s3://bucket or s3://bucket/prefix."
        )
    return parts.netloc, prefix


def _is_key(key: str) -> bool:
    return bool(key) and all(part not in {"", ".", ".."} and "\0" not in part for part in key.split("/"))


def _checked(key: str) -> str:
    """Return a key. Keys are ours; one that is none is our bug and raises ValueError."""
    if not _is_key(key):
        raise ValueError(f"not a key of the media store: {key!r}")
    return key


def _checked_prefix(prefix: str) -> str:
    """Return a prefix of keys. Raises ValueError where it is none."""
    if not prefix.endswith("/") or not _is_key(prefix[:-1]):
        raise ValueError(f"not a prefix of the media store: {prefix!r}")
    return prefix


def _check_length(received_bytes: int, size_bytes: int) -> None:
    """Raise OSError where an object did not arrive whole."""
    if received_bytes != size_bytes:
        raise OSError(f"{received_bytes} of {size_bytes} bytes arrived")


def _reason(error: Exception) -> str:
    """Return an error's first line; what follows is a dump of the HTTP library's own."""
    return str(error).partition("\n")[0][:500]


def _advice(error: Exception, *, bucket: str) -> str:
    """Return one sentence about what to change so that the bucket can be used. Repeats no more than its address."""
    reason = str(error)
    address = re.search(r"https?://[^/\s]+", reason)
    place = f"the bucket {bucket} at {address[0] if address else 'AWS'}"
    if "NoSuchBucket" in reason:
        return f"There is no such bucket as {place}: create it, or correct BATCHSCRIBE_STORAGE_URL or AWS_ENDPOINT_URL."
    # The machine's and the container's role are asked for when there is nothing else.
    if "/latest/api/token" in reason or "169.254.170.2" in reason:
        return f"There are no credentials for the bucket {bucket}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    if "403 Forbidden" in reason or "401 Unauthorized" in reason:
        return (
            f"The credentials are refused for {place}: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, "
            "and that they may list the bucket, and read, write and delete its objects."
        )
    if "Server returned" in reason:
        return f"What answers is not usable as {place}: check BATCHSCRIBE_STORAGE_URL, AWS_ENDPOINT_URL and AWS_REGION."
    return f"Nothing answers for {place}: check AWS_ENDPOINT_URL and AWS_REGION, and that the network lets us reach it."
