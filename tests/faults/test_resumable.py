"""F1: the api is killed at any system call of a resumable upload's request, and its client goes on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from faults.deployment import Deployment, listed
from faults.sweep import CALLS, kill_while, points_of, require_strace, warmed_api
from tus_requests import TusRequests

SEED = random.SystemRandom().randrange(1, 10**6)
QUICK_POINTS = 4
#: One slice and a half, so that slices are stored, added, and joined in the request that is killed.
RECORDING = b"RIFF\x24\x00\x00\x00WAVEfmt " + random.Random(9).randbytes(6 << 20)  # noqa: S311 - to be repeated
#: What an earlier request has brought.
FIRST_BYTES = 700_000


@pytest.mark.faults(row="F1")
@pytest.mark.timeout(3600)
def test_an_api_killed_at_any_system_call_of_a_resumable_upload_loses_nothing_acknowledged(
    deploy: Callable[..., Deployment],
    tmp_path: Path,
    is_full: bool,
    record_property: Callable[[str, object], None],
) -> None:
    """What was acknowledged is there, HEAD tells the truth, and the client goes on to one job with the same bytes."""
    require_strace()
    deployment = deploy()
    api = warmed_api(deployment)
    tus = TusRequests(api.base_url)

    def begun(tus: TusRequests) -> str:
        url = tus.begin(len(RECORDING))
        assert tus.patch(url, RECORDING[:FIRST_BYTES], at=0).status_code == 204
        return url

    url = begun(tus)
    found = points_of(api, lambda: tus.patch(url, RECORDING[FIRST_BYTES:], at=FIRST_BYTES), CALLS, tmp_path / "trace")
    chance = random.Random(SEED)  # noqa: S311 - to be repeated
    print(f"seed {SEED}")  # noqa: T201 - to be repeated
    points = found if is_full else chance.sample(found, min(QUICK_POINTS, len(found)))
    reached, lost_bytes = Counter[str](), []
    for point in points:
        api.kill()
        api = warmed_api(deployment)
        tus = TusRequests(api.base_url)
        url = begun(tus)
        before = set(listed(api.base_url))
        if kill_while(api, point, lambda tus=tus, url=url: tus.patch(url, RECORDING[FIRST_BYTES:], at=FIRST_BYTES)):  # type: ignore[misc]
            reached[point.call] += 1
            api = deployment.start_api()
        tus = TusRequests(api.base_url)
        url = api.base_url + url[url.index("/files/") :]
        head = tus.head(url)
        offset = int(head.headers["Upload-Offset"])
        assert FIRST_BYTES <= offset <= len(RECORDING), point
        lost_bytes.append(len(RECORDING) - offset)
        if (name := head.headers.get("X-Job-Name")) is None:
            name = tus.patch(url, RECORDING[offset:], at=offset).headers["X-Job-Name"]
        assert set(listed(api.base_url)) - before == {name}, point
        media = requests.get(f"{api.base_url}/transcribe-job/{name}/media", timeout=30).content
        assert media == RECORDING, point
        assert tus.head(url).headers["X-Job-Name"] == name
    assert reached.total() >= min(len(points) // 2, len(points))
    record_property(
        "measured",
        f"{reached.total()} kill points of a resumable upload; 0 jobs lost or doubled, 0 bytes wrong, at most "
        f"{max(lost_bytes)} to be sent again",
    )
