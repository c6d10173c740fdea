"""Webhooks from the transition to the receiver, over real databases and real receivers, in virtual time."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest
import standardwebhooks
import svix
from sqlalchemy import Engine as Database
from sqlalchemy import select, update

from batchscribe.database import deliveries, jobs, webhooks
from batchscribe.database.connection import connect
from batchscribe.database.schema import jobs as jobs_table
from batchscribe.database.schema import metadata, webhook_deliveries
from batchscribe.database.upgrade import upgrade
from batchscribe.domain.job import Failure, JobStatus, TranscriptionJob, media_key, new_job_name
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.webhooks import (
    EVENT_TYPES,
    WAITS_SECONDS,
    Delivery,
    DeliveryState,
    EndpointState,
    PayloadFormat,
    Subscription,
    WebhookEndpoint,
)
from batchscribe.egress import Egress, EgressRules
from batchscribe.errors import WebhookNotFound
from batchscribe.webhook_service import WebhookService
from batchscribe.webhooks.addresses import UNREADABLE
from batchscribe.webhooks.sender import PLACES, TROUBLED_AT_ONCE, WebhookSender
from receivers import Receiver, receiving

KEY = b"a server's key that nobody else has, made for these tests"
RULES = EgressRules.read(allow="127.0.0.0/8", ports="443")


@dataclass
class World:
    """A database with its senders, under one clock that only the test moves."""

    database: Database
    #: Receivers check how old a message is, so the clock begins now.
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    jitter: float = 0.0

    @property
    def service(self) -> WebhookService:
        """The door to endpoints."""
        return WebhookService(self.database, server_key=KEY, rules=RULES)

    def sender(self) -> WebhookSender:
        """Make another worker's sender."""
        return WebhookSender(
            self.database, server_key=KEY, rules=RULES, now=lambda: self.now, jitter=lambda: self.jitter
        )

    def send(self, sender: WebhookSender | None = None) -> int:
        """Send what is due now; return how many."""
        return asyncio.run((sender or self.sender()).send_due(Egress(RULES)))

    def endpoint(self, receiver: Receiver, *events: str, payload: PayloadFormat = PayloadFormat.STANDARD) -> str:
        """Register a receiver and return the endpoint's id."""
        subscription = Subscription(url=receiver.url, events=events or EVENT_TYPES, payload=payload)
        return self.service.create(subscription, description="", owner="").id

    def state(self, endpoint_id: str) -> WebhookEndpoint:
        """Return an endpoint as it is."""
        return self.service.get(endpoint_id, owner="")

    def job(self, *, webhook: Subscription | None = None) -> str:
        """Submit a job and return its name."""
        name = new_job_name()
        with self.database.begin() as connection:
            jobs.add_job(connection, replace(JOB, name=name, created_at=self.now, webhook=webhook))
        return name

    def move(self, job_name: str, *statuses: JobStatus, failure: Failure | None = None) -> None:
        """Bring a job through these statuses."""
        for status in statuses:
            with self.database.begin() as connection:
                assert jobs.move_job(connection, job_name, status, at=self.now, failure=failure)

    def deliveries(self) -> list[Delivery]:
        """Return all deliveries, latest first."""
        page = self.service.deliveries(
            owner="", endpoint_id=None, job_name=None, state=None, max_results=100, after=None
        )
        return list(page.deliveries)

    def due_at(self) -> datetime | None:
        """Return when the next attempt is due."""
        query = select(webhook_deliveries.c.due_at).where(webhook_deliveries.c.state == "pending")
        with self.database.connect() as connection:
            return min(connection.execute(query).scalars(), default=None)


JOB = TranscriptionJob(
    name="",
    status=JobStatus.QUEUED,
    options=TranscriptionOptions(language_code="en-US"),
    media_key=media_key("x", "mp3", datetime.now(UTC)),
    media_format=MediaFormat.MP3,
    media_size_bytes=1,
    media_url="s3://batchscribe/x",
    upload_seconds=0.1,
    created_at=datetime.now(UTC),
)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Return an empty database of either kind."""
    url = f"sqlite:///{tmp_path}/jobs.sqlite"
    database = connect(url if request.param == "sqlite" else request.getfixturevalue("postgres_url"))
    upgrade(database)
    yield World(database)
    database.dispose()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Run a receiver that takes everything."""
    with receiving() as running:
        yield running


def test_every_event_of_a_job_arrives_and_is_signed(world: World, receiver: Receiver) -> None:
    """The libraries of Standard Webhooks and of Svix both take the messages for ours."""
    endpoint_id = world.endpoint(receiver)
    done, failed = world.job(), world.job()
    world.move(done, JobStatus.IN_PROGRESS, JobStatus.COMPLETED)
    world.move(failed, JobStatus.FAILED, failure=Failure(code="media_damaged", reason="Damaged."))
    with world.database.begin() as connection:
        jobs.delete_job(connection, done, at=world.now)
    while world.send():
        pass
    secret = world.service.secret(world.state(endpoint_id))
    seen = set()
    for each in receiver.received:
        standardwebhooks.Webhook(secret).verify(each.body, each.headers)
        svix.Webhook(secret).verify(each.body, {f"svix-{name}": each.headers[f"webhook-{name}"]
                                                for name in ("id", "timestamp", "signature")})  # fmt: skip
        assert each.headers["content-type"] == "application/json"
        assert len(each.body) < 20_000
        seen.add((each.json["type"], each.json["data"]["job_name"]))
    assert seen == {
        ("job.queued", done), ("job.started", done), ("job.completed", done), ("job.deleted", done),
        ("job.queued", failed), ("job.failed", failed),
    }  # fmt: skip
    assert len(receiver.received) == len(set(receiver.ids)) == 6
    [failure] = [each.json["data"] for each in receiver.received if each.json["type"] == "job.failed"]
    assert (failure["status"], failure["failure_code"]) == ("FAILED", "media_damaged")
    assert {each.state for each in world.deliveries()} == {DeliveryState.DELIVERED}


def test_a_message_with_another_secret_or_body_is_not_ours(world: World, receiver: Receiver) -> None:
    """What the receivers' library says of forgeries."""
    endpoint_id, other = world.endpoint(receiver), world.endpoint(receiver, "job.deleted")
    world.job()
    world.send()
    [message] = receiver.received
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(world.service.secret(world.state(other))).verify(message.body, message.headers)
    secret = world.service.secret(world.state(endpoint_id))
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(message.body + b" ", message.headers)


def test_an_eventbridge_payload_is_the_event_of_aws(world: World, receiver: Receiver) -> None:
    """Field by field."""
    world.endpoint(receiver, "job.completed", "job.failed", payload=PayloadFormat.EVENTBRIDGE)
    done, failed = world.job(), world.job()
    world.move(done, JobStatus.IN_PROGRESS, JobStatus.COMPLETED)
    world.move(failed, JobStatus.FAILED, failure=Failure(code="cancelled", reason="Cancelled by request."))
    world.send()
    bodies = {each.json["detail"]["TranscriptionJobName"]: each.json for each in receiver.received}
    assert bodies[done] == {
        "version": "0",
        "id": bodies[done]["id"],
        "detail-type": "Transcribe Job State Change",
        "source": "aws.transcribe",
        "account": "000000000000",
        "time": world.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "us-east-1",
        "resources": [],
        "detail": {"TranscriptionJobName": done, "TranscriptionJobStatus": "COMPLETED"},
    }
    assert bodies[failed]["detail"] == {
        "TranscriptionJobName": failed,
        "TranscriptionJobStatus": "FAILED",
        "FailureReason": "Cancelled by request.",
    }


def test_a_delivery_is_scheduled_in_the_transaction_of_its_event(world: World, receiver: Receiver) -> None:
    """A transition that is rolled back tells nobody."""
    world.endpoint(receiver, "job.started", "job.completed")
    name = world.job()
    connection = world.database.connect()
    transaction = connection.begin()
    assert jobs.move_job(connection, name, JobStatus.IN_PROGRESS, at=world.now)
    transaction.rollback()
    connection.close()
    assert world.deliveries() == []
    world.move(name, JobStatus.IN_PROGRESS)
    assert [each.event_type for each in world.deliveries()] == ["job.started"]


@pytest.mark.parametrize("jitter", [0.0, -1.0, 1.0])
def test_a_receiver_that_fails_is_tried_ten_times_over_75_hours(
    world: World, receiver: Receiver, jitter: float
) -> None:
    """At the times of the schedule, each moved by a tenth at most; then the delivery is given up."""
    world.jitter, receiver.status = jitter, 500
    world.endpoint(receiver, "job.queued")
    world.job()
    times: list[datetime] = []
    while (due_at := world.due_at()) is not None:
        world.now = due_at - timedelta(seconds=1)
        assert not times or world.send() == 0
        world.now = due_at
        assert world.send() == 1
        times.append(due_at)
    waits = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert waits == pytest.approx([each * (1 + jitter / 10) for each in WAITS_SECONDS[1:]], abs=2)
    assert sum(WAITS_SECONDS) == pytest.approx(75.6 * 3600, rel=0.01)
    assert len(set(receiver.ids)) == 1
    [delivery] = world.deliveries()
    assert (delivery.state, delivery.attempts, len(receiver.received)) == (DeliveryState.FAILED, 10, 10)


@pytest.mark.parametrize("spelling", ["seconds", "date", "too soon", "too late", "nonsense"])
def test_a_receiver_may_ask_for_a_later_attempt(world: World, receiver: Receiver, spelling: str) -> None:
    """By seconds or by a date; not sooner than planned, nor after more than a day."""
    receiver.status = 429
    asked, wait = {
        "seconds": ("700", 700), "too soon": ("1", 5), "too late": ("999999", 86_400), "nonsense": ("soon", 5),
        "date": (format_datetime(world.now + timedelta(seconds=3600), usegmt=True), 3600),
    }[spelling]  # fmt: skip
    receiver.headers["retry-after"] = asked
    world.endpoint(receiver, "job.queued")
    world.job()
    world.send()
    due_at = world.due_at()
    assert due_at is not None
    assert (due_at - world.now).total_seconds() == pytest.approx(wait, abs=2)


def test_a_receiver_that_is_gone_is_told_no_more(world: World, receiver: Receiver) -> None:
    """410 disables its endpoint; what it has not got is kept, what happens meanwhile is not, and it may be resumed."""
    receiver.status = 410
    endpoint_id = world.endpoint(receiver, "job.queued")
    world.job()
    world.send()
    assert world.state(endpoint_id).state is EndpointState.DISABLED
    assert "410" in str(world.state(endpoint_id).state_reason)
    world.job()
    world.now += timedelta(days=1)
    assert world.send() == 0
    receiver.status = 200
    world.service.set_state(endpoint_id, EndpointState.ACTIVE, owner="")
    world.now = datetime.now(UTC) + timedelta(days=1)
    assert world.send() == 1
    assert [each.state for each in world.deliveries()] == [DeliveryState.DELIVERED]


def test_five_days_of_nothing_but_failure_pause_an_endpoint(world: World, receiver: Receiver) -> None:
    """What happens meanwhile is kept, and sent when it is resumed."""
    receiver.status = 503
    endpoint_id = world.endpoint(receiver, "job.queued")
    began_at = world.now
    while world.state(endpoint_id).state is EndpointState.ACTIVE:
        world.job()
        world.send()
        assert world.now - began_at <= timedelta(days=5, hours=12)
        world.now += timedelta(hours=12)
    assert world.now - began_at >= timedelta(days=5)
    assert world.state(endpoint_id).state is EndpointState.PAUSED
    world.job()
    assert world.send() == 0
    kept = [each for each in world.deliveries() if each.state is DeliveryState.HELD]
    receiver.status, receiver.received[:] = 200, []
    world.service.set_state(endpoint_id, EndpointState.ACTIVE, owner="")
    while world.send():
        pass
    assert set(receiver.ids) == {each.message_id for each in kept}
    assert world.state(endpoint_id).failing_since is None


def test_one_success_ends_the_count_of_days(world: World, receiver: Receiver) -> None:
    """Four bad days, a good moment and four bad days pause nothing."""
    endpoint_id = world.endpoint(receiver, "job.queued")
    for status in (500, 200, 500):
        receiver.status = status
        for _ in range(4):
            world.job()
            world.send()
            world.now += timedelta(days=1)
    assert world.state(endpoint_id).state is EndpointState.ACTIVE


def test_a_redirect_is_a_failure_and_its_target_hears_nothing(world: World, receiver: Receiver) -> None:
    """Wherever it leads."""
    with receiving() as target:
        receiver.status, receiver.headers = 307, {"location": target.url}
        world.endpoint(receiver, "job.queued")
        world.job()
        world.send()
        assert target.received == []
    assert [each.state for each in world.deliveries()] == [DeliveryState.PENDING]


def test_what_a_dead_worker_had_in_hand_is_sent_by_another(world: World, receiver: Receiver) -> None:
    """Killed before it sent, or between sending and recording: the message comes again, under the same id."""
    world.endpoint(receiver, "job.queued")
    world.job()
    dead, other = world.sender(), world.sender()

    async def send_without_recording() -> None:
        for delivery, endpoint in await dead._claim():
            await dead._deliver(Egress(RULES), delivery, endpoint)

    asyncio.run(send_without_recording())
    assert world.send(other) == 0
    world.now += deliveries.LEASE - timedelta(seconds=1)
    assert world.send(other) == 0
    world.now += timedelta(seconds=2)
    assert world.send(other) == 1
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    # The dead one comes back to life: its record changes nothing.
    asyncio.run(dead._record_results())
    [delivery] = world.deliveries()
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 1)


def test_many_senders_send_each_delivery_once(world: World, receiver: Receiver) -> None:
    """Nobody died, so nothing comes twice."""
    for _ in range(3):
        world.endpoint(receiver, "job.queued")
    for _ in range(10):
        world.job()
    senders = [world.sender() for _ in range(4)]

    def work(sender: WebhookSender) -> None:
        while world.send(sender):
            pass

    threads = [threading.Thread(target=work, args=(each,)) for each in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    while world.send():
        pass
    assert len(receiver.received) == 30
    assert len(set(receiver.ids)) == 10


def test_a_rotated_secret_and_the_one_before_sign_for_a_day(world: World, receiver: Receiver) -> None:
    """So that a receiver changes its own without missing anything."""
    endpoint_id = world.endpoint(receiver, "job.queued")
    before = world.service.secret(world.state(endpoint_id))
    after = world.service.secret(world.service.rotate_secret(endpoint_id, owner=""))
    assert before != after
    world.job()
    world.send()
    for secret in (before, after):
        standardwebhooks.Webhook(secret).verify(receiver.received[-1].body, receiver.received[-1].headers)
    world.now += timedelta(hours=25)
    world.job()
    world.send()
    assert len(receiver.received[-1].headers["webhook-signature"].split()) == 1


def test_a_job_may_bring_its_own_webhook(world: World, receiver: Receiver) -> None:
    """It is told of the job's end, signed with the secret of jobs; 410 gives that delivery up."""
    subscription = Subscription(url=receiver.url)
    world.move(world.job(webhook=subscription), JobStatus.IN_PROGRESS, JobStatus.COMPLETED)
    world.send()
    [message] = receiver.received
    secret = world.service.job_secret(owner="")
    assert standardwebhooks.Webhook(secret).verify(message.body, message.headers)["type"] == "job.completed"
    receiver.status = 410
    gone = world.job(webhook=subscription)
    world.move(gone, JobStatus.FAILED, failure=Failure(code="x", reason="y"))
    world.send()
    states = {each.job_name: each.state for each in world.deliveries()}
    assert states[gone] is DeliveryState.FAILED


def test_a_replay_sends_the_same_message_again(world: World, receiver: Receiver) -> None:
    """Under the same id, whatever became of it; of another owner there is none."""
    world.endpoint(receiver, "job.queued")
    world.job()
    world.send()
    [delivery] = world.deliveries()
    assert world.send() == 0
    with pytest.raises(WebhookNotFound):
        world.service.replay(delivery.id, owner="another")
    assert world.send() == 0
    world.service.replay(delivery.id, owner="")
    world.now = datetime.now(UTC) + timedelta(seconds=1)
    world.send()
    assert receiver.ids == [delivery.message_id] * 2
    _, attempts = world.service.delivery(delivery.id, owner="")
    assert [each.status for each in attempts] == [204, 204]


def test_the_log_keeps_a_little_of_the_answer_and_nothing_unprintable(world: World, receiver: Receiver) -> None:
    """256 characters, safe to be shown anywhere."""
    receiver.status, receiver.body = 500, b"no\x1b[31m\r\n\x00\xff" + b"x" * 100_000
    world.endpoint(receiver, "job.queued")
    world.job()
    world.send()
    _, [attempt] = world.service.delivery(world.deliveries()[0].id, owner="")
    assert len(attempt.answer) == 256
    assert attempt.answer.isprintable()
    assert attempt.answer.startswith("no ")


def test_a_deleted_endpoint_takes_its_log_along(world: World, receiver: Receiver) -> None:
    """And is told nothing any more."""
    endpoint_id = world.endpoint(receiver)
    world.job()
    world.send()
    world.job()
    world.service.delete(endpoint_id, owner="")
    assert world.send() == 0
    assert world.deliveries() == []


def test_the_log_of_long_ago_is_removed(world: World, receiver: Receiver) -> None:
    """What is still on its way stays."""
    endpoint_id = world.endpoint(receiver, "job.queued")
    world.job()
    world.send()
    world.service.set_state(endpoint_id, EndpointState.PAUSED, owner="")
    world.job()
    with world.database.begin() as connection:
        assert deliveries.forget_old(connection, before=world.now + timedelta(days=1)) == 1
        assert deliveries.forget_old(connection, before=world.now + timedelta(days=1)) == 0
    assert [each.state for each in world.deliveries()] == [DeliveryState.HELD]


def test_receivers_that_hang_or_are_down_delay_nobody_else(world: World) -> None:
    """In real time: twenty that never answer and one that does."""
    with ExitStack() as stack:
        release = threading.Event()
        stack.callback(release.set)
        for _ in range(20):
            world.endpoint(stack.enter_context(receiving(before=lambda: release.wait(20))), "job.queued")
        good = stack.enter_context(receiving())
        world.endpoint(good, "job.queued")
        world.endpoint(Receiver(url="http://127.0.0.1:9/"), "job.queued")
        sender = WebhookSender(world.database, server_key=KEY, rules=RULES)
        sender.start()
        stack.callback(sender.stop)
        began_at = time.monotonic()
        for _ in range(20):
            world.now = datetime.now(UTC)
            world.job()
        while len(good.received) < 20:
            assert time.monotonic() - began_at < 14, "the good receiver waits for the others"
            time.sleep(0.02)
        release.set()
        sender.stop()
        assert not sender._thread.is_alive(), "it would go on with the database"


def test_receivers_in_trouble_come_behind_those_that_are_well(world: World) -> None:
    """A few at a time while others are sent to; all, as far as half of the places go, when nobody else is there."""
    sender = WebhookSender(world.database, server_key=KEY, rules=RULES, most_in_flight=100)
    troubled = [f"bad {number}" for number in range(80)]
    sender._in_trouble = set(troubled)
    slots = sender._slots([*troubled, "good 1", "good 2"], 100)
    assert list(slots)[:2] == ["good 1", "good 2"]
    assert [slots["good 1"], slots["good 2"]] == [PLACES, PLACES]
    assert len(slots) == 2 + TROUBLED_AT_ONCE
    alone = sender._slots(troubled, 100)
    assert set(alone.values()) == {1}
    assert len(alone) == 50


def test_no_secret_is_kept_in_the_database(tmp_path: Path) -> None:
    """Neither the server's key nor anything that signs."""
    path = tmp_path / "jobs.sqlite"
    world = World(connect(f"sqlite:///{path}"))
    upgrade(world.database)
    with receiving() as receiver:
        endpoint_id = world.endpoint(receiver)
        world.job(webhook=Subscription(url=receiver.url, events=EVENT_TYPES))
        world.send()
    secrets = [world.service.secret(world.state(endpoint_id)), world.service.job_secret(owner=""), KEY.decode()]
    world.database.dispose()
    with sqlite3.connect(path) as connection:
        dump = "\n".join(connection.iterdump())
    assert endpoint_id in dump
    for secret in secrets:
        assert secret.removeprefix("whsec_") not in dump
    connection.close()


def test_no_token_of_an_address_is_kept_in_the_database(world: World, receiver: Receiver) -> None:
    """Neither of an endpoint's nor of a job's; both are sent to it, and their owner sees it."""
    bare, receiver.url = receiver.url, f"{receiver.url}/T0KEN?token=T0KEN"
    world.endpoint(receiver, "job.queued")
    world.job(webhook=world.service.addresses.sealed(Subscription(url=receiver.url, events=EVENT_TYPES)))
    world.send()
    assert len(receiver.received) == 2
    assert {each.url for each in world.deliveries()} == {receiver.url}
    assert [each.subscription.url for each in world.service.list(owner="")] == [receiver.url]
    assert {each.target for each in world.deliveries() if not each.endpoint_id} == {bare.removesuffix("/hook")}
    with world.database.connect() as connection:
        kept = [str(row) for table in metadata.sorted_tables for row in connection.execute(select(table))]
    assert len(kept) >= 6
    assert "T0KEN" not in "\n".join(kept)


def test_addresses_that_were_kept_in_clear_are_read_beside_sealed_ones(world: World, receiver: Receiver) -> None:
    """The version before wrote them; nothing has to be converted."""
    sealed_id = world.endpoint(receiver, "job.queued")
    with world.database.begin() as connection:
        endpoint = replace(world.state(sealed_id), id="we_before")
        webhooks.add_endpoint(connection, endpoint)
    name = world.job(webhook=Subscription(url=receiver.url, events=EVENT_TYPES))
    with world.database.begin() as connection:
        before = connection.execute(select(jobs_table.c.webhook)).scalar_one()
        del before["origin"]
        connection.execute(update(jobs_table).values(webhook=before))
    assert [each.subscription.url for each in world.service.list(owner="")] == [receiver.url] * 2
    world.move(name, JobStatus.IN_PROGRESS)
    while world.send():
        pass
    assert len(receiver.received) == 4
    assert {each.url for each in world.deliveries()} == {receiver.url}
    assert len({each.target for each in world.deliveries()}) == 3


def test_after_a_change_of_the_key_a_delivery_fails_with_a_sentence(world: World, receiver: Receiver) -> None:
    """It is tried again, since the key may come back; the endpoint is listed without its address, and deleted."""
    endpoint_id = world.endpoint(receiver, "job.queued")
    world.job()
    other = WebhookService(world.database, server_key=b"another", rules=RULES)
    sender = WebhookSender(world.database, server_key=b"another", rules=RULES, now=lambda: world.now)
    assert world.send(sender) == 1
    assert receiver.received == []
    [endpoint] = other.list(owner="")
    assert (endpoint.id, endpoint.subscription.url) == (endpoint_id, "")
    [delivery] = world.deliveries()
    shown, [attempt] = other.delivery(delivery.id, owner="")
    assert (shown.url, attempt.error) == ("", UNREADABLE)
    assert delivery.state is DeliveryState.PENDING
    world.now += timedelta(seconds=10)
    assert world.send() == 1
    assert len(receiver.received) == 1
    other.delete(endpoint_id, owner="")
    assert other.list(owner="") == []


def test_the_schedule_is_jittered_by_chance(tmp_path: Path) -> None:
    """A sender of its own makes up the jitter, from -1 to 1."""
    sender = WebhookSender(connect(f"sqlite:///{tmp_path}/none.sqlite"), server_key=KEY, rules=RULES)
    random.seed(1)
    values = [sender._jitter() for _ in range(200)]
    assert min(values) < -0.5
    assert max(values) > 0.5
    assert all(-1 <= each <= 1 for each in values)


def test_a_thousand_endpoints_are_scheduled_and_claimed_at_once(world: World) -> None:
    """Each gets its delivery; nothing about one is asked of the others."""
    with world.database.begin() as connection:
        for number in range(1000):
            webhooks.add_endpoint(
                connection,
                WebhookEndpoint(
                    id=f"we_{number}", owner="", subscription=Subscription(url="http://127.0.0.1:9/"), description="",
                    state=EndpointState.ACTIVE, state_reason=None, generation=0, rotated_at=None, failing_since=None,
                    created_at=world.now,
                ),
            )  # fmt: skip
    name = world.job()
    world.move(name, JobStatus.IN_PROGRESS, JobStatus.COMPLETED)
    claimed = asyncio.run(world.sender()._claim())
    assert {delivery.endpoint_id for delivery, _ in claimed} == {f"we_{number}" for number in range(1000)}
