"""Sends what is due: in each worker one thread with an event loop, so that slow receivers cost a socket and no thread.

What is due stands in rows. Any worker may claim a row and send it; a claim of a worker that died lapses. So a delivery
is sent at least once, and under the same id each time. No receiver waits for another: each has a few places of its own,
one while it fails, and then it comes behind those that are well. What comes back is recorded in the background, many at
a time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import uvloop
from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from batchscribe.database import deliveries, webhooks
from batchscribe.domain.webhooks import Attempt, Delivery, EndpointState, WebhookEndpoint
from batchscribe.egress import Egress, EgressRules
from batchscribe.webhooks.addresses import UNREADABLE, AddressSeal
from batchscribe.webhooks.attempts import attempt_delivery
from batchscribe.webhooks.records import Result, record_results
from batchscribe.webhooks.signing import endpoint_secrets, job_secret

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How often it is looked for what is due.
POLL_SECONDS = 0.25
#: Places of one receiver, and of one at which the last attempt failed.
PLACES = 4
PLACES_IN_TROUBLE = 1
#: While others are sent to, so many in trouble are tried at a look: each attempt costs as much as one that succeeds.
TROUBLED_AT_ONCE = 10
#: Places of all together: as many sockets.
MOST_IN_FLIGHT = 2000
#: Results are gathered for so long before they are recorded in one transaction.
RECORD_SECONDS = 0.05
#: How long the end of the thread is waited for, should the database not answer.
STOP_SECONDS = 5.0


class WebhookSender:
    """Claims and sends deliveries. ``now`` and ``jitter`` (from -1 to 1) are the clock's and chance's."""

    def __init__(
        self,
        database: Database,
        *,
        server_key: bytes,
        rules: EgressRules,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = lambda: random.uniform(-1, 1),  # noqa: S311 - spreads load, guards nothing
        most_in_flight: int = MOST_IN_FLIGHT,
    ) -> None:
        """Start nothing yet; see :meth:`start`."""
        self._database = database
        self._server_key = server_key
        self._addresses = AddressSeal(server_key)
        self._rules = rules
        self._now = now
        self._jitter = jitter
        self._most_in_flight = most_in_flight
        self._token = uuid.uuid4().hex
        self._in_flight: Counter[str] = Counter()
        self._in_trouble: set[str] = set()
        self._results: list[Result] = []
        self._stopped = threading.Event()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="webhooks")
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Claim no more and give up what is in flight, for others to claim; return when nothing is left of it."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    async def send_due(self, egress: Egress) -> int:
        """Send what is due now and record what came of it; return how many. For one caller that has time."""
        claimed = await self._claim()
        await asyncio.gather(*(self._deliver(egress, delivery, endpoint) for delivery, endpoint in claimed))
        await self._record_results()
        return len(claimed)

    async def _run(self) -> None:
        egress = Egress(self._rules)
        tasks: set[asyncio.Task[None]] = set()
        recorder = asyncio.create_task(self._keep_recording(), name="webhook-records")
        while not self._stopped.is_set():
            try:
                claimed = await self._claim()
            except SQLAlchemyError as error:
                logger.warning("webhooks wait: the database does not answer (%s)", type(error).__name__)
                claimed = []
            for delivery, endpoint in claimed:
                task = asyncio.create_task(self._deliver(egress, delivery, endpoint))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            # Where much was due, more may be; the receivers' places bound how much.
            await asyncio.sleep(POLL_SECONDS / 5 if claimed else POLL_SECONDS)
        for each in (recorder, *tasks):
            each.cancel()
        await asyncio.gather(recorder, *tasks, return_exceptions=True)
        with suppress(SQLAlchemyError):
            await self._record_results()
        self._threads.shutdown()
        egress.close()

    async def _claim(self) -> list[tuple[Delivery, WebhookEndpoint | None]]:
        """Take in hand what is due, as far as there are places for it."""
        free = self._most_in_flight - self._in_flight.total()
        if free <= 0:
            return []
        claimed = await self._in_thread(lambda: self._claim_rows(free))
        for delivery, _ in claimed:
            self._in_flight[delivery.target] += 1
        return claimed

    def _claim_rows(self, free: int) -> list[tuple[Delivery, WebhookEndpoint | None]]:
        at = self._now()
        with self._database.connect() as connection:
            # Those that are busy may stand before those that are not.
            due = deliveries.due_targets(connection, at=at, limit=free + len(self._in_flight))
        slots = self._slots(due, free)
        if not slots:
            return []
        claimed: list[tuple[Delivery, WebhookEndpoint | None]] = []
        with self._database.begin() as connection:
            found = deliveries.claim(connection, slots, token=self._token, at=at)
            endpoints = webhooks.find_endpoints(connection, {each.endpoint_id for each in found if each.endpoint_id})
            held = []
            for delivery in found:
                endpoint = endpoints.get(delivery.endpoint_id)
                if endpoint is not None and endpoint.state is not EndpointState.ACTIVE:
                    held.append(delivery.id)
                else:
                    claimed.append((delivery, endpoint))
            if held:
                deliveries.hold(connection, held, token=self._token)
        return claimed

    def _slots(self, due: Iterable[str], free: int) -> dict[str, int]:
        """Share the free places out: first to those that take what they are sent, then a few to those in trouble."""
        well: list[str] = []
        troubled: list[str] = []
        for target in due:
            (troubled if target in self._in_trouble else well).append(target)
        slots: dict[str, int] = {}
        share = max(1, free // max(1, len(well)))
        for target in well:
            places = min(min(PLACES, share) - self._in_flight[target], free)
            if places > 0:
                slots[target] = places
                free -= places
        busy = sum(self._in_flight[target] for target in self._in_trouble)
        room = min(free, max(1, self._most_in_flight // 2) - busy)
        if slots or self._in_flight.total() > busy:
            room = min(room, TROUBLED_AT_ONCE)
        for target in troubled:
            if room > 0 and self._in_flight[target] < PLACES_IN_TROUBLE:
                slots[target] = PLACES_IN_TROUBLE
                room -= PLACES_IN_TROUBLE
        return slots

    async def _deliver(self, egress: Egress, delivery: Delivery, endpoint: WebhookEndpoint | None) -> None:
        """Send one delivery; its result is recorded soon."""
        target = delivery.target
        began_at = self._now()
        if endpoint is None:
            secrets = [job_secret(self._server_key, delivery.owner)]
        else:
            secrets = endpoint_secrets(self._server_key, endpoint, at=began_at)
        try:
            address = self._addresses.open(delivery.url)
            if address is None:
                attempt = Attempt(at=began_at, seconds=0.0, error=UNREADABLE)
            else:
                attempt = await attempt_delivery(egress, replace(delivery, url=address), secrets, at=began_at)
        except Exception:  # the task's edge: whatever it was, the delivery must not be lost
            logger.exception("a webhook could not be sent", extra={"delivery_id": delivery.id})
            attempt = Attempt(at=began_at, seconds=0.0, error="An error inside the server.")
        if attempt.is_success:
            self._in_trouble.discard(target)
        else:
            self._in_trouble.add(target)
        self._results.append(Result(delivery=delivery, endpoint=endpoint, attempt=attempt))

    async def _keep_recording(self) -> None:
        while True:
            await asyncio.sleep(RECORD_SECONDS)
            try:
                await self._record_results()
            except SQLAlchemyError as error:
                logger.warning("results of webhooks wait: the database does not answer (%s)", type(error).__name__)
                await asyncio.sleep(POLL_SECONDS)

    async def _record_results(self) -> None:
        """Record what has come back, and only then give its places free."""
        results = list(self._results)
        if not results:
            return
        await self._in_thread(lambda: self._record_rows(results))
        del self._results[: len(results)]
        self._in_flight.subtract(result.delivery.target for result in results)
        # Without this the counts of receivers that are done with would stay, as noughts.
        self._in_flight += Counter()

    def _record_rows(self, results: Sequence[Result]) -> None:
        with self._database.begin() as connection:
            record_results(connection, results, token=self._token, jitter=self._jitter)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
