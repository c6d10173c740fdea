"""F11: the bucket is busy, silent, cut off or closed to us, under load."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from fault_proxy import Kind, fault_proxy
from faults.checker import Expected, check
from faults.deployment import Deployment, ended, noise, post, submit, wait_until
from faults.load import Load
from object_servers import ObjectServer, use_environment

#: What the bucket does: the proxy's fault and its particulars.
TROUBLES: dict[str, tuple[Kind, dict[str, Any]]] = {
    "503 SlowDown to everything": (Kind.ANSWER, {}),
    "500 nine times": (Kind.ANSWER, {"status": 500, "code": "InternalError", "times": 9}),
    "403 to everything": (Kind.ANSWER, {"status": 403, "code": "AccessDenied"}),
    "10 s of silence": (Kind.SILENCE, {"times": 4, "seconds": 10}),
    "reset in the body": (Kind.RESET_IN_BODY, {"request": "^GET", "times": 6}),
    "body cut short": (Kind.CUT_BODY, {"request": "^GET", "times": 6}),
    "reset before the answer": (Kind.RESET_BEFORE_ANSWER, {"times": 6}),
    "a wrong ETag": (Kind.WRONG_ETAG, {"times": 6}),
}


@pytest.mark.faults(row="F11")
@pytest.mark.usefixtures("only_in_full")
@pytest.mark.timeout(600)
def test_a_bucket_in_trouble_is_waited_for(
    deploy: Callable[..., Deployment],
    moto: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """F11: submissions get 201 or 503, jobs wait, none fails for it; nothing is left but recordings of jobs."""
    use_environment(monkeypatch, moto.environment())
    url = moto.new_url()
    recordings = [noise(seconds, seed=number) for number, seconds in enumerate((2, 200, 700))]
    with fault_proxy(moto.endpoint) as proxy:
        deployment = deploy(storage_url=url, scripted_real_time_factor="0.001")
        deployment.extra_environment |= moto.environment(proxy.endpoint)
        api, worker = deployment.start_pair()
        load = Load(recordings, [api.base_url], clients=2)
        slowest = 0.0
        with load.running():
            for kind, how in TROUBLES.values():
                time.sleep(1)
                proxy.fail(kind, **how)
                time.sleep(12)
                proxy.faults.clear()
                well_at = time.monotonic()
                wait_until(lambda at=well_at: load.first_after(load.ended_at, at) < 999, 60, "jobs to end again")  # type: ignore[misc]
                slowest = max(slowest, load.first_after(load.ended_at, well_at))
        assert load.strange == []
        assert not api.has_ended()
        assert not worker.has_ended()
        check(deployment, Expected(accepted=load.accepted, interrupted=load.interrupted))
    keys = moto.keys(url)
    assert all(key.startswith("audio/batch/") for key in keys), keys
    assert len(keys) <= len(load.accepted) + load.interrupted
    assert moto.unfinished_uploads(url) == []
    record_property(
        "measured",
        f"{', '.join(TROUBLES)}: submissions {dict(load.submissions)}, {len(load.accepted)} accepted, 0 FAILED for it; "
        f"jobs ended again {slowest:.1f} s after it was over at the most; 0 parts left",
    )


@pytest.mark.faults(row="F11")
def test_a_submission_to_a_bucket_that_stays_away_is_refused_with_a_time(
    deploy: Callable[..., Deployment], moto: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F11: 503 with ``Retry-After`` in bounded time, and no job; the next one is accepted when the bucket is back."""
    use_environment(monkeypatch, moto.environment())
    with fault_proxy(moto.endpoint) as proxy:
        deployment = deploy(storage_url=moto.new_url())
        deployment.extra_environment |= moto.environment(proxy.endpoint)
        api, _ = deployment.start_pair()
        proxy.fail(Kind.ANSWER, status=403, code="AccessDenied")
        began_at = time.monotonic()
        refused = post(api.base_url, noise(1))
        assert refused.status_code == 503, refused.text
        assert refused.headers["Retry-After"]
        assert time.monotonic() - began_at < 30
        proxy.faults.clear()
        name = submit(api.base_url, noise(1))
        ended(api.base_url, name)
        check(deployment, Expected(accepted=[name], interrupted=1))
