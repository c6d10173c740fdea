"""Recordings by their addresses, from the request to the transcript: a real api, a real worker, a real HTTPS host."""

from __future__ import annotations

import asyncio
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

from batchscribe.client import AsyncClient, Client
from batchscribe.client.answers import Job
from batchscribe.domain.keys import DEFAULT_SCOPES, Quotas
from batchscribe.settings import load, to_environment
from batchscribe.web.gate import Access
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


def post(api: RunningApi, body: Any, **headers: str) -> requests.Response:
    """Submit with JSON."""
    return requests.post(f"{api.base_url}/transcribe-batch-async", json=body, headers=headers, timeout=30)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ([], "invalid_request"),
        ({"media_url": ""}, "invalid_request"),
        ({"media_url": 5}, "address_not_allowed"),
        ({"media_url": {"a": 1}}, "invalid_request"),
        ({"media_url": "https://127.1/x", "upload_id": "0" * 32}, "invalid_request"),
        ({"media_url": "https://10.0.0.1/talk.wav"}, "address_not_allowed"),
        ({"media_url": "ftp://localhost/talk.wav"}, "address_not_allowed"),
        ({"media_url": "https://localhost/talk.wav", "language_code": "xx"}, "unsupported_language"),
        ({"media_url": "https://localhost/talk.wav", "max_speaker_labels": 3}, "invalid_request"),
        ({"media_url": "https://localhost/\u0000"}, "invalid_request"),
    ],
)
def test_what_cannot_be_fetched_is_refused_now(api: RunningApi, body: Any, code: str) -> None:
    """With a sentence, and no job is made."""
    answer = post(api, body)
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (400, code), answer.text
    assert api.job_count() == 0
    assert api.unfinished_uploads() == []


def test_an_address_and_a_file_are_one_too_many(api: RunningApi) -> None:
    """In whichever order they come."""
    for names in (("file", "media_url"), ("media_url", "file")):
        parts: dict[str, Any] = {"file": ("a.wav", wav(1)), "media_url": (None, "https://localhost/talk.wav")}
        answer = requests.post(
            f"{api.base_url}/transcribe-batch-async", files=[(name, parts[name]) for name in names], timeout=30
        )
        assert (answer.status_code, answer.headers["X-Error-Code"]) == (400, "invalid_request")
    assert api.job_count() == 0


def test_the_same_address_under_one_idempotency_key_is_one_job(api: RunningApi) -> None:
    """Another address under it is a conflict; JSON takes options of every kind."""
    body = {"media_url": "https://localhost/a.wav", "show_speaker_labels": True, "max_speaker_labels": 3}
    first, second = (post(api, body, **{"Idempotency-Key": "once"}) for _ in range(2))
    assert first.json()["job_name"] == second.json()["job_name"]
    other = post(api, body | {"media_url": "https://localhost/b.wav"}, **{"Idempotency-Key": "once"})
    assert other.headers["X-Error-Code"] == "idempotency_conflict"
    assert api.job_count() == 1


def test_a_signed_address_is_in_no_answer(api: RunningApi) -> None:
    """Neither in the job's nor in the list's nor in the events; while it waits it says what it waits for."""
    name = post(api, {"media_url": "https://localhost/a.wav?sig=planted"}).json()["job_name"]
    job = api.get(f"/transcribe-job/{name}")
    assert job.json()["status"] == "QUEUED"
    assert job.json()["fetched_bytes"] == 0
    assert "fetched" in job.json()["message"]
    assert api.get(f"/transcribe-job/{name}/media").status_code == 404
    for text in (job.text, api.get("/transcribe-jobs").text, str(api.service.monitor.events_after(0))):
        assert "planted" not in text


def test_a_server_without_a_key_takes_no_addresses(tmp_path: Path, postgres_url: str) -> None:
    """Many machines need one that is the same for all."""
    with running_api(tmp_path / "data", database_url=postgres_url) as api:
        answer = post(api, {"media_url": "https://example.com/a.wav"})
        assert (answer.status_code, answer.headers["X-Error-Code"]) == (409, "not_set_up")
        assert "BATCHSCRIBE_SECRET_KEY" in answer.json()["error"]


def test_addresses_count_against_a_keys_quota_and_belong_to_it(tmp_path: Path) -> None:
    """A job that is yet to be fetched is one that waits; another key's recordings are not taken over."""
    with running_api(tmp_path / "data", access=Access(is_open_without_keys=True)) as api:
        texts = [
            api.service.ring.create(name, scopes=DEFAULT_SCOPES, quotas=Quotas(jobs=1), expires_at=None)[1]
            for name in ("one", "two")
        ]
        uploaded = requests.post(
            f"{api.base_url}/transcribe-batch-async",
            files={"file": ("a.wav", wav(1))},
            headers={"X-API-Key": texts[0]},
            timeout=30,
        ).json()["s3_url"]
        assert post(api, {"media_url": uploaded}, **{"X-API-Key": texts[1]}).headers["X-Error-Code"] == (
            "address_not_allowed"
        )
        assert post(api, {"media_url": "https://a.test/x"}, **{"X-API-Key": texts[1]}).status_code == 201
        refused = post(api, {"media_url": "https://a.test/x"}, **{"X-API-Key": texts[1]})
        assert refused.headers["X-Error-Code"] == "quota_used_up"
        assert "Retry-After" in refused.headers


def test_no_address_is_taken_where_the_queue_is_full(tmp_path: Path) -> None:
    """As with uploads."""
    with running_api(tmp_path / "data", max_queued_jobs=1) as api:
        assert post(api, {"media_url": "https://a.test/x"}).status_code == 201
        api.service.monitor._queue_answer = (0.0, False)
        refused = post(api, {"media_url": "https://a.test/x"})
        assert (refused.status_code, refused.headers["X-Error-Code"]) == (429, "queue_full")


def test_both_clients_submit_addresses(api: RunningApi) -> None:
    """And tell how much of the recording has come."""
    address = "https://localhost/a.wav"

    async def submit() -> Job:
        async with AsyncClient(api.base_url) as client:
            return await client.submit_address(address, language_code="fr-FR", fields={"priority": "high"})

    with Client(api.base_url) as client:
        jobs = [client.submit_address(address, language_code="fr-FR"), asyncio.run(submit())]
        for job in jobs:
            assert job.language_code == "fr-FR"
            assert client.get(job.job_name).fetched_bytes == 0
