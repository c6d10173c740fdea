"""Both clients as one fixture, so that every test tries the blocking and the asyncio client."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from contract_server import Script, contract_server

from batchscribe.client import AsyncClient, Client


class Awaited:
    """An AsyncClient whose methods are awaited at once, so that one test tries both clients."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*arguments, **settings)

    @property
    def webhooks(self) -> Any:
        """The client's webhooks, awaited at once too."""
        return _AwaitedPart(self, self._client.webhooks)

    def __getattr__(self, name: str) -> Any:
        return self.awaited(getattr(self._client, name))

    def awaited(self, method: Any) -> Any:
        """Return a method that is awaited at once."""

        async def collect(jobs: Any) -> list[Any]:
            return [job async for job in jobs]

        def call(*arguments: Any, **settings: Any) -> Any:
            result = method(*arguments, **settings)
            return self._runner.run(collect(result) if inspect.isasyncgen(result) else result)

        return call

    def close(self) -> None:
        """Close the client and its event loop."""
        self._runner.run(self._client.close())
        self._runner.close()


class _AwaitedPart:
    def __init__(self, client: Awaited, part: Any) -> None:
        self._client, self._part = client, part

    def __getattr__(self, name: str) -> Any:
        return self._client.awaited(getattr(self._part, name))


@pytest.fixture
def script() -> Script:
    """Return what the server does; tests change it."""
    return Script()


@pytest.fixture(params=[Client, Awaited], ids=["blocking", "asyncio"])
def make_client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Make a client of either kind, closed after the test."""
    made: list[Any] = []

    def make(*arguments: Any, **settings: Any) -> Any:
        made.append(request.param(*arguments, **settings))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client: Any, script: Script) -> Iterator[Any]:
    """Start the server and yield a client of either kind."""
    with contract_server(script) as address:
        yield make_client(address)
