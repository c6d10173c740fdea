"""The receivers that docs/webhooks.md shows take real messages for ours, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from batchscribe.webhooks.signing import job_secret, signature_headers
from conftest import free_port

RECEIVERS = Path(__file__).parents[2] / "docs" / "receivers"
SECRET = job_secret(b"a server's key", "")
BODY = b'{"type":"job.completed","data":{"job_name":"transcribe-1"}}'


def headers(secrets: list[str]) -> dict[str, str]:
    """Sign the message."""
    return signature_headers(secrets, message_id="msg_1", at=datetime.now(UTC), body=BODY)


@pytest.mark.parametrize("program", [(sys.executable, "receiver.py"), ("node", "receiver.mjs")], ids=["Python", "Node"])
def test_a_receiver_takes_each_message_once_and_refuses_forgeries(program: tuple[str, str]) -> None:
    """By its signature, also beside an older one; a repetition is answered but not worked on."""
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not here")
    port = free_port()
    command = [program[0], str(RECEIVERS / program[1]), str(port), SECRET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        try:
            url = f"http://127.0.0.1:{port}/"
            until = time.monotonic() + 20
            while True:
                try:
                    answer = requests.post(url, data=BODY, headers=headers([SECRET]), timeout=30)
                    break
                except requests.ConnectionError:
                    assert time.monotonic() < until
                    time.sleep(0.05)
            assert answer.status_code == 204
            other = job_secret(b"another server's key", "")
            assert requests.post(url, data=BODY, headers=headers([other, SECRET]), timeout=30).status_code == 204
            assert requests.post(url, data=BODY, headers=headers([other]), timeout=30).status_code == 400
            assert requests.post(url, data=BODY + b" ", headers=headers([SECRET]), timeout=30).status_code == 400
            assert requests.post(url, data=BODY, timeout=30).status_code == 400
        finally:
            process.terminate()
        assert process.stdout is not None
        assert process.stdout.read().decode().splitlines() == ["job.completed transcribe-1"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here")
def test_the_shell_script_tells_ours_from_forgeries() -> None:
    """By its exit code."""

    def verify(signed: dict[str, str], body: bytes = BODY) -> int:
        arguments = [SECRET, signed["webhook-id"], signed["webhook-timestamp"], signed["webhook-signature"]]
        done = subprocess.run(["bash", str(RECEIVERS / "verify.sh"), *arguments], input=body, check=False, timeout=20)
        return done.returncode

    other = job_secret(b"another server's key", "")
    assert verify(headers([SECRET])) == 0
    assert verify(headers([other, SECRET])) == 0
    assert verify(headers([other])) == 1
    assert verify(headers([SECRET]), BODY + b" ") == 1
    assert verify(headers([SECRET]) | {"webhook-timestamp": "1700000000"}) == 1
