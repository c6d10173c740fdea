"""What both clients do with webhooks and live events, against a running server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from client_kinds import Awaited

from batchscribe.client import AsyncClient, Client, ServerRefused
from batchscribe.client.events import EventReader
from batchscribe.client.webhooks import AsyncWebhooks, Webhooks
from running_api import RunningApi, running_api


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """Run one server for this module."""
    with running_api(tmp_path_factory.mktemp("api"), egress_allow="127.0.0.0/8") as running:
        yield running


@pytest.fixture(params=["blocking", "asyncio"])
def client(request: pytest.FixtureRequest, api: RunningApi) -> Iterator[Any]:
    """Return a client of either kind."""
    connected: Any = Client(api.base_url) if request.param == "blocking" else Awaited(api.base_url)
    yield connected
    connected.close()


def test_a_receiver_is_registered_tested_changed_and_removed(client: Any) -> None:
    """By one method for each route."""
    hooks = client.webhooks
    made = hooks.create("http://127.0.0.1:9/hook", events=["job.completed"], description="a shop")
    endpoint_id, secret = made["id"], made["secret"]
    assert endpoint_id in [each["id"] for each in hooks.list()]
    assert (hooks.get(endpoint_id)["description"], hooks.secret(endpoint_id)) == ("a shop", secret)
    assert hooks.secret().startswith("whsec_")
    delivery_id = hooks.test(endpoint_id)["id"]
    assert [each["id"] for each in hooks.deliveries(endpoint_id=endpoint_id)] == [delivery_id]
    assert list(hooks.deliveries(endpoint_id=endpoint_id, state="failed")) == []
    assert hooks.delivery(delivery_id)["attempts"] == []
    assert hooks.replay(delivery_id)["id"] == delivery_id
    assert hooks.rotate(endpoint_id)["secret"] != secret
    assert hooks.pause(endpoint_id)["state"] == "paused"
    assert hooks.resume(endpoint_id)["state"] == "active"
    hooks.delete(endpoint_id)
    with pytest.raises(ServerRefused) as refused:
        hooks.get(endpoint_id)
    assert refused.value.server_code == "webhook_not_found"


def test_more_deliveries_than_a_page_holds_are_all_there(client: Any, api: RunningApi) -> None:
    """Each once."""
    endpoint_id = client.webhooks.create("http://127.0.0.1:9/hook")["id"]
    for _ in range(105):
        api.service.webhooks.test_fire(endpoint_id, owner="")
    found = [each["id"] for each in client.webhooks.deliveries(endpoint_id=endpoint_id)]
    assert len(found) == len(set(found)) == 105


def test_a_job_is_followed_to_its_end(client: Any, api: RunningApi) -> None:
    """Live, and again when it has ended; a job that is not there is refused."""
    name = api.submit()

    def work() -> None:
        api.start(name)
        api.complete(name)

    worker = threading.Timer(0.3, work)
    worker.start()
    names = [each.name for each in client.events(name) if each.name != "progress"]
    worker.join()
    assert names[0] == "job"
    assert names[-1] == "job.completed"
    [first, *rest] = client.events(name)
    assert (first.name, first.data["status"]) == ("job", "COMPLETED")
    assert [each.name for each in rest] == ["segments"]
    with pytest.raises(ServerRefused):
        list(client.events("transcribe-nobody"))


def test_all_jobs_can_be_followed(api: RunningApi) -> None:
    """Until one stops to listen."""
    with Client(api.base_url) as client:
        stream = client.events()
        timer = threading.Timer(0.5, api.submit)
        timer.start()
        assert next(stream).name == "job.queued"
        stream.close()  # type: ignore[attr-defined]
        timer.join()


def test_a_stream_goes_on_where_it_broke_off() -> None:
    """From the last event that was read whole; half an event is forgotten."""
    reader = EventReader("job")
    assert [reader.read(line) for line in ("id: 7.0.0", "event: job.started")] == [None, None]
    reader.begin()
    assert "Last-Event-ID" not in reader.question()[1]
    for line in ("id: 7.0.0", "event: job.started", 'data: {"job_name": "job"}'):
        assert reader.read(line) is None
    event = reader.read("")
    assert event is not None
    assert event.data == {"job_name": "job"}
    reader.begin()
    assert reader.question()[1]["Last-Event-ID"] == "7.0.0"
    assert reader.read(": ") is None
    assert reader.read("") is None


def test_both_clients_have_the_same_methods() -> None:
    """Those of webhooks too."""
    for blocking, awaited in ((Client, AsyncClient), (Webhooks, AsyncWebhooks)):
        assert {name for name in dir(blocking) if not name.startswith("_")} == {
            name for name in dir(awaited) if not name.startswith("_")
        }
