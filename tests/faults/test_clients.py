"""F20, F23, F24: clients hang up, delete and cancel at any moment."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from faults.checker import Expected, check
from faults.deployment import Deployment, ended, job, listed, noise, submit, wait_until

SEED = random.SystemRandom().randrange(1, 10**6)
ENDS = ("close", "reset", "half-close")
MEBIBYTE = 1 << 20


@pytest.mark.faults(row="F20")
def test_a_client_that_hangs_up_in_the_middle_of_an_upload_leaves_nothing(
    deploy: Callable[..., Deployment], is_full: bool, record_property: Callable[[str, object], None]
) -> None:
    """F20: after every MiB, with a close, a reset or half a close; no job, no file, no descriptor stays."""
    deployment = deploy()
    api, _ = deployment.start_pair()
    size = (16 if is_full else 4) * MEBIBYTE
    uploads = deployment.data_dir / "media" / "uploads"
    for whole in range(0, size, MEBIBYTE):
        for end in ENDS:
            hang_up(api.base_url, size=size, after=whole, end=end)
    wait_until(lambda: not any(uploads.iterdir()), 10, "the uploads to go")
    assert listed(api.base_url) == {}
    name = submit(api.base_url, noise(1))
    ended(api.base_url, name)
    check(deployment, Expected(accepted=[name]))
    record_property("measured", f"{size // MEBIBYTE * len(ENDS)} cuts; 0 jobs, 0 files left")


def hang_up(base_url: str, *, size: int, after: int, end: str) -> None:
    """Send an upload's headers and its first bytes, wait until the server has some of them, and hang up."""
    host, port = base_url.removeprefix("http://").split(":")
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = part + noise(0.5)[:1000] + bytes(size)
    head = (
        "POST /transcribe-batch-async HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body) + 7}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode() + body[: len(part) + 500 + after])
        if end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif end == "half-close":
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


@pytest.mark.faults(row="F23")
def test_a_deleted_job_is_gone_whatever_was_being_done_with_it(
    deploy: Callable[..., Deployment], is_full: bool, record_property: Callable[[str, object], None]
) -> None:
    """F23: queued, decoding, recognising, finishing: everything answers 404 at once, and nothing of it comes back."""
    deployment = deploy(scripted_real_time_factor="0.005")
    api, _ = deployment.start_pair()
    chance, met = random.Random(SEED), Counter[str]()  # noqa: S311 - to be repeated
    print(f"seed {SEED}")  # noqa: T201 - to be repeated
    moments = [chance.uniform(0, 2.5) for _ in range(100 if is_full else 12)]
    kept = [submit(api.base_url, noise(200, seed=number)) for number in range(2)]

    def submit_and_delete(moment: float) -> str:
        name = submit(api.base_url, noise(200, seed=round(moment * 100)))
        time.sleep(moment)
        found = job(api.base_url, name)
        met[f"{found['status']} {'recognising' if found.get('progress') else ''}".strip()] += 1
        path = f"{api.base_url}/transcribe-job/{name}"
        assert requests.delete(path, timeout=60).status_code == 200
        for each in (path, f"{path}/transcript", f"{path}/media"):
            assert requests.get(each, timeout=60).status_code == 404
        assert requests.delete(path, timeout=60).status_code == 404
        assert requests.post(f"{path}/cancel", timeout=60).status_code == 404
        return name

    with ThreadPoolExecutor(8) as clients:
        deleted = list(clients.map(submit_and_delete, moments))
    for name in kept:
        ended(api.base_url, name)
    check(deployment, Expected(accepted=[*kept, *deleted], deleted=deleted))
    stages = ", ".join(f"{number} {stage}" for stage, number in sorted(met.items()))
    record_property("measured", f"{len(deleted)} deleted ({stages}): 404 everywhere, 0 files, 0 rows, 0 came back")


@pytest.mark.faults(row="F24")
def test_of_a_cancel_and_an_end_at_once_exactly_one_happens(
    deploy: Callable[..., Deployment], is_full: bool, record_property: Callable[[str, object], None]
) -> None:
    """F24: a cancel that was granted means FAILED for ever; one that came too late means COMPLETED for ever."""
    deployment = deploy(scripted_real_time_factor="0.05")
    api, _ = deployment.start_pair()
    codes: dict[str, str | None] = {}
    # The first job starts the decoder; the second shows how long one takes.
    for _ in range(2):
        began_at = time.monotonic()
        name = submit(api.base_url, noise(4))
        ended(api.base_url, name)
        codes[name], usual = "COMPLETED", time.monotonic() - began_at
    chance = random.Random(SEED)  # noqa: S311 - to be repeated
    for _ in range(40 if is_full else 3):
        name = submit(api.base_url, noise(4))
        time.sleep(max(0.0, usual - chance.uniform(0.0, 0.2)))
        answer = requests.post(f"{api.base_url}/transcribe-job/{name}/cancel", timeout=60)
        assert answer.status_code in {200, 409}, answer.text
        codes[name] = "cancelled" if answer.status_code == 200 else "COMPLETED"
    check(deployment, Expected(accepted=codes, codes=codes))
    ends = Counter(codes.values())
    record_property(
        "measured", f"{ends['cancelled']} cancelled, {ends['COMPLETED'] - 2} too late; each as it was answered"
    )
