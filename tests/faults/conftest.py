"""Fixtures of the fault tests: processes that start in a moment, and a database server of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from batchscribe import app
from faults.deployment import TESTS, Deployment, Warm, deployed
from faults.postgres import OwnPostgres, own_postgres

# The makers of hostile recordings are the decoder's tests'.
sys.path.append(str(TESTS / "contract"))


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Return the process that forks apis and workers."""
    process = Warm()
    yield process
    process.end()


@pytest.fixture
def deploy(warm: Warm, tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    """Return a function that makes a deployment with settings; it ends with the test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(deployed(warm, tmp_path, **settings))


@pytest.fixture(scope="session")
def is_full() -> bool:
    """Whether the long versions are asked for: ``FAULTS=full``."""
    return os.environ.get("FAULTS", "quick") == "full"


@pytest.fixture
def only_in_full(is_full: bool) -> None:
    """Skip a test that has no short version."""
    if not is_full:
        pytest.skip("takes long: FAULTS=full")


@pytest.fixture(scope="session")
def postgres() -> Iterator[OwnPostgres]:
    """Return a PostgreSQL server that a test may stop, and must start again."""
    with own_postgres() as server:
        yield server
        server.start()


@pytest.fixture
def deploy_fleet(postgres: OwnPostgres, deploy: Callable[..., Deployment]) -> Callable[..., Deployment]:
    """Return a function that makes a deployment over an empty PostgreSQL database."""

    def make(**settings: str) -> Deployment:
        deployment = deploy(database_url=postgres.new_database(), **settings)
        deployment.data_dir.mkdir(parents=True, exist_ok=True)
        app.upgrade_database(deployment.loaded_settings())
        return deployment

    return make
