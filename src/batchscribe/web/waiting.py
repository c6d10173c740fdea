"""Waiting until something happens to a job, at the price of one shared look at the event log.

While anybody waits or follows, one asyncio task reads the new events every few hundredths of a second, wakes those who
wait for the jobs they name, and hands them to those who follow. Nobody waits, nothing runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool

from batchscribe.errors import ServiceUnavailable

if TYPE_CHECKING:
    from batchscribe.database.event_log import EventReader
    from batchscribe.database.jobs import JobEvent
    from batchscribe.domain.job import TranscriptionJob
    from batchscribe.live import Progress
    from batchscribe.service import TranscriptionService

_LOGGER = logging.getLogger(__name__)

#: Seconds between two looks at the event log, and at the progress of the jobs that are followed.
POLL_SECONDS = 0.04
PROGRESS_SECONDS = 1.0
#: Followers are woken after so long at the latest, so that they can send something: nothing on the way then takes a
#: stream for dead. Looked at so many times in between.
HEARTBEAT_SECONDS = 15.0
_HEARTBEAT_LOOKS = 60
#: A follower that has so many events before it is let go: it reads too slowly.
MOST_UNREAD = 1000

P = ParamSpec("P")
T = TypeVar("T")


class Happening:
    """An event with where to read on behind it; what it looks like to readers is written once for all of them."""

    __slots__ = ("_message", "event", "resume_id")

    def __init__(self, event: JobEvent, resume_id: int) -> None:
        self.event = event
        #: Behind which event to read on later.
        self.resume_id = resume_id
        self._message: bytes | None = None

    def message(self, write: Callable[[JobEvent, str], bytes]) -> bytes:
        """Return what ``write`` makes of it, or has made of it before."""
        if self._message is None:
            self._message = write(self.event, str(self.resume_id))
        return self._message


class Follower:
    """What has happened, for one who follows a job or all jobs of an owner: :meth:`wait`, then :meth:`take`."""

    __slots__ = ("_is_woken", "_unread", "_waiter", "beat_at", "is_let_go", "is_running", "progress")

    def __init__(self, beat_at: float) -> None:
        self._unread: list[Happening] = []
        self._is_woken = False
        self._waiter: asyncio.Future[None] | None = None
        #: When it is to be woken although nothing has happened, by the steady clock.
        self.beat_at = beat_at
        #: No more will come.
        self.is_let_go = False
        #: Whether the job's progress is to be looked at, and how far it is.
        self.is_running = False
        self.progress: Progress | None = None

    async def wait(self) -> bool:
        """Wait until something has happened; False where the time for a heartbeat has come first."""
        if not self._is_woken:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._is_woken

    def take(self) -> list[Happening]:
        """Return the events since the last time."""
        taken, self._unread = self._unread, []
        self._is_woken = False
        return taken

    def put(self, happening: Happening) -> None:
        """Hand an event over, or let the follower go where it does not keep up."""
        self._unread.append(happening)
        if len(self._unread) > MOST_UNREAD:
            self.is_let_go = True
        self.wake()

    def wake(self) -> None:
        """Say that something has happened."""
        self._is_woken = True
        self._end_wait()

    def beat(self, next_at: float) -> None:
        """Say that it is time for a heartbeat."""
        self.beat_at = next_at
        self._end_wait()

    def let_go(self) -> None:
        """Say that no more will come."""
        self.is_let_go = True
        self.wake()

    def _end_wait(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class JobWatch:
    """Wakes those who wait for a job, and serves those who follow. To be used from one event loop."""

    def __init__(self, service: TranscriptionService, *, reads_may_wait: bool = False) -> None:
        self._service = service
        self._reads_may_wait = reads_may_wait
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._following: defaultdict[str, set[Follower]] = defaultdict(set)
        self._following_all: defaultdict[str, set[Follower]] = defaultdict(set)
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

    @asynccontextmanager
    async def following(self, *, job_name: str | None = None, owner: str = "") -> AsyncIterator[Follower]:
        """Follow a job, or all jobs of an owner, from now on."""
        group = self._following_all[owner] if job_name is None else self._following[job_name]
        follower = Follower(time.monotonic() + HEARTBEAT_SECONDS)
        group.add(follower)
        try:
            await self._start_poller()
            follower.is_let_go = self._is_released
            yield follower
        finally:
            group.discard(follower)
            if not group:
                groups = self._following_all if job_name is None else self._following
                groups.pop(owner if job_name is None else job_name, None)

    def release(self) -> None:
        """Let everybody go with what is known, now and from now on: the server is about to stop."""
        self._is_released = True
        self._wake(self._waiting)
        self._let_followers_go()

    def _let_followers_go(self) -> None:
        """End every stream; clients come back with the id of the last event that they saw."""
        for follower in self._followers():
            follower.let_go()

    def _followers(self) -> list[Follower]:
        groups = (*self._following.values(), *self._following_all.values())
        return [follower for group in groups for follower in group]

    def _beat(self) -> None:
        """Wake those who have not heard of anything for long."""
        now = time.monotonic()
        for follower in self._followers():
            if follower.beat_at <= now:
                follower.beat(now + HEARTBEAT_SECONDS)

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
            progress_at = beats_at = 0.0
            while (self._waiting or self._following or self._following_all) and not self._is_released:
                await asyncio.sleep(POLL_SECONDS)
                if time.monotonic() >= beats_at:
                    beats_at = time.monotonic() + HEARTBEAT_SECONDS / _HEARTBEAT_LOOKS
                    self._beat()
                try:
                    events = await self.read(self._service.monitor.new_events, reader)
                    if self._following and time.monotonic() >= progress_at:
                        progress_at = time.monotonic() + PROGRESS_SECONDS
                        await self._tell_progress()
                except ServiceUnavailable as error:
                    _LOGGER.warning("The event log cannot be read: %s", error)
                    continue
                self._wake({event.job_name for event in events} & self._waiting.keys())
                for event in events:
                    happening = Happening(event, reader.resume_id)
                    for group in (self._following.get(event.job_name), self._following_all.get(event.owner)):
                        for follower in group or ():
                            follower.put(happening)
        except Exception:  # the task's edge: those who wait read the job themselves and meet the same error
            _LOGGER.exception("The event log cannot be read")
            self._let_followers_go()
        finally:
            self._wake(self._waiting)

    async def _tell_progress(self) -> None:
        """Tell those who follow running jobs how far they are."""
        running = [name for name, group in self._following.items() if any(each.is_running for each in group)]
        if not running:
            return
        for name, progress in (await self.read(self._service.live.progress, running)).items():
            for follower in self._following.get(name, ()):
                if follower.is_running and follower.progress != progress:
                    follower.progress = progress
                    follower.wake()

    def _wake(self, job_names: set[str] | defaultdict[str, set[asyncio.Event]]) -> None:
        """Wake all who wait for these jobs."""
        for job_name in job_names:
            for woken in self._waiting[job_name]:
                woken.set()
