"""The buckets that recordings may be read from by their ``s3://`` addresses: those that the operator has listed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store as Bucket

from batchscribe.errors import AddressNotAllowed, MediaRefused, MediaUnreachable

_READ_BYTES = 1 << 20


class MediaBuckets:
    """Reads objects of listed buckets with the server's own credentials, and of no other bucket anything."""

    def __init__(self, names: Collection[str] = ()) -> None:
        """Take the names of the buckets; region, endpoint and credentials come from AWS's own variables."""
        self._names = frozenset(names)

    def check(self, bucket: str) -> None:
        """Raise AddressNotAllowed where a bucket is not listed."""
        if bucket not in self._names:
            raise AddressNotAllowed("The address's bucket is not one that this server may read.")

    def open(self, bucket: str, key: str) -> tuple[int, Iterator[bytes]]:
        """Begin to read an object; return its size and its bytes.

        Raises AddressNotAllowed; MediaRefused where it is not there or not to be read, and MediaUnreachable, which may
        come while the bytes are read too.
        """
        self.check(bucket)
        try:
            found = _opened(bucket).get(key)
            return found.meta["size"], self._pieces(iter(found.stream(min_chunk_size=_READ_BYTES)))
        except FileNotFoundError:
            raise MediaRefused(f"There is nothing under the address's key in the bucket {bucket}.") from None
        except (PermissionDeniedError, UnauthenticatedError):
            raise MediaRefused(f"The server is not allowed to read the address's key in the bucket {bucket}.") from None
        except (BaseError, OSError) as error:
            raise MediaUnreachable(f"The bucket {bucket} does not answer.") from error

    @staticmethod
    def _pieces(stream: Iterator[object]) -> Iterator[bytes]:
        try:
            for piece in stream:
                yield bytes(piece)  # type: ignore[call-overload]
        except (BaseError, OSError) as error:
            raise MediaUnreachable("The bucket broke off.") from error


def _opened(bucket: str) -> Bucket:
    return Bucket(
        bucket,
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=5),
            "read_timeout": timedelta(seconds=30),
            "timeout": timedelta(hours=2),
        },
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=10)},
    )
