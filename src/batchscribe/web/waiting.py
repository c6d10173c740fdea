"""Waiting until something happens to a job, at the price of one shared look at the event log.

While anybody waits, one asyncio task reads the new events every few hundredths of a second and wakes those who wait for
the jobs they name. Nobody waits, nothing runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from batchscribe.errors import ServiceUnavailable

if TYPE_CHECKING:
    from batchscribe.database.event_log import EventReader
    from batchscribe.domain.job import TranscriptionJob
    from batchscribe.service import TranscriptionService

_LOGGER = logging.getLogger(__name__)

#: Seconds between two looks at the event log.
POLL_SECONDS = 0.04

P = ParamSpec("P")
T = TypeVar("T")


class JobWatch:
    """Wakes those who wait for a job. To be used from one event loop."""

    def __init__(self, service: TranscriptionService, *, reads_may_wait: bool = False) -> None:
        self._service = service
        self._reads_may_wait = reads_may_wait
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._poller: asyncio.Task[None] | None = None
        self._is_released = False

    async def read(self, question: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Ask the service a short question: at once where that is cheaper than the way to a thread and back."""
        if self._reads_may_wait:
            return await run_in_threadpool(question, *arguments, **options)
        return question(*arguments, **options)

    async def wait(
        self, job_name: str, is_enough: Callable[[TranscriptionJob], bool], *, seconds: float
    ) -> TranscriptionJob:
        """Return the job once ``is_enough`` says so, or as it is after this many seconds. Raises JobNotFound."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        woken = asyncio.Event()
        self._waiting[job_name].add(woken)
        try:
            while True:
                await self._start_poller()
                woken.clear()
                job = await self.read(self._service.get, job_name)
                left = deadline - loop.time()
                if self._is_released or left <= 0 or is_enough(job):
                    return job
                try:
                    async with asyncio.timeout(left):
                        await woken.wait()
                except TimeoutError:
                    continue
        finally:
            self._waiting[job_name].discard(woken)
            if not self._waiting[job_name]:
                del self._waiting[job_name]

    def release(self) -> None:
        """Let everybody go with what is known, now and from now on: the server is about to stop."""
        self._is_released = True
        self._wake(self._waiting)

    async def _start_poller(self) -> None:
        """Start to look at the event log where nobody does; the next read of a job then misses nothing."""
        if self._poller is None or self._poller.done():
            reader = await self.read(self._service.monitor.event_reader)
            if self._poller is not None and not self._poller.done():
                return
            self._poller = asyncio.create_task(self._poll(reader), name="job-watch")

    async def _poll(self, reader: EventReader) -> None:
        """Wake whom the new events concern, as long as anybody waits."""
        try:
            while self._waiting and not self._is_released:
                await asyncio.sleep(POLL_SECONDS)
                try:
                    events = await self.read(self._service.monitor.new_events, reader)
                except ServiceUnavailable as error:
                    _LOGGER.warning("The event log cannot be read: %s", error)
                    continue
                self._wake({event.job_name for event in events} & self._waiting.keys())
        except Exception:  # the task's edge: those who wait read the job themselves and meet the same error
            _LOGGER.exception("The event log cannot be read")
        finally:
            self._wake(self._waiting)

    def _wake(self, job_names: set[str] | defaultdict[str, set[asyncio.Event]]) -> None:
        """Wake all who wait for these jobs."""
        for job_name in job_names:
            for woken in self._waiting[job_name]:
                woken.set()


async def unless_client_leaves(request: Request, waiting: Coroutine[Any, Any, T]) -> T:
    """Return what is waited for. Raises ClientDisconnect as soon as the client hangs up, and then stops to wait.

    The request's body must have been read, or there must be none.
    """
    work = asyncio.create_task(waiting)
    leaving = asyncio.create_task(_client_leaves(request))
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientDisconnect
    finally:
        work.cancel()
        leaving.cancel()


async def _client_leaves(request: Request) -> None:
    """Return when the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
