"""Downloads one recording from a host that a caller named, through at most three redirects and some broken connections.

What is wrong for good raises MediaRefused, AddressNotAllowed or UploadTooLarge; what may be better later
MediaUnreachable. No sentence names more of the address than its host: the rest may be a secret.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urldefrag, urljoin, urlsplit

from batchscribe.domain.media_sources import name_in_address, name_in_disposition
from batchscribe.egress import Answer, Egress
from batchscribe.errors import AddressNotAllowed, MediaRefused, MediaUnreachable, ReceiverUnreachable, UploadTooLarge

MOST_REDIRECTS = 3
#: How often a download that broke is taken up where it ended, and the first of the pauses before that.
MOST_RESUMPTIONS = 5
RESUME_SECONDS = 0.5
#: The longest silence of a host.
SILENCE_SECONDS = 30.0

_REDIRECTS = {301, 302, 303, 307, 308}
#: What may be better in a moment, beside every 5xx.
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_CONTENT_RANGE = re.compile(r"bytes (?P<start>\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
_REFUSALS = {
    HTTPStatus.UNAUTHORIZED: "it wants to know who asks",
    HTTPStatus.FORBIDDEN: "it does not give the recording out; a signed address may have expired",
    HTTPStatus.NOT_FOUND: "there is nothing at the address",
    HTTPStatus.GONE: "there is nothing at the address any more",
}


@dataclass(kw_only=True)
class Download:
    """A download on its way."""

    address: str
    max_bytes: int
    #: Takes the recording's bytes, in order.
    write: Callable[[bytes], None]
    received_bytes: int = 0
    #: How many there will be by the host's word.
    declared_bytes: int | None = None
    content_type: str = ""
    #: What the recording may be called, the best first.
    names: tuple[str, ...] = ()
    was_reached: bool = False
    #: The entity tag by which the same recording is known again; empty where the host has no strong one.
    _tag: str = ""

    async def run(self, egress: Egress) -> None:
        """Receive the whole recording. Raises as the module says."""
        resumptions = 0
        while True:
            try:
                await self._receive(egress)
            except ReceiverUnreachable as error:
                self.was_reached = self.was_reached or error.was_reached
                resumptions += 1
                if not (self._tag and self.received_bytes) or resumptions > MOST_RESUMPTIONS:
                    raise self._unreachable(str(error)) from error
            else:
                return
            await asyncio.sleep(RESUME_SECONDS * 2 ** (resumptions - 1))

    async def _receive(self, egress: Egress) -> None:
        """Ask once, and wherever that leads to, for what is still missing."""
        address = self.address
        for _ in range(MOST_REDIRECTS + 1):
            async with egress.open("GET", address, headers=self._headers(), read_seconds=SILENCE_SECONDS) as (
                answer,
                body,
            ):
                self.was_reached = True
                if answer.status not in _REDIRECTS:
                    await self._take(answer, body, address)
                    return
                address = _redirected(address, answer)
        raise MediaRefused(f"{_host(self.address)} leads on more than {MOST_REDIRECTS} times.")

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "BatchScribe"}
        if self.received_bytes:
            headers |= {"Range": f"bytes={self.received_bytes}-", "If-Range": self._tag}
        return headers

    async def _take(self, answer: Answer, body: AsyncIterator[bytes], address: str) -> None:
        """Write the body of an answer that has one."""
        self._check_status(answer, address)
        if answer.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            raise MediaRefused(f"{_host(address)} sends the recording compressed although it was asked not to.")
        if self.received_bytes:
            self._check_continued(answer)
        else:
            self._begin(answer, address)
        async for piece in body:
            self.received_bytes += len(piece)
            self._check_size(self.received_bytes)
            self.write(piece)

    def _begin(self, answer: Answer, address: str) -> None:
        """Note what the first answer says of the recording."""
        length = answer.headers.get("content-length", "")
        self.declared_bytes = int(length) if re.fullmatch(r"\d{1,18}", length) else None
        self._check_size(self.declared_bytes or 0)
        self.content_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        tag = answer.headers.get("etag", "")
        self._tag = tag if tag.startswith('"') and answer.headers.get("accept-ranges", "").lower() == "bytes" else ""
        disposed = name_in_disposition(answer.headers.get("content-disposition", ""))
        self.names = (disposed, name_in_address(address), name_in_address(self.address))

    def _check_status(self, answer: Answer, address: str) -> None:
        """Raise MediaRefused or MediaUnreachable for an answer without a recording."""
        status, host = answer.status, _host(address)
        if status == HTTPStatus.OK or (status == HTTPStatus.PARTIAL_CONTENT and self.received_bytes):
            return
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
            unreachable = self._unreachable(f"{host} answered {_said(status)}.")
            unreachable.retry_after_seconds = _retry_after(answer.headers.get("retry-after", ""))
            raise unreachable
        why = next((f": {why}" for known, why in _REFUSALS.items() if known == status), "")
        raise MediaRefused(f"{host} answered {_said(status)}{why}.")

    def _check_continued(self, answer: Answer) -> None:
        """Raise MediaUnreachable where what comes is not the rest of the same recording."""
        told = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        begins_right = told is not None and int(told["start"]) == self.received_bytes
        if answer.status != HTTPStatus.PARTIAL_CONTENT or not begins_right or answer.headers.get("etag") != self._tag:
            raise self._unreachable("The connection broke, and the host does not go on where it ended.")

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self.max_bytes:
            raise UploadTooLarge(f"The recording is larger than the limit of {self.max_bytes} bytes.")

    def _unreachable(self, sentence: str) -> MediaUnreachable:
        unreachable = MediaUnreachable(sentence)
        unreachable.was_reached = self.was_reached
        return unreachable


def _redirected(address: str, answer: Answer) -> str:
    """Return where an answer leads to. Raises MediaRefused, AddressNotAllowed; the egress judges the rest."""
    location = answer.headers.get("location", "")
    if not location:
        raise MediaRefused(f"{_host(address)} leads on, but does not say where to.")
    try:
        target = urldefrag(urljoin(address, location)).url
    except ValueError:
        raise MediaRefused(f"{_host(address)} leads on to what is no address.") from None
    if address.startswith("https:") and not target.startswith("https:"):
        raise AddressNotAllowed(f"{_host(address)} leads on to an address without encryption.")
    return target


def _host(address: str) -> str:
    return urlsplit(address).hostname or "The host"


def _said(status: int) -> str:
    """Return a status with its name, where it has one."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _retry_after(value: str) -> float:
    """Return the seconds of a ``Retry-After`` header (RFC 9110), which may be a date; 0 where it says nothing."""
    if re.fullmatch(r"\d{1,9}", value):
        return float(value)
    try:
        at = datetime.strptime(value, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return 0.0
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
