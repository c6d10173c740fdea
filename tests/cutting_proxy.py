"""A way to a server on which connections break: each after so many bytes of what the client sends."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class CuttingProxy:
    """A running proxy."""

    base_url: str
    #: After how many bytes each of the next connections breaks; those after them do not.
    cuts: list[int] = field(default_factory=list)
    #: How long each 64 KiB take.
    pause_seconds: float = 0.0
    #: How many have broken.
    broken: int = 0


@contextmanager
def cutting_proxy(port: int) -> Iterator[CuttingProxy]:
    """Run a proxy in front of a port of this machine, until the context ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = CuttingProxy(f"http://127.0.0.1:{listener.getsockname()[1]}")
    threads = [threading.Thread(target=_accept, args=(listener, port, proxy), name="proxy")]
    threads[0].start()
    try:
        yield proxy
    finally:
        # Whoever accepts is woken up.
        listener.shutdown(socket.SHUT_RDWR)
        threads[0].join(10)
        listener.close()


def _accept(listener: socket.socket, port: int, proxy: CuttingProxy) -> None:
    carriers: list[threading.Thread] = []
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            break
        cut = proxy.cuts.pop(0) if proxy.cuts else None
        carriers.append(threading.Thread(target=_carry, args=(client, port, cut, proxy), name="proxy"))
        carriers[-1].start()
    for carrier in carriers:
        carrier.join(10)


def _carry(client: socket.socket, port: int, cut: int | None, proxy: CuttingProxy) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=_copy, args=(server, client), name="proxy")
        back.start()
        left = cut
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data if left is None else data[:left])
                time.sleep(proxy.pause_seconds)
                if left is not None:
                    left -= len(data)
                    if left <= 0:
                        proxy.broken += 1
                        # A reset, as a network that is gone looks to whoever still sends.
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        break
        for each in (server, client):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        back.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
