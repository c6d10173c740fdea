"""Connections to hosts that callers name: what is never reached, and what an answer may cost."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import pytest
import trustme

from batchscribe.egress import Answer, Egress, EgressRules, check_url, is_public
from batchscribe.errors import AddressNotAllowed, ReceiverUnreachable
from hostile_addresses import CLOSED, OPEN, REFUSED, SPELLINGS

LOOPBACK = EgressRules(allowed_networks=(ip_network("127.0.0.0/8"),))


@pytest.mark.parametrize("address", CLOSED)
def test_an_address_outside_the_public_internet_is_closed(address: str) -> None:
    """In every family, whatever Python's own idea of "global" is."""
    assert not is_public(address)
    assert not EgressRules().allows(address, 443, is_encrypted=True)


@pytest.mark.parametrize("address", OPEN)
def test_a_public_address_is_open_to_tls_at_the_allowed_port_alone(address: str) -> None:
    """Not in the clear, and not at another port."""
    assert EgressRules().allows(address, 443, is_encrypted=True)
    assert not EgressRules().allows(address, 443, is_encrypted=False)
    assert not EgressRules().allows(address, 22, is_encrypted=True)


def test_an_allowed_network_is_open_and_its_neighbours_are_not() -> None:
    """At every port, and within IPv6 too."""
    rules = EgressRules.read(allow="10.1.0.0/16, fd00::/8", ports="443,8443")
    assert rules.allows("10.1.2.3", 8080, is_encrypted=False)
    assert rules.allows("::ffff:10.1.2.3", 80, is_encrypted=False)
    assert rules.allows("fd00::5", 80, is_encrypted=False)
    assert not rules.allows("10.2.0.1", 443, is_encrypted=True)
    assert rules.allows("8.8.8.8", 8443, is_encrypted=True)


@pytest.mark.parametrize(
    "url",
    REFUSED,
)
def test_an_address_that_cannot_be_allowed_is_refused_before_anything_is_looked_up(url: str) -> None:
    """A sentence and no request."""
    with pytest.raises(AddressNotAllowed):
        check_url(url, EgressRules())


def test_an_ordinary_address_passes() -> None:
    """With a path, a query and the usual port."""
    for url in ("https://example.com", "https://example.com:443/a/b?c=d%20e", "https://[2606:4700::1111]/hook"):
        assert check_url(url, EgressRules()) == url


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[tuple[int, list[bytes]]]:
    """Listen on 127.0.0.1; yield the port and the requests that came."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    requests.append(connection.recv(65536))
                    answer(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], requests
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def send(egress: Egress, url: str, *, seconds: float = 5.0, max_bytes: int = 1000) -> Answer:
    """Send one request."""
    return asyncio.run(egress.send("POST", url, headers={}, content=b"{}", seconds=seconds, max_bytes=max_bytes))


def plain(connection: socket.socket) -> None:
    """Answer shortly."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_the_loopback_is_reached(host: str) -> None:
    """Neither by TLS nor, where another network is open, in the clear: the listener hears nothing."""
    with listening(plain) as (port, requests):
        for scheme in ("http", "https"):
            rules = EgressRules.read(allow="10.0.0.0/8", ports=f"443,{port}")
            with pytest.raises((AddressNotAllowed, ReceiverUnreachable)):
                send(Egress(rules), f"{scheme}://{host}:{port}/")
    assert requests == []


def test_a_name_that_changes_what_it_leads_to_is_judged_at_each_connection() -> None:
    """A public address at the first look and the loopback at the second: the second is refused."""
    answers = iter([["93.184.215.14"], ["127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]])
    with listening(plain) as (port, requests):
        egress = Egress(EgressRules(ports=frozenset({port})), resolve=lambda _host, _port: next(answers))

        async def look() -> list[str]:
            return await egress.addresses("rebind.test", port, is_encrypted=True)

        assert asyncio.run(look()) == ["93.184.215.14"]
        for _ in range(3):
            with pytest.raises(AddressNotAllowed):
                send(egress, f"https://rebind.test:{port}/")
    assert requests == []


def test_only_the_allowed_among_a_names_addresses_are_tried() -> None:
    """The connection goes to the judged address itself, not to the name again."""
    looks: list[str] = []

    def resolve(host: str, _port: int) -> list[str]:
        looks.append(host)
        return ["10.9.9.9", "127.0.0.1", "169.254.169.254"]

    with listening(plain) as (port, requests):
        assert send(Egress(LOOPBACK, resolve=resolve), f"http://receiver.test:{port}/hook").body == b"ok"
    assert looks == ["receiver.test"]
    assert requests[0].startswith(b"POST /hook HTTP/1.1\r\nHost: receiver.test:")


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    """Its target hears nothing."""
    with listening(plain) as (target, heard):

        def redirect(connection: socket.socket) -> None:
            connection.sendall(
                f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{target}/\r\nContent-Length: 0\r\n\r\n".encode()
            )

        with listening(redirect) as (port, _):
            assert send(Egress(LOOPBACK), f"http://127.0.0.1:{port}/").status == 302
    assert heard == []


def test_no_more_of_an_answer_is_read_than_asked_for() -> None:
    """Ten megabytes cost a thousand bytes; a compressed answer stays compressed."""

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10000000\r\n\r\n")
        connection.sendall(b"x" * 10_000_000)

    with listening(flood) as (port, _):
        assert send(Egress(LOOPBACK), f"http://127.0.0.1:{port}/").body == b"x" * 1000


def test_endless_headers_are_given_up() -> None:
    """They do not fill the memory."""

    def headers(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in range(10_000):
            connection.sendall(f"X-{number}: {'y' * 1000}\r\n".encode())

    with listening(headers) as (port, _), pytest.raises(ReceiverUnreachable):
        send(Egress(LOOPBACK), f"http://127.0.0.1:{port}/")


def test_a_host_that_never_ends_its_answer_is_given_up_in_time() -> None:
    """One byte at a time is no way to stay."""

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"x")
            threading.Event().wait(0.05)

    with listening(trickle) as (port, _), pytest.raises(ReceiverUnreachable, match=r"within 0\.3 seconds"):
        send(Egress(LOOPBACK), f"http://127.0.0.1:{port}/", seconds=0.3)


def test_a_host_that_refuses_or_has_no_name_is_unreachable() -> None:
    """Both with a sentence."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(ReceiverUnreachable):
        send(Egress(LOOPBACK), f"http://127.0.0.1:{port}/")
    with pytest.raises(ReceiverUnreachable):
        send(Egress(LOOPBACK), "http://no-such-host.invalid/")


def test_a_certificate_must_be_good_for_the_hosts_name() -> None:
    """Although the connection is made to an address."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("receiver.test").configure_cert(context)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    def encrypted(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as inside:
            inside.recv(65536)
            plain(inside)
            # Whoever closes before everything is read takes the answer back.
            while inside.recv(65536):
                pass

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def serve() -> None:
        for _ in range(3):
            connection, _address = listener.accept()
            try:
                encrypted(connection)
            except OSError:
                continue
            finally:
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    egress = Egress(LOOPBACK, resolve=lambda _host, _port: ["127.0.0.1"], trust=trust)
    assert send(egress, f"https://receiver.test:{port}/").status == 200
    with pytest.raises(ReceiverUnreachable):
        send(egress, f"https://other.test:{port}/")
    with pytest.raises(ReceiverUnreachable):
        send(Egress(LOOPBACK, resolve=lambda _host, _port: ["127.0.0.1"]), f"https://receiver.test:{port}/")
    thread.join(5)
    listener.close()
