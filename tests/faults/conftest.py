"""Fixtures of the fault tests: processes that start in a moment, and a database server of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from faults.deployment import Deployment, Warm, deployed


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
