"""The queueing model: jobs, two queues, workers that ask for work, engine processes, one database.

Events are kept in one heap; a run follows from its arguments and its seed. What is modelled is what makes jobs wait:

* an api stores a job in one transaction; a database serves transactions one after the other, each for a fixed time;
* each worker asks each of its two queues for work at its own rhythm, when it has a slot free (``workflow/runtime.py``);
* a recording is decoded in its slot; one of a single chunk is recognised there, of a longer one each chunk is enqueued
  as it is cut, with its place in the recording as its priority (``workflow/pipeline.py``);
* the chunks that a worker has in hand share its engine processes evenly (``engines/schedule.py``).
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Times:
    """Measured seconds; transactions are counted beside them."""

    #: How long a transaction keeps the database busy, and how long its caller waits when nobody else is there.
    transaction: float
    round_trip: float
    #: How long one of an idle worker's transactions keeps the database busy: they read, and find nothing.
    idle_transaction: float = 0.0
    #: Of a worker's own doing around each piece of work, beside its transactions.
    overhead: float
    #: For each second of audio.
    decode: float
    recognise: float
    #: Transactions of a submission, of taking up and ending a piece of work, of a chunk's result, of joining.
    submit_transactions: int = 1
    claim_transactions: int = 3
    chunk_transactions: int = 4
    join_transactions: int = 3


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """How many workers there are, and what each may do at once."""

    workers: int
    #: Engine processes of a worker, which its chunks share; None where chunks do not slow each other down.
    processes: int | None
    recording_slots: int
    chunk_slots: int
    polling_seconds: float
    chunk_seconds: float = 120.0
    #: Transactions a second of an idle worker.
    idle_transactions: float = 0.0


@dataclass(slots=True)
class Job:
    """One submission, and what became of it."""

    arrival: float
    audio_seconds: float
    priority: int = 0
    stored: float = 0.0
    started: float = -1.0
    ended: float = -1.0
    chunks_left: int = 0


@dataclass(slots=True)
class Chunk:
    """Work for an engine process."""

    job: Job
    index: int
    audio_seconds: float


class Queue:
    """Work that waits, best first, and the workers with a free slot, by when they next look."""

    def __init__(self, model: Model, slots: int, take: Callable[[Worker, object], None]) -> None:
        """Have each of the model's workers look in at a moment of its own within the polling interval."""
        self._model, self._take = model, take
        self._waiting: list[tuple[int, int, object]] = []
        self._free = [slots] * model.fleet.workers
        self._phases = [model.dice.uniform(0.0, model.fleet.polling_seconds) for _ in range(model.fleet.workers)]
        self._idle = sorted((phase, place) for place, phase in enumerate(self._phases))
        self._count = 0
        self._is_looking = False

    def __len__(self) -> int:
        """Return how much work waits."""
        return len(self._waiting)

    def add(self, priority: int, work: object) -> None:
        """Add work; the first idle worker to look takes it."""
        self._count += 1
        heapq.heappush(self._waiting, (priority, self._count, work))
        self._look_next()

    def release(self, worker: Worker) -> None:
        """Give a slot back."""
        self._free[worker.place] += 1
        if self._free[worker.place] == 1:
            insort(self._idle, (self._phases[worker.place], worker.place))
        self._look_next()

    def _look_next(self) -> None:
        """Arrange for the look of the idle worker whose turn is next, where there is work for it."""
        if self._is_looking or not self._waiting or not self._idle:
            return
        interval, now = self._model.fleet.polling_seconds, self._model.now
        at = now % interval
        place = bisect_left(self._idle, (at, -1))
        phase = self._idle[place][0] if place < len(self._idle) else self._idle[0][0] + interval
        self._is_looking = True
        self._model.at(now + phase - at + 1e-9, self._look)

    def _look(self) -> None:
        """Let the worker whose look it is take as much as it has slots for."""
        self._is_looking = False
        interval, now = self._model.fleet.polling_seconds, self._model.now
        place = bisect_left(self._idle, (now % interval - 2e-9, -1)) % max(1, len(self._idle))
        if self._waiting and self._idle:
            worker = self._model.workers[self._idle[place][1]]
            if not worker.is_down:
                while self._waiting and self._free[worker.place]:
                    self._free[worker.place] -= 1
                    self._take(worker, heapq.heappop(self._waiting)[2])
            if not self._free[worker.place] or worker.is_down:
                del self._idle[place]
        self._look_next()


class Worker:
    """Engine processes that the chunks in hand share evenly: what one chunk has had, all have had."""

    def __init__(self, model: Model, place: int) -> None:
        """Begin with nothing in hand."""
        self._model = model
        self.place = place
        self.is_down = False
        self._had, self._seen_at, self._version = 0.0, 0.0, 0
        self._running: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def recognise(self, seconds: float, done: Callable[[], None]) -> None:
        """Work for so many seconds of one engine process, then go on."""
        if self._model.fleet.processes is None:
            self._model.busy_seconds += seconds
            self._model.at(self._model.now + seconds, done)
            return
        self._catch_up()
        self._count += 1
        heapq.heappush(self._running, (self._had + seconds, self._count, done))
        self._plan()

    def _rate(self) -> float:
        processes = self._model.fleet.processes or 1
        return min(1.0, processes / len(self._running)) if self._running else 0.0

    def _catch_up(self) -> None:
        passed = (self._model.now - self._seen_at) * self._rate()
        self._had += passed
        self._model.busy_seconds += passed * len(self._running)
        self._seen_at = self._model.now

    def _plan(self) -> None:
        self._version += 1
        if self._running:
            wait = max(0.0, self._running[0][0] - self._had) / self._rate()
            version = self._version
            self._model.at(self._model.now + wait, lambda: self._finish(version))

    def _finish(self, version: int) -> None:
        if version != self._version:
            return
        self._catch_up()
        _, _, done = heapq.heappop(self._running)
        self._plan()
        done()


@dataclass
class Model:
    """One run: jobs arrive, are worked on, end."""

    fleet: Fleet
    times: Times
    seed: int = 1
    #: From when to when the database does not answer.
    outage: tuple[float, float] | None = None
    now: float = 0.0
    transactions: int = 0
    busy_seconds: float = 0.0
    #: How much work waited, sampled by :meth:`run`.
    depths: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Set up workers and queues."""
        self.dice = random.Random(self.seed)  # noqa: S311 - nothing secret
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._database_free = 0.0
        idle_share = min(0.99, self.fleet.workers * self.fleet.idle_transactions * self.times.idle_transaction)
        #: What the workers' looking leaves of the database makes every transaction take so much longer.
        self._transaction = self.times.transaction / (1.0 - idle_share)
        self.workers = [Worker(self, place) for place in range(self.fleet.workers)]
        self.recordings = Queue(self, self.fleet.recording_slots, self._take_recording)
        self.chunks = Queue(self, self.fleet.chunk_slots, self._take_chunk)

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Do something at a moment."""
        self._count += 1
        heapq.heappush(self._events, (moment, self._count, action))

    def ask(self, transactions: int, done: Callable[[], None]) -> None:
        """Wait for the database, then go on."""
        self.transactions += transactions
        begin = max(self.now, self._database_free)
        if self.outage is not None and self.outage[0] <= begin < self.outage[1]:
            # Whoever asks tries again by itself within the ten seconds after the end.
            self.at(self.outage[1] + self.dice.uniform(0.0, 10.0), lambda: self.ask(transactions, done))
            return
        self._database_free = begin + transactions * self._transaction
        self.at(max(self._database_free, self.now + transactions * self.times.round_trip), done)

    def run(self, jobs: list[Job], *, until: float = float("inf"), sample_seconds: float = 0.0) -> list[Job]:
        """Play until a moment, or until nothing is left to happen; return the jobs."""
        for job in jobs:
            self.at(job.arrival, lambda job=job: self.ask(self.times.submit_transactions, lambda: self._store(job)))  # type: ignore[misc]
        sample_at = sample_seconds or float("inf")
        while self._events and self._events[0][0] <= until:
            self.now, _, action = heapq.heappop(self._events)
            action()
            if self.now >= sample_at:
                self.depths.append((self.now, len(self.recordings) + len(self.chunks)))
                sample_at = self.now + sample_seconds
        return jobs

    def _store(self, job: Job) -> None:
        job.stored = self.now
        # By size, as the product does it: a mebibyte is about a minute of what people upload.
        self.recordings.add(job.priority, job)

    def _take_recording(self, worker: Worker, work: object) -> None:
        assert isinstance(work, Job)
        self.ask(self.times.claim_transactions, lambda: self._decode(worker, work))

    def _decode(self, worker: Worker, job: Job) -> None:
        job.started = self.now
        count = max(1, round(job.audio_seconds / self.fleet.chunk_seconds))
        each = job.audio_seconds / count
        job.chunks_left = count
        if count == 1:
            chunk = Chunk(job, 0, each)
            self.at(
                self.now + each * self.times.decode + self.times.overhead,
                lambda: self._recognise(worker, chunk, self.recordings),
            )
            return
        for index in range(count):
            chunk = Chunk(job, index, each)
            cut_at = self.now + (index + 1) * each * self.times.decode + self.times.overhead
            self.at(cut_at, lambda chunk=chunk: self.ask(2, lambda: self.chunks.add(chunk.index, chunk)))  # type: ignore[misc]
        self.at(cut_at, lambda: self.recordings.release(worker))

    def _take_chunk(self, worker: Worker, work: object) -> None:
        assert isinstance(work, Chunk)
        self.ask(self.times.claim_transactions, lambda: self._recognise(worker, work, self.chunks))

    def _recognise(self, worker: Worker, chunk: Chunk, queue: Queue) -> None:
        seconds = chunk.audio_seconds * self.times.recognise + self.times.overhead
        worker.recognise(
            seconds, lambda: self.ask(self.times.chunk_transactions, lambda: self._save(worker, chunk, queue))
        )

    def _save(self, worker: Worker, chunk: Chunk, queue: Queue) -> None:
        queue.release(worker)
        job = chunk.job
        job.chunks_left -= 1
        if job.chunks_left == 0:
            self.ask(self.times.join_transactions, lambda: self._end(job))

    def _end(self, job: Job) -> None:
        job.ended = self.now
