"""The routes and commands of webhooks, against a running server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import standardwebhooks
from click.testing import CliRunner

from batchscribe.cli import commands
from batchscribe.egress import Egress, EgressRules
from batchscribe.parts import server_key
from batchscribe.settings import load
from batchscribe.webhooks.sender import WebhookSender
from conftest import MEDIA, Server
from planted import names_found
from receivers import Receiver, receiving
from running_api import WAV, RunningApi, running_api
from tus_requests import TusRequests, metadata

RULES = EgressRules.read(allow="127.0.0.0/8", ports="443")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    """Run a server that may send to this machine."""
    with running_api(tmp_path, egress_allow="127.0.0.0/8") as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Run a receiver that takes everything."""
    with receiving() as running:
        yield running


def send_due(api: RunningApi) -> None:
    """Play the worker's sender until nothing is due."""
    key = server_key(load(data_dir=api.data_dir))
    assert key is not None
    sender = WebhookSender(api.database, server_key=key, rules=RULES)
    while asyncio.run(sender.send_due(Egress(RULES))):
        pass


def ask(api: RunningApi, method: str, path: str, *, status: int, **options: Any) -> dict[str, Any]:
    """Ask the server, which must answer with this status."""
    answer = requests.request(method, api.base_url + path, timeout=30, **options)
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_an_endpoint_lives_from_its_registration_to_its_deletion(api: RunningApi, receiver: Receiver) -> None:
    """Create, list, read, test-fire, rotate, pause, resume, delete."""
    made = ask(api, "POST", "/webhook-endpoints", status=201, json={"url": receiver.url, "description": "ours"})
    assert made["secret"].startswith("whsec_")
    assert made["events"] == ["job.completed", "job.failed"]
    path = f"/webhook-endpoints/{made['id']}"
    shown = ask(api, "GET", path, status=200)
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert ask(api, "GET", "/webhook-endpoints", status=200) == {"endpoints": [shown], "count": 1}
    assert ask(api, "GET", f"{path}/secret", status=200) == {"secret": made["secret"]}

    fired = ask(api, "POST", f"{path}/test", status=202)
    send_due(api)
    [message] = receiver.received
    assert standardwebhooks.Webhook(made["secret"]).verify(message.body, message.headers)["type"] == "webhook.test"
    log = ask(api, "GET", f"/webhook-deliveries/{fired['id']}", status=200)
    assert (log["state"], log["webhook_id"]) == ("delivered", message.headers["webhook-id"])
    assert [each["status"] for each in log["attempts"]] == [204]
    assert ask(api, "POST", f"/webhook-deliveries/{fired['id']}/replay", status=202)["state"] == "pending"
    send_due(api)
    assert len(set(receiver.ids)) == 1
    assert len(receiver.ids) == 2

    rotated = ask(api, "POST", f"{path}/rotate-secret", status=200)
    assert rotated["secret"] != made["secret"]
    assert ask(api, "POST", f"{path}/pause", status=200)["state"] == "paused"
    ask(api, "POST", f"{path}/test", status=202)
    send_due(api)
    assert len(receiver.ids) == 2
    assert ask(api, "POST", f"{path}/resume", status=200)["state"] == "active"
    send_due(api)
    assert len(receiver.ids) == 3
    ask(api, "DELETE", path, status=200)
    for method, below in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/pause"), ("GET", "/secret")):
        assert ask(api, method, path + below, status=404)["error"] == "Webhook endpoint not found."


@pytest.mark.parametrize(
    "body",
    [
        {}, {"url": 1}, {"url": ""}, {"url": "https://10.0.0.1/"}, {"url": "ftp://example.com/"},
        {"url": "https://u:p@example.com/"}, {"url": "https://example.com/", "events": "job.failed"},
        {"url": "https://example.com/", "events": ["job.exploded"]}, {"url": "https://example.com/", "events": [1]},
        {"url": "https://example.com/", "payload": "xml"}, {"url": "https://example.com/", "description": "x" * 501},
        {"url": "https://example.com/", "description": "\x00"},
        {"url": "https://example.com/", "description": "\ud800"},
        {"url": "https://example.com/", "payload": "eventbridge", "events": ["job.started"]},
        {"url": "https://example.com/", "description": "x" * 70_000}, [], "text", None,
    ],
)  # fmt: skip
def test_an_endpoint_that_cannot_be_is_refused_with_a_sentence(api: RunningApi, body: object) -> None:
    """And nothing is registered."""
    assert ask(api, "POST", "/webhook-endpoints", status=400, data=json.dumps(body))["error"]
    assert ask(api, "GET", "/webhook-endpoints", status=200)["count"] == 0


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 60_000, b'{"url": NaN}', b""])
def test_a_body_that_is_no_json_is_refused(api: RunningApi, body: bytes) -> None:
    """However deep or broken it is."""
    ask(api, "POST", "/webhook-endpoints", status=400, data=body)


def test_a_job_is_submitted_with_a_webhook_of_its_own(api: RunningApi, receiver: Receiver) -> None:
    """It is told of the events that it asks for, and knows us by the secret of jobs."""
    name = api.submit(webhook_url=receiver.url, webhook_events="job.queued, job.completed")
    api.start(name)
    api.complete(name)
    send_due(api)
    secret = ask(api, "GET", "/webhook-secret", status=200)["secret"]
    seen = [standardwebhooks.Webhook(secret).verify(each.body, each.headers) for each in receiver.received]
    assert sorted(each["type"] for each in seen) == ["job.completed", "job.queued"]
    assert {each["data"]["job_name"] for each in seen} == {name}
    page = ask(api, "GET", f"/webhook-deliveries?job_name={name}&max_results=1", status=200)
    rest = ask(api, "GET", f"/webhook-deliveries?job_name={name}&next_token={page['next_token']}", status=200)
    assert (page["count"], rest["count"]) == (1, 1)
    assert "next_token" not in rest


@pytest.mark.parametrize(
    "fields",
    [
        {"webhook_url": "http://10.0.0.1/"},
        {"webhook_url": "nonsense"},
        {"webhook_url": "https://example.com/", "webhook_events": "job.exploded"},
        {"webhook_url": "https://example.com/", "webhook_payload": "xml"},
    ],
)
def test_a_job_with_a_webhook_that_cannot_be_is_refused(api: RunningApi, fields: dict[str, str]) -> None:
    """At once, with a sentence; there is no job."""
    answer = requests.post(
        f"{api.base_url}/transcribe-batch-async", files={"file": ("a.wav", b"RIFF1234WAVE")}, data=fields, timeout=30
    )
    assert answer.status_code == 400
    assert api.job_count() == 0


def test_many_machines_need_a_key_that_is_given_to_them(tmp_path: Path, postgres_url: str) -> None:
    """Without it nothing can be signed, and that is said."""
    with running_api(tmp_path / "without", database_url=postgres_url, egress_allow="127.0.0.0/8") as api:
        refused = ask(api, "POST", "/webhook-endpoints", status=409, json={"url": "https://example.com/"})
        assert "BATCHSCRIBE_SECRET_KEY" in refused["error"]
    with running_api(tmp_path / "with", database_url=postgres_url, secret_key="k" * 32) as api:
        ask(api, "POST", "/webhook-endpoints", status=201, json={"url": "https://example.com/"})


def test_the_server_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    """Another process reads the same one."""
    settings = load(data_dir=tmp_path)
    assert server_key(settings) == server_key(settings)
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["secret.key"]


def database_files(data_dir: Path) -> bytes:
    """Return what lies on the disk of the database."""
    return b"".join(path.read_bytes() for path in sorted(data_dir.glob("batchscribe.sqlite*")))


def test_tokens_of_addresses_stand_in_no_file_of_the_database(api: RunningApi, receiver: Receiver) -> None:
    """Of an endpoint, of a job, and of an upload that is not whole yet; the receiver gets all the same."""
    url = f"{receiver.url}/T0KEN-of-an-address?token=T0KEN-of-an-address"
    made = ask(api, "POST", "/webhook-endpoints", status=201, json={"url": url, "events": ["job.queued"]})
    api.submit(webhook_url=url, webhook_events="job.queued")
    tus = TusRequests(api.base_url)
    upload = tus.begin(len(WAV), {"webhook_url": url, "webhook_events": "job.queued"})
    tus.patch(upload, WAV[:100], at=0)
    assert tus.head(upload).headers["Upload-Metadata"] == metadata(
        filename="speech.wav", webhook_url=url, webhook_events="job.queued"
    )
    assert names_found({"the token": "T0KEN-of-an-address"}, database_files(api.data_dir)) == set()
    tus.patch(upload, WAV[100:], at=100)
    send_due(api)
    assert len(receiver.received) == 4
    assert names_found({"the token": "T0KEN-of-an-address"}, database_files(api.data_dir)) == set()
    assert made["id"].encode() in database_files(api.data_dir)
    log = ask(api, "GET", "/webhook-deliveries", status=200)["deliveries"]
    assert {each["url"] for each in log} == {url}
    assert [each["url"] for each in ask(api, "GET", "/webhook-endpoints", status=200)["endpoints"]] == [url]


def test_after_a_change_of_the_key_what_is_kept_is_listed_and_deleted(tmp_path: Path) -> None:
    """Without addresses; an upload with a webhook is refused with a sentence when it is whole."""
    url = "http://127.0.0.1:9/hook"
    with running_api(tmp_path, egress_allow="127.0.0.0/8", secret_key="one" * 12) as api:
        endpoint_id = ask(api, "POST", "/webhook-endpoints", status=201, json={"url": url})["id"]
        ask(api, "POST", f"/webhook-endpoints/{endpoint_id}/test", status=202)
        upload = TusRequests(api.base_url).begin(len(WAV), {"webhook_url": url})
    with running_api(tmp_path, egress_allow="127.0.0.0/8", secret_key="two" * 12) as api:
        [endpoint] = ask(api, "GET", "/webhook-endpoints", status=200)["endpoints"]
        assert (endpoint["id"], endpoint["url"]) == (endpoint_id, None)
        assert [each["url"] for each in ask(api, "GET", "/webhook-deliveries", status=200)["deliveries"]] == [None]
        environment = {"BATCHSCRIBE_URL": api.base_url}
        for words in ("list", "deliveries"):
            shown = CliRunner().invoke(commands, ["webhooks", words], env=environment, catch_exceptions=False)
            assert "unreadable: the server's key was changed" in shown.output
        ask(api, "DELETE", f"/webhook-endpoints/{endpoint_id}", status=200)
        tus = TusRequests(api.base_url)
        address = api.base_url + "/files/" + upload.rpartition("/")[2]
        assert "Upload-Metadata" not in tus.head(address).headers
        answer = tus.patch(address, WAV, at=0)
        assert answer.status_code == 400
        assert "the server's secret key was changed" in answer.json()["error"]


def command(server: Server, *arguments: str) -> str:
    """Run a command against a server and return what it prints."""
    environment = os.environ | {"BATCHSCRIBE_URL": server.base_url}
    done = subprocess.run(
        [sys.executable, "-m", "batchscribe", "webhooks", *arguments],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_the_commands_do_all_that_the_routes_do(start_server: Any, receiver: Receiver) -> None:
    """Against a whole server, whose worker sends: a job's events arrive after its end."""
    server: Server = start_server(egress_allow="127.0.0.0/8")
    endpoint_id, secret = command(server, "create", receiver.url, "--event", "job.completed").split("\n")
    assert endpoint_id in command(server, "list")
    assert command(server, "secret", endpoint_id) == secret
    delivery_id = command(server, "test", endpoint_id)
    deadline = time.monotonic() + 60
    while not receiver.received:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    standardwebhooks.Webhook(secret).verify(receiver.received[0].body, receiver.received[0].headers)
    command(server, "pause", endpoint_id)
    command(server, "resume", endpoint_id)
    with (MEDIA / "en-fox.flac").open("rb") as media:
        answer = requests.post(f"{server.base_url}/transcribe-batch-async", files={"file": media}, timeout=30)
    name = answer.json()["job_name"]
    job = server.get(f"/transcribe-job/{name}?wait=30")
    while job["status"] not in {"COMPLETED", "FAILED"}:
        job = server.get(f"/transcribe-job/{name}?wait=30")
    assert job["status"] == "COMPLETED", job
    ended_at = time.monotonic()
    while len(receiver.received) < 2:
        assert time.monotonic() - ended_at < 20
        time.sleep(0.01)
    assert receiver.received[1].json["data"]["job_name"] == name
    deadline = time.monotonic() + 60
    while "delivered" not in command(server, "deliveries", "--job", name):
        assert time.monotonic() < deadline
    command(server, "replay", delivery_id)
    assert command(server, "rotate", endpoint_id) != secret
    command(server, "delete", endpoint_id)
    assert command(server, "list") == ""
