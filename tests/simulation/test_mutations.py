"""The simulation can fail: every bug that is put in on purpose is found."""

from __future__ import annotations

import pytest
from mutations import MUTATIONS, SWEPT, Mutation
from scenarios import play
from simulated_service import SimulatedService
from simulated_world import Strike, Violation
from test_simulation import CALM, points

MOST_SEEDS = 400


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_bug_is_found_by_some_seed(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random faults bring it to light."""
    mutation(monkeypatch)
    for seed in range(MOST_SEEDS):
        try:
            play(seed)
        except Violation:
            return
    pytest.fail(f"{MOST_SEEDS} seeds did not find it: {mutation.__doc__}")


@pytest.mark.parametrize("mutation", SWEPT, ids=lambda mutation: mutation.__name__)
def test_a_bug_is_found_by_some_freeze(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is frozen at one certain point brings it to light."""
    mutation(monkeypatch)
    for number in range(1, points("worker") + 1):
        try:
            SimulatedService(1, CALM, Strike(kind="worker", number=number, freeze_seconds=13.0)).play()
        except Violation:
            return
    pytest.fail(f"no freeze found it: {mutation.__doc__}")
