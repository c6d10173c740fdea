"""F2 for recordings by address: a worker ends at any step of a fetch, and another makes the same of it."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from faults.checker import Expected, check
from faults.deployment import Deployment, ended, job, noise, wait_until
from media_hosts import dripping, hosting, in_turn, whole

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's processes and signals")

RECORDING = noise(3, seed=7)
QUICK_STEPS = 3
SEED = random.SystemRandom().randrange(1, 10**6)


def submit_address(base_url: str, address: str) -> str:
    """Submit a recording by its address, which must be accepted; return its job's name."""
    answer = requests.post(f"{base_url}/transcribe-batch-async", json={"media_url": address}, timeout=30)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_name"])


@pytest.mark.faults(row="F2")
@pytest.mark.timeout(1800)
def test_a_worker_killed_at_any_step_of_a_fetch_leaves_one_job_with_its_recording(
    deploy: Callable[..., Deployment], tmp_path: Path, is_full: bool, record_property: Callable[[str, object], None]
) -> None:
    """F2: before and after every commit and every touch of the store; nothing but the recordings is left."""
    deployment = deploy(egress_allow="127.0.0.0/8")
    api = deployment.start_api()
    with hosting(whole(RECORDING)) as host:
        address = host.url("/talk.wav?sig=planted")
        diary = tmp_path / "diary"
        worker = deployment.start_worker(crash={"at": 0, "diary": str(diary)})
        accepted = [submit_address(api.base_url, address)]
        words = ended(api.base_url, accepted[0])["transcript"]
        worker.kill()
        lines = diary.read_text().splitlines()
        # The fetch ends with the commit that follows the recording's; what comes then is the way of every job.
        last = next(number for number, line in enumerate(lines) if line.endswith("after FolderUpload.commit")) + 3
        chance = random.Random(SEED)  # noqa: S311 - to be repeated
        print(f"seed {SEED}")  # noqa: T201 - to be repeated
        steps = range(1, last + 1)
        killed = 0
        for number in steps if is_full else sorted(chance.sample(steps, QUICK_STEPS)):
            name = submit_address(api.base_url, address)
            worker = deployment.start_worker(crash={"at": number, "diary": str(tmp_path / f"diary-{number}")})
            wait_until(
                lambda w=worker, n=name: w.has_ended() or job(api.base_url, n)["status"] == "COMPLETED",  # type: ignore[misc]
                60,
                f"step {number}",
            )
            killed += worker.has_ended()
            worker.kill()
            worker = deployment.start_worker()
            assert ended(api.base_url, name)["transcript"] == words, number
            worker.kill()
            assert requests.get(f"{api.base_url}/transcribe-job/{name}/media", timeout=30).content == RECORDING
            accepted.append(name)
        deployment.start_worker()
        check(deployment, Expected(accepted=accepted))
    for process in deployment.processes:
        assert "planted" not in process.log.read_text()
    record_property("measured", f"{killed} killed of {len(steps)} steps; every job COMPLETED with its recording")


@pytest.mark.faults(row="F2")
@pytest.mark.xdist_group("faults-postgres")
def test_the_fetch_of_a_killed_worker_is_taken_over_by_another(
    deploy_fleet: Callable[..., Deployment], record_property: Callable[[str, object], None]
) -> None:
    """F2: over PostgreSQL, while a host keeps the first worker waiting; the other begins the try anew."""
    deployment = deploy_fleet(egress_allow="127.0.0.0/8", secret_key="k" * 40)
    api, first = deployment.start_pair()
    silent = threading.Event()
    with hosting(in_turn(dripping(RECORDING, seconds=600, ended=silent), whole(RECORDING))) as host:
        name = submit_address(api.base_url, host.url("/talk.wav"))
        wait_until(lambda: bool(host.asked), 60, "the fetch to begin")
        deployment.start_worker()
        first.kill()
        killed_at = time.monotonic()
        wait_until(lambda: len(host.asked) == 2, 60, "the other worker to fetch")
        seconds = time.monotonic() - killed_at
        silent.set()
        assert ended(api.base_url, name)["status"] == "COMPLETED"
    check(deployment, Expected(accepted=[name]))
    record_property("measured", f"fetched by another {seconds:.1f} s after its worker was killed")
