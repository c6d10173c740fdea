"""F3, F10, F24, F28: many apis and workers over PostgreSQL, killed, frozen, cut off and replaced under load."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text

from batchscribe.database.schema import chunks
from batchscribe.workflow.liveness import PATIENCE_SECONDS
from faults.checker import Expected, check, opened
from faults.deployment import Deployment, ServerProcess, ended, job, listed, noise, submit, wait_until
from faults.load import Load
from faults.postgres import OwnPostgres

pytestmark = [
    pytest.mark.usefixtures("only_in_full"),
    pytest.mark.xdist_group("faults-postgres"),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent"),
]

KILLS = 150
SEED = random.SystemRandom().randrange(1, 10**6)
RECORDINGS = [noise(seconds, seed=number) for number, seconds in enumerate((2, 5, 20, 200))]


def recognised(deployment: Deployment) -> dict[tuple[str, int], Any]:
    """Return when each chunk was recognised, and how often it was begun."""
    query = select(chunks.c.job_name, chunks.c.index, chunks.c.attempts, chunks.c.recognised_at)
    with opened(deployment) as (database, _), database.connect() as connection:
        rows = connection.execute(query.where(chunks.c.recognised_at.is_not(None)))
        return {(name, index): (attempts, at) for name, index, attempts, at in rows}


def executor_of(worker: ServerProcess) -> str:
    """Return how a worker's id in the durable engine's table contains its process id."""
    return f"%-{worker.pid}-%"


def holds_work(deployment: Deployment, worker: ServerProcess) -> bool:
    """Whether a worker has work in hand by the durable engine's table."""
    query = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'PENDING' AND executor_id LIKE :holder"
    with opened(deployment) as (database, _), database.connect() as connection:
        return bool(connection.execute(text(query), {"holder": executor_of(worker)}).scalar_one())


@pytest.mark.faults(row="F3")
@pytest.mark.timeout(1800)
def test_whoever_of_a_fleet_is_killed_nothing_is_lost_and_no_finished_chunk_is_repeated(
    deploy_fleet: Callable[..., Deployment],
    postgres: OwnPostgres,
    record_property: Callable[[str, object], None],
) -> None:
    """F3: apis, workers and database sessions, at random moments under load; every word as if nothing had happened."""
    deployment = deploy_fleet(scripted_real_time_factor="0.01")
    apis = [deployment.start_api() for _ in range(2)]
    fleet = [*apis, *(deployment.start_worker() for _ in range(2))]
    undisturbed = [ended(apis[0].base_url, submit(apis[0].base_url, each))["transcript"] for each in RECORDINGS]
    before = set(listed(apis[0].base_url))
    load = Load(RECORDINGS, [api.base_url for api in apis])
    chance, kills, seen = random.Random(SEED), Counter[str](), recognised(deployment)  # noqa: S311 - to be repeated
    print(f"seed {SEED}")  # noqa: T201 - to be repeated
    with load.running():
        while kills.total() < KILLS:
            time.sleep(chance.uniform(0.2, 1.5))
            if chance.random() < 0.15:
                postgres.end_backends()
                kills["all database sessions"] += 1
                continue
            place = chance.randrange(len(fleet))
            victim = fleet[place]
            deployment.look_at_processes()
            victim.kill()
            kills[victim.kind] += 1
            port = int(victim.base_url.rpartition(":")[2]) if victim.base_url else None
            fleet[place] = deployment.start(victim.kind, port=port)
            now = recognised(deployment)
            assert seen.items() <= now.items(), "a chunk that was recognised was recognised again"
            seen = now
    assert load.strange == []
    for name, index in load.accepted.items():
        assert ended(apis[0].base_url, name, seconds=120)["transcript"] == undisturbed[index]
    assert seen.items() <= recognised(deployment).items()
    check(deployment, Expected(accepted=[*before, *load.accepted], interrupted=load.interrupted))
    said = ", ".join(f"{number} {kind}" for kind, number in sorted(kills.items()))
    record_property(
        "measured",
        f"{kills.total()} kills ({said}); {len(load.accepted)} accepted, 0 lost, 0 of {len(seen)} chunks repeated",
    )


@pytest.mark.faults(row="F10")
@pytest.mark.timeout(600)
def test_a_fleet_outlives_its_database(
    deploy_fleet: Callable[..., Deployment],
    postgres: OwnPostgres,
    record_property: Callable[[str, object], None],
) -> None:
    """F10: PostgreSQL crashes and comes back, and every session is ended, under load; all resumes by itself."""
    deployment = deploy_fleet(scripted_real_time_factor="0.01")
    apis = [deployment.start_api() for _ in range(2)]
    workers = [deployment.start_worker() for _ in range(2)]
    load = Load(RECORDINGS, [api.base_url for api in apis])
    down_seconds = (1, 5, 60)
    back: list[float] = []
    finished: list[float] = []
    with load.running():
        time.sleep(1.5)
        for seconds in down_seconds:
            postgres.stop_at_once()
            time.sleep(seconds)
            postgres.start()
            up_at = time.monotonic()
            for moments, seen in ((load.accepted_at, back), (load.ended_at, finished)):
                wait_until(lambda m=moments, at=up_at: load.first_after(m, at) < 999, 90, "work to go on")  # type: ignore[misc]
                seen.append(load.first_after(moments, up_at))
        for _ in range(5):
            ended_sessions = postgres.end_backends()
            time.sleep(1)
    assert load.strange == []
    assert not any(process.has_ended() for process in (*apis, *workers)), "a process did not outlive the database"
    check(deployment, Expected(accepted=load.accepted, interrupted=load.interrupted, seconds=120))
    record_property(
        "measured",
        f"down {', '.join(map(str, down_seconds))} s: next 201 {max(back):.1f} s and next end of a job "
        f"{max(finished):.1f} s after it was back at the most; {ended_sessions} sessions ended at once; "
        f"{len(load.accepted)} accepted, 0 lost; "
        f"submissions {dict(load.submissions)}",
    )


@pytest.mark.faults(row="F24")
def test_a_worker_that_wakes_after_its_work_was_taken_over_changes_nothing(
    deploy_fleet: Callable[..., Deployment], record_property: Callable[[str, object], None]
) -> None:
    """F24: frozen in the middle of a chunk until another has finished the job; then it goes on, and is refused."""
    deployment = deploy_fleet(scripted_real_time_factor="0.02")
    api = deployment.start_api()
    pair = [deployment.start_worker() for _ in range(2)]
    name = submit(api.base_url, noise(330))
    wait_until(lambda: job(api.base_url, name)["status"] == "IN_PROGRESS", 20, "a worker to begin")
    frozen: list[ServerProcess] = []

    def found_holder() -> bool:
        frozen[:] = [worker for worker in pair if holds_work(deployment, worker)]
        return bool(frozen)

    wait_until(found_holder, 20, "a worker to have work in hand")
    began_at = time.monotonic()
    frozen[0].send(signal.SIGSTOP)
    found = ended(api.base_url, name, seconds=PATIENCE_SECONDS + 30)
    seconds = time.monotonic() - began_at
    before = recognised(deployment)
    frozen[0].send(signal.SIGCONT)
    time.sleep(4)
    assert recognised(deployment) == before
    assert job(api.base_url, name)["transcript"] == found["transcript"]
    check(deployment, Expected(accepted=[name]))
    record_property(
        "measured", f"COMPLETED by the other {seconds:.1f} s after the freeze; the late writes changed nothing"
    )


@pytest.mark.faults(row="F28")
@pytest.mark.timeout(600)
def test_a_rolling_restart_under_load_loses_nothing_and_no_poll(
    deploy_fleet: Callable[..., Deployment], record_property: Callable[[str, object], None]
) -> None:
    """F28: each api and each worker gets SIGTERM in turn and is replaced; requests under way are answered."""
    deployment = deploy_fleet(scripted_real_time_factor="0.01")
    apis = [deployment.start_api() for _ in range(2)]
    workers = [deployment.start_worker() for _ in range(2)]
    load = Load(RECORDINGS, [api.base_url for api in apis])
    took: dict[str, list[float]] = {"api": [], "worker": []}
    with load.running():
        time.sleep(1)
        for _ in range(5):
            for place in range(2):
                # As a load balancer does: no new requests first, then the signal.
                load.base_urls = [api.base_url for api in apis if api is not apis[place]]
                time.sleep(0.2)
                took["api"].append(stop_in_peace(apis[place]))
                apis[place] = deployment.start_api()
                load.base_urls = [api.base_url for api in apis]
                took["worker"].append(stop_in_peace(workers[place]))
                workers[place] = deployment.start_worker()
    assert load.strange == []
    assert set(load.submissions) == {201}
    assert set(load.polls) == {200}
    check(deployment, Expected(accepted=load.accepted))
    record_property(
        "measured",
        f"{len(took['api'])} apis and {len(took['worker'])} workers replaced; drained in {max(took['api']):.1f} s and "
        f"{max(took['worker']):.1f} s at the most; {len(load.accepted)} submissions and {load.polls.total()} polls, "
        "0 of them failed, 0 jobs lost",
    )


def stop_in_peace(process: ServerProcess) -> float:
    """Send SIGTERM and return how long the process took to end, which it must do well."""
    began_at = time.monotonic()
    process.send(signal.SIGTERM)
    assert process.wait(40) == 0, process.log.read_text()
    return time.monotonic() - began_at
