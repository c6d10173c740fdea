"""What both clients need to carry questions to a server: address, key, the recording on its way out, the way in."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any

import httpx2

from batchscribe.client.answers import ClientError, ServerUnreachable
from batchscribe.client.steps import Ask

DEFAULT_URL = "http://127.0.0.1:5001"


def connection_settings(base_url: str | None, api_key: str | None) -> dict[str, Any]:
    """Return the arguments of an httpx2 client.

    What is None is read from ``BATCHSCRIBE_URL`` and ``BATCHSCRIBE_API_KEY``, the variables of every client of the
    server. Raises ClientError for an address or a key that cannot be one.
    """
    address = (base_url or os.environ.get("BATCHSCRIBE_URL") or DEFAULT_URL).strip()
    key = (api_key or os.environ.get("BATCHSCRIBE_API_KEY") or "").strip()
    try:
        url = httpx2.URL(address)
    except httpx2.InvalidURL as error:
        raise ClientError(f"The server's address {address!r} is not a URL: {error}.") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ClientError(f"The server's address {address!r} must look like {DEFAULT_URL}.")
    if not (key.isascii() and key.isprintable()):
        raise ClientError("The API key has characters that no key has.")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # A proxy cannot reach the loopback of this machine, whatever the environment says.
    return {"base_url": url, "headers": headers, "trust_env": not _is_loopback(url.host)}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def request_settings(ask: Ask) -> dict[str, Any]:
    """Return the arguments of an httpx2 request for a question."""
    settings: dict[str, Any] = {
        "method": ask.method,
        "url": ask.path,
        "params": ask.params,
        "timeout": httpx2.Timeout(ask.timeout_seconds, connect=10.0, write=60.0),
    }
    if ask.file is not None:
        name, file = ask.file
        settings |= {"files": {"file": (name, _Outgoing(file, ask.on_progress))}, "data": ask.form}
    if ask.content is not None:
        settings["content"] = ask.content
    if ask.headers:
        settings["headers"] = dict(ask.headers)
    if ask.body is not None:
        settings["json"] = ask.body
    return settings


@contextmanager
def unreachable_is_said(base_url: httpx2.URL) -> Iterator[None]:
    """Turn the transport's errors into ServerUnreachable."""
    address = str(base_url).rstrip("/")
    try:
        yield
    except httpx2.TimeoutException as error:
        raise ServerUnreachable(f"The server at {address} did not answer in time.") from error
    except httpx2.ConnectError as error:
        raise ServerUnreachable(f"No server answers at {address}.") from error
    except httpx2.RequestError as error:
        raise ServerUnreachable(f"The connection to {address} broke: {error or type(error).__name__}.") from error


class _Outgoing:
    """A recording that tells how many of its bytes have been read. Never shows a file descriptor.

    By its descriptor httpx2 would take a pipe's length as nought; by seeking it finds that it has none.
    """

    def __init__(self, file: IO[bytes], on_progress: Callable[[int], None] | None) -> None:
        self._file = file
        self._on_progress = on_progress
        self._sent_bytes = 0
        self.tell = file.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if not self._file.seekable():
            raise io.UnsupportedOperation
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._sent_bytes += len(data)
        if data and self._on_progress is not None:
            self._on_progress(self._sent_bytes)
        return data


@contextmanager
def outgoing(media: str | os.PathLike[str] | IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Open a recording to be sent, with the file name to send. Raises OSError where it cannot be read.

    It is read in small blocks while it is sent, so memory does not grow with its length. A file that was given open is
    sent from its beginning where it can be rewound, and stays open.
    """
    with ExitStack() as stack:
        if isinstance(media, (str, os.PathLike)):
            name = Path(media).name
            file: IO[bytes] = stack.enter_context(Path(media).open("rb"))
        else:
            name = Path(str(getattr(media, "name", ""))).name
            file = media
        # A name that is not UTF-8 on disk cannot be sent as it is; the server keeps only its extension.
        sendable = (name or "recording").encode("utf-8", "replace").decode("utf-8")
        yield sendable, file


@contextmanager
def incoming(to: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file to be written, which bears its name only once it is whole. Raises OSError."""
    target = Path(to)
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def answers_as_server(base_url: str) -> bool:
    """Whether a server of the contract answers at this address with good health, asked once and briefly."""
    settings = connection_settings(base_url, None) | {"headers": {}}
    try:
        with httpx2.Client(**settings, timeout=2.0) as http:
            answer = http.get("/health")
            return answer.is_success and bool(answer.json() == {"status": "healthy"})
    except (httpx2.RequestError, ValueError):
        return False
