"""Recordings that are submitted by their addresses: which are taken, and how they are kept until they are fetched."""

from __future__ import annotations

from pathlib import PurePosixPath

from sqlalchemy import Connection
from sqlalchemy import Engine as Database

from batchscribe.acceptance import Incoming
from batchscribe.database import jobs, media_sources
from batchscribe.database.connection import reading
from batchscribe.domain.media import MediaFormat, format_by_name
from batchscribe.domain.media_sources import (
    BucketAddress,
    is_bucket_address,
    name_in_address,
    read_bucket_address,
)
from batchscribe.domain.ports import MediaStore
from batchscribe.egress import EgressRules, check_url
from batchscribe.errors import AddressNotAllowed, NotSetUp
from batchscribe.sealing import Seal
from batchscribe.storage.buckets import MediaBuckets

#: What a recording is taken for until it is there, where its address does not say.
USUAL_FORMAT = MediaFormat.MP3


class MediaAddresses:
    """Takes addresses of recordings. May be used from any thread."""

    def __init__(
        self, database: Database, store: MediaStore, *, seal: Seal | None, rules: EgressRules, buckets: MediaBuckets
    ) -> None:
        """Without a seal no address can be kept, so none is taken."""
        self._database = database
        self._store = store
        self._seal = seal
        self._rules = rules
        self._buckets = buckets

    def incoming(self, address: str, *, owner: str) -> Incoming:
        """Return what becomes a job whose recording is fetched later. Raises AddressNotAllowed, NotSetUp.

        ``owner`` is whose recordings an address of our own store may mean. Names are looked up only by the fetch.
        """
        if self._seal is None:
            raise NotSetUp(
                "This server cannot take media_url yet: its operator has to set BATCHSCRIBE_SECRET_KEY. "
                "Upload the recording instead."
            )
        if is_bucket_address(address):
            self._check_bucket_address(address, read_bucket_address(address), owner)
        else:
            check_url(address, self._rules)
        sealed = self._seal.seal(address)

        def note_source(connection: Connection, job_name: str) -> None:
            media_sources.add(connection, job_name, sealed)

        return Incoming(
            media_format=format_by_name(name_in_address(address)) or USUAL_FORMAT,
            commit=lambda _key: 0,
            upload_seconds=0.0,
            alongside=note_source,
            is_fetched=True,
        )

    def _check_bucket_address(self, address: str, source: BucketAddress, owner: str) -> None:
        """Raise AddressNotAllowed unless it is of a recording that the owner has here, or of a listed bucket."""
        if source.bucket != self._store.bucket:
            self._buckets.check(source.bucket)
            return
        with reading(self._database) as connection:
            job = jobs.find_job(connection, PurePosixPath(source.key).stem)
        if job is None or job.owner != owner or job.media_url != address or job.is_fetching:
            raise AddressNotAllowed("No recording of yours is kept under this address.")
