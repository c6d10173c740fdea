"""The only way out to hosts that callers name: every address is judged at the moment it is connected to.

A host's name is resolved here, each address it has is judged by :func:`is_public`, and the connection is made to the
judged address itself: whatever the name resolves to a moment later, however the address was spelled, and wherever a
redirect leads, nothing else is ever reached. There is no proxy of the environment, no cookie, no ``.netrc``, no
redirect and no decompression.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

import httpcore2

from batchscribe.errors import AddressNotAllowed, ReceiverUnreachable

Network = IPv4Network | IPv6Network
#: Returns the addresses of a host, as text. Raises OSError where it has none. May block.
Resolve = Callable[[str, int], Sequence[str]]

#: The longest address that is taken.
LONGEST_URL = 2000
CONNECT_SECONDS = 5.0
#: So many of a host's addresses are tried.
MAX_ADDRESSES = 4
#: As many names may be looked up at once: a name server that does not answer must not hold up other names.
RESOLVER_THREADS = 64

#: IPv4 without the public internet (IANA's registry of special purposes, multicast, reserved; Azure's host agent).
_CLOSED_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    )
)  # fmt: skip
#: Of IPv6 only what is given out as global unicast, without what leads elsewhere (Teredo, 6to4) or is for documents.
_OPEN_IPV6 = IPv6Network("2000::/3")
_CLOSED_IPV6 = tuple(IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))

_HOST = re.compile(r"[0-9A-Za-z._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_TARGET = re.compile(r"[!-~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRules:
    """What may be reached beyond ``https://`` at public addresses."""

    #: Private networks that are open all the same, at every port and with ``http://`` too.
    allowed_networks: tuple[Network, ...] = ()
    #: Ports of public addresses.
    ports: frozenset[int] = frozenset({443})

    @classmethod
    def read(cls, *, allow: str, ports: str) -> EgressRules:
        """Read both from lists with commas. Raises ValueError."""
        return cls(
            allowed_networks=tuple(ip_network(each.strip()) for each in allow.split(",") if each.strip()),
            ports=frozenset(int(each) for each in ports.split(",")),
        )

    def allows(self, address: str, port: int, *, is_encrypted: bool) -> bool:
        """Whether a connection to an address may be made."""
        plain = _plain(address)
        if any(plain in network for network in self.allowed_networks if network.version == plain.version):
            return True
        return is_encrypted and port in self.ports and is_public(address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a host answered; no more of the body than was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet; an IPv4 address within an IPv6 one is judged as IPv4."""
    plain = _plain(address)
    if isinstance(plain, IPv4Address):
        return not any(plain in network for network in _CLOSED_IPV4)
    return plain in _OPEN_IPV6 and not any(plain in network for network in _CLOSED_IPV6)


def check_url(url: str, rules: EgressRules) -> str:
    """Return an address that may be tried, as it was given. Raises AddressNotAllowed, whose sentence names no address.

    Names are not looked up: what they lead to is judged at each connection.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise AddressNotAllowed("The address is not a URL.") from None
    if len(url) > LONGEST_URL or not _TARGET.fullmatch(url):
        raise AddressNotAllowed(f"The address must be at most {LONGEST_URL} visible ASCII characters.")
    if parts.scheme not in ({"https", "http"} if rules.allowed_networks else {"https"}):
        raise AddressNotAllowed("The address must begin with https://.")
    host = parts.netloc.removesuffix(f":{parts.port}") if parts.port is not None else parts.netloc.removesuffix(":")
    if parts.username is not None or parts.fragment or not _HOST.fullmatch(host):
        raise AddressNotAllowed("The address must name a host, without user, password or fragment.")
    if port not in rules.ports and not rules.allowed_networks:
        ports = ", ".join(str(each) for each in sorted(rules.ports))
        raise AddressNotAllowed(f"The address's port is not allowed. Allowed: {ports}.")
    try:
        literal = str(ip_address(parts.hostname or ""))
    except ValueError:
        return url
    if not rules.allows(literal, port, is_encrypted=parts.scheme == "https"):
        raise AddressNotAllowed("The address is not allowed: it is not one of the public internet.")
    return url


class Egress:
    """Opens connections by the rules. To be used from one event loop."""

    def __init__(
        self, rules: EgressRules, *, resolve: Resolve | None = None, trust: ssl.SSLContext | None = None
    ) -> None:
        """``resolve`` looks names up and ``trust`` judges certificates, by default as the system does."""
        self.rules = rules
        self._resolve = resolve or _system_resolve
        self._trust = trust or ssl.create_default_context()
        self._resolver_threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")

    def close(self) -> None:
        """End the threads that look names up, once they are done."""
        self._resolver_threads.shutdown(wait=False)

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes, seconds: float, max_bytes: int
    ) -> Answer:
        """Send one request and read at most ``max_bytes`` of the answer's body, all within ``seconds``.

        Raises AddressNotAllowed, ReceiverUnreachable. A redirect is an answer like any other.
        """
        try:
            async with (
                asyncio.timeout(seconds),
                self.open(method, url, headers=headers, content=content) as (answer, body),
            ):
                read = bytearray()
                async for piece in body:
                    read += piece[: max_bytes - len(read)]
                    if len(read) == max_bytes:
                        break
                return Answer(status=answer.status, headers=answer.headers, body=bytes(read))
        except TimeoutError as error:
            raise ReceiverUnreachable(f"No answer within {seconds:g} seconds.") from error

    @asynccontextmanager
    async def open(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", read_seconds: float = 30.0
    ) -> AsyncIterator[tuple[Answer, AsyncIterator[bytes]]]:
        """Send one request; hand out the answer without its body, and the body as it arrives.

        ``read_seconds`` is the longest silence. Raises AddressNotAllowed, ReceiverUnreachable.
        """
        check_url(url, self.rules)
        timeouts = {"connect": CONNECT_SECONDS, "read": read_seconds, "write": read_seconds, "pool": CONNECT_SECONDS}
        backend = _JudgingBackend(self, is_encrypted=url.startswith("https:"))
        try:
            async with (
                # One connection for one request: nothing of one receiver's is ever left for another's.
                httpcore2.AsyncHTTPConnection(
                    httpcore2.URL(url).origin, ssl_context=self._trust, network_backend=backend
                ) as connection,
                connection.stream(
                    method, url, headers=list(headers.items()), content=content, extensions={"timeout": timeouts}
                ) as response,
            ):
                answer_headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
                }
                yield Answer(status=response.status, headers=answer_headers, body=b""), response.aiter_stream()
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
            unreachable = ReceiverUnreachable(f"The connection failed: {_reason(error)}.")
            unreachable.was_reached = False
            raise unreachable from error
        except httpcore2.TimeoutException as error:
            raise ReceiverUnreachable("The host did not answer in time.") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol, ssl.SSLError) as error:
            raise ReceiverUnreachable(f"The connection failed: {_reason(error)}.") from error

    async def addresses(self, host: str, port: int, *, is_encrypted: bool) -> list[str]:
        """Return those addresses of a host that may be reached. Raises AddressNotAllowed where it has no such."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._resolver_threads, self._resolve, host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError("the host's name is not known") from error
        allowed = [each for each in found if self.rules.allows(each, port, is_encrypted=is_encrypted)]
        if not allowed:
            raise AddressNotAllowed("The address is not allowed: it is not one of the public internet.")
        return allowed[:MAX_ADDRESSES]


class _JudgingBackend(httpcore2.AnyIOBackend):
    """Connects to judged addresses, never to names."""

    def __init__(self, egress: Egress, *, is_encrypted: bool) -> None:
        self._egress = egress
        self._is_encrypted = is_encrypted

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first of the host's allowed addresses that takes the connection."""
        last: Exception = httpcore2.ConnectError("no address")
        try:
            async with asyncio.timeout(timeout):
                for address in await self._egress.addresses(host, port, is_encrypted=self._is_encrypted):
                    try:
                        return await super().connect_tcp(address, port, timeout, local_address, socket_options)
                    except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                        last = error
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("the host cannot be reached in time") from error
        raise last


def _plain(address: str) -> IPv4Address | IPv6Address:
    """Read an address; IPv4 within IPv6 becomes IPv4, and an interface's name is left out."""
    read = ip_address(address.partition("%")[0])
    return (read.ipv4_mapped or read) if isinstance(read, IPv6Address) else read


def _system_resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _reason(error: Exception) -> str:
    """Say what failed, in one short line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
