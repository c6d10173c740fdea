"""The whole service under random faults in virtual time: whatever happens, the promises hold.

``SIMULATION_SEEDS=10000 pytest tests/simulation`` plays more seeds than the few of every day.
"""

from __future__ import annotations

import os

import pytest
from scenarios import play, scenario_of
from simulated_service import Scenario, SimulatedService
from simulated_store import Recording
from simulated_world import Faults, Strike, Violation

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "240"))
BLOCKS = max(8, SEEDS // 200)

#: One job of two chunks; the last holds the job up, so that latecomers find it running.
CALM = Scenario(
    recordings=(Recording(number=7, seconds=2.0, kind="good"),),
    workers=2,
    faults=Faults(),
    last_chunk_seconds=25.0,
)


def points(kind: str) -> int:
    """Return how many points processes of a kind come to when nothing goes wrong."""
    calm = SimulatedService(1, CALM)
    calm.play()
    return calm.world.points[kind]


def strike(kind: str, freeze_seconds: float | None, *, part: int = 0, parts: int = 1) -> None:
    """Kill, or freeze, a process at each point in turn, or at one part of the points."""
    broken = []
    for number in range(1 + part, points(kind) + 1, parts):
        try:
            SimulatedService(1, CALM, Strike(kind=kind, number=number, freeze_seconds=freeze_seconds)).play()
        except Violation as violation:
            broken.append(f"point {number}: {violation}")
    assert not broken


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_random_fault_breaks_a_promise(block: int) -> None:
    """Crashes, freezes, errors, outages, doubles, cancellations and deletions, as each seed has them."""
    for seed in range(block * SEEDS // BLOCKS, (block + 1) * SEEDS // BLOCKS):
        try:
            play(seed)
        except Exception as error:
            error.add_note(f"replay: PYTHONPATH=src python tests/simulation/scenarios.py {seed}")
            raise


def test_an_api_may_be_killed_at_every_point() -> None:
    """A submission that was not answered leaves nothing, or a job; one that was is never lost."""
    strike("api", None)


@pytest.mark.parametrize("part", range(4))
def test_a_worker_may_be_killed_at_every_point(part: int) -> None:
    """Another takes the work up, and the result is the same."""
    strike("worker", None, part=part, parts=4)


@pytest.mark.parametrize("part", range(4))
def test_a_worker_may_be_frozen_at_every_point(part: int) -> None:
    """It comes back when another has taken over, and nothing that it still does can be seen."""
    strike("worker", 13.0, part=part, parts=4)


def test_a_seed_plays_the_same_way_every_time() -> None:
    """Times, faults and results are equal to the last step."""
    first, second = play(5), play(5)
    assert first.world.trace == second.world.trace
    assert first.world.now == second.world.now


def test_the_faults_do_happen() -> None:
    """A few seeds have every kind of fault between them, and every kind of end."""
    traces, ends = [], set()
    for seed in range(60):
        played = play(seed)
        traces += played.world.trace
        ends |= {
            row[0] or "COMPLETED" for row in played.database.raw.execute("SELECT failure_code FROM transcription_jobs")
        }
    story = "\n".join(traces)
    for happening in (
        "KILLED",
        "FROZEN",
        "nothing was committed",
        "although it was committed",
        "will happen later",
        "store error before",
        "store error after",
        "the engine dies",
        "the decoder is killed",
        "cancelled",
        "deleted",
    ):
        assert happening in story
    assert ends >= {"COMPLETED", "media_damaged", "engine_crashed", "cancelled"}


def test_a_scenario_follows_from_its_seed() -> None:
    """The same seed gives the same scenario, another seed another."""
    assert scenario_of(3) == scenario_of(3) != scenario_of(4)
