"""Recordings by their addresses, from the request to the transcript: a real api, a real worker, a real HTTPS host."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from test_pipeline import wav

from batchscribe.settings import load, to_environment
from media_hosts import hosting, trust_file, whole
from running_api import RunningApi, running_api

LOOPBACK = "127.0.0.0/8"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return an authority for certificates."""
    return trustme.CA()


@contextmanager
def working(data_dir: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker over a data folder until the context ends."""
    settings = load(data_dir=data_dir, engine="scripted", min_free_bytes=0, egress_allow=LOOPBACK, log_level="WARNING")
    named = os.environ | to_environment(settings) | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment
    worker = subprocess.Popen([sys.executable, "-m", "batchscribe", "worker"], env=named)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    """Run an api that lets addresses of the loopback through."""
    with running_api(tmp_path / "data", egress_allow=LOOPBACK) as running:
        yield running


def until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come so"
        time.sleep(0.05)


def ended(api: RunningApi, name: str) -> dict[str, Any]:
    """Wait until a job has ended and return its status."""
    until(lambda: api.get(f"/transcribe-job/{name}").json()["status"] in {"COMPLETED", "FAILED"})
    answer: dict[str, Any] = api.get(f"/transcribe-job/{name}").json()
    return answer


@pytest.mark.parametrize("kind", ["form", "json"])
def test_a_recording_at_an_https_address_is_fetched_and_transcribed(
    tmp_path: Path, api: RunningApi, authority: trustme.CA, kind: str
) -> None:
    """The 201 comes before it is fetched; afterwards the recording is served as an uploaded one is."""
    data = wav(3)
    certificates = str(trust_file(authority, tmp_path))
    with hosting(whole(data), authority=authority) as host, working(tmp_path / "data", SSL_CERT_FILE=certificates):
        fields = {"media_url": host.url("/talks/first.wav?sig=planted"), "language_code": "es-US"}
        url = f"{api.base_url}/transcribe-batch-async"
        if kind == "json":
            answer = requests.post(url, json=fields, timeout=30)
        else:
            answer = requests.post(url, files={name: (None, value) for name, value in fields.items()}, timeout=30)
        assert answer.status_code == 201, answer.text
        name = answer.json()["job_name"]
        assert answer.json()["s3_url"].endswith(f"{name}.wav")
        job = ended(api, name)
    assert job["status"] == "COMPLETED", job
    assert job["s3_url"] == answer.json()["s3_url"]
    assert job["media_format"] == "wav"
    assert job["language_code"] == "es-US"
    assert api.get(f"/transcribe-job/{name}/media").content == data
    assert [each.path for each in host.asked] == ["/talks/first.wav?sig=planted"]
