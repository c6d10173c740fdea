"""F1, F6, F22: a submission is killed, or its disk fails, at any of its system calls."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
import requests

from faults.checker import Expected, check
from faults.deployment import Deployment, ended, job, listed, noise, post, submit
from faults.sweep import (
    CALLS,
    SYNC_CALLS,
    Point,
    fail_at,
    kill_at,
    points_of_submission,
    require_strace,
    traced,
    warmed_api,
)

RECORDING = noise(0.5)
QUICK_POINTS = 12
SEED = random.SystemRandom().randrange(1, 10**6)


def every_point(found: list[Point]) -> Iterator[Iterator[Point]]:
    """Yield for each thread and each call that it made an endless row of points, first, second and so on."""
    for thread, call in dict.fromkeys((point.thread, point.call) for point in found):
        yield (Point(thread=thread, call=call, number=number) for number in count(1))


@pytest.mark.faults(row="F1")
@pytest.mark.timeout(1800)
def test_an_api_killed_at_any_system_call_of_a_submission_loses_no_accepted_job(
    deploy: Callable[..., Deployment],
    tmp_path: Path,
    is_full: bool,
    record_property: Callable[[str, object], None],
) -> None:
    """F1: the client sees a reset or a 201; a 201 ends COMPLETED; without one there is at most an orphan that goes."""
    require_strace()
    deployment = deploy()
    deployment.start_worker()
    api = warmed_api(deployment)
    found = points_of_submission(api, RECORDING, CALLS, tmp_path / "trace")
    api.kill()
    chance = random.Random(SEED)  # noqa: S311 - to be repeated
    print(f"seed {SEED}")  # noqa: T201 - to be repeated
    rows = every_point(found) if is_full else ([point] for point in chance.sample(found, min(QUICK_POINTS, len(found))))
    accepted: list[str] = []
    tried, reached, answered = 0, Counter[str](), 0
    for row in rows:
        for point in row:
            api, tried = warmed_api(deployment), tried + 1
            name, was_reached = kill_at(api, point, RECORDING)
            if name is not None:
                accepted.append(name)
            if not was_reached:
                assert name is not None, point
                api.kill()
                break
            reached[point.call] += 1
            answered += name is not None
    last = deployment.start_api()
    for name in accepted:
        assert ended(last.base_url, name)["status"] == "COMPLETED"
    # Every api was warmed with two jobs, and traced once, whose names nobody kept: they count as not told of here.
    check(deployment, Expected(accepted=accepted, interrupted=tried * 3 + 3))
    assert reached.total() >= (len(found) if is_full else QUICK_POINTS // 2)
    record_property(
        "measured",
        f"{reached.total()} kill points ({', '.join(f'{call} {number}' for call, number in sorted(reached.items()))}), "
        f"{answered} after the 201 was written; 0 lost",
    )


@pytest.mark.faults(row="F6")
def test_a_submission_whose_sync_to_disk_fails_is_never_accepted(
    deploy: Callable[..., Deployment], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """F6: after a failed fsync the client gets 503 and no job; the api answers on, and accepts the next recording."""
    require_strace()
    deployment = deploy()
    deployment.start_worker()
    api = warmed_api(deployment)
    found = points_of_submission(api, RECORDING, SYNC_CALLS, tmp_path / "trace")
    assert {point.call for point in found} == set(SYNC_CALLS)
    before = set(listed(api.base_url))
    accepted: list[str] = []
    for point in found:
        answer = fail_at(api, point, RECORDING)
        assert answer.status_code == 503, f"{point}: {answer.text}"
        assert answer.headers["Retry-After"]
        assert requests.get(f"{api.base_url}/health", timeout=5).status_code == 200
        assert set(listed(api.base_url)) == before | set(accepted)
        accepted.append(submit(api.base_url, RECORDING))
    check(deployment, Expected(accepted=[*before, *accepted]))
    record_property(
        "measured", f"{len(found)} of {len(found)} failed syncs answered 503; 0 jobs of them; next one accepted"
    )


@pytest.mark.faults(row="F6")
def test_a_worker_whose_syncs_fail_waits_and_then_finishes(
    deploy: Callable[..., Deployment], record_property: Callable[[str, object], None]
) -> None:
    """F6: every third sync of the worker fails for some seconds; no job fails for that, and each has one result."""
    require_strace()
    deployment = deploy(scripted_real_time_factor="0.002")
    api, worker = deployment.start_pair()
    inject = f"inject={','.join(SYNC_CALLS)}:error=EIO:when=2+3"
    with traced(worker, "-o", "/dev/null", "-e", f"trace={','.join(SYNC_CALLS)}", "-e", inject):
        accepted = [submit(api.base_url, noise(seconds)) for seconds in (1, 200, 330)]
        time.sleep(4)
    began_at = time.monotonic()
    for name in accepted:
        ended(api.base_url, name)
    seconds = time.monotonic() - began_at
    check(deployment, Expected(accepted=accepted))
    record_property("measured", f"3 jobs COMPLETED {seconds:.1f} s after the disk was well again")


@pytest.mark.faults(row="F22")
def test_the_same_submission_fifty_times_at_once_makes_one_job(
    deploy: Callable[..., Deployment], record_property: Callable[[str, object], None]
) -> None:
    """F22: with one idempotency key, whatever the interleaving; every answer names the same job."""
    deployment = deploy()
    api, _ = deployment.start_pair()
    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(lambda _: post(api.base_url, RECORDING, key="one"), range(50)))
    codes = Counter(answer.status_code for answer in answers)
    names = {answer.json()["job_name"] for answer in answers if answer.status_code == 201}
    assert codes == {201: 50}, [answer.text for answer in answers if answer.status_code != 201][:3]
    assert len(names) == 1
    assert post(api.base_url, noise(0.6), key="one").status_code == 409
    check(deployment, Expected(accepted=names))
    record_property("measured", "50 answers 201, 1 job; other content 409")


@pytest.mark.faults(row="F22")
def test_a_client_that_lost_the_answer_may_ask_again(deploy: Callable[..., Deployment], tmp_path: Path) -> None:
    """F22: the api is killed when it writes the 201; the same key then names the job that is there already."""
    require_strace()
    deployment = deploy()
    deployment.start_worker()
    api = warmed_api(deployment)
    found = points_of_submission(api, RECORDING, CALLS, tmp_path / "trace")
    (answer,) = [point for point in found if "HTTP/1.1 201" in point.arguments]
    before = set(listed(api.base_url))
    name, was_reached = kill_at(api, answer, RECORDING, key="lost")
    assert was_reached
    assert name is None
    api = deployment.start_api()
    (there,) = set(listed(api.base_url)) - before
    again = submit(api.base_url, RECORDING, key="lost")
    assert again == there
    assert job(api.base_url, again)["job_name"] == there
    check(deployment, Expected(accepted=[*before, again]))
