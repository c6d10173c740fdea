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
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.scale.servers import Queue, Worker


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
    #: Chunks in all, cut so far, and not recognised yet.
    chunks: int = 0
    cut: int = 0
    chunks_left: int = 0


@dataclass(slots=True)
class Chunk:
    """Work for an engine process."""

    job: Job
    index: int
    audio_seconds: float


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

    @property
    def busy_seconds(self) -> float:
        """Seconds that engine processes have worked."""
        return sum(worker.engines.busy_seconds for worker in self.workers)

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
        if job.started < 0:
            job.started = self.now
            job.chunks_left = max(1, round(job.audio_seconds / self.fleet.chunk_seconds))
            job.chunks = job.chunks_left
        seconds = job.audio_seconds / job.chunks

        def cut() -> None:
            chunk = Chunk(job, job.cut, seconds)
            if job.chunks == 1:
                self._recognise(worker, chunk, self.recordings)
                return
            job.cut += 1
            self.ask(2, lambda: self.chunks.add(chunk.index, chunk))
            if job.cut < job.chunks:
                worker.decoders.work(seconds * self.times.decode, cut, again)
            else:
                self.recordings.release(worker)

        def again() -> None:
            self.recordings.release(worker)
            self.recordings.add(job.priority, job)

        worker.decoders.work(seconds * self.times.decode + self.times.overhead, cut, again)

    def _take_chunk(self, worker: Worker, work: object) -> None:
        assert isinstance(work, Chunk)
        self.ask(self.times.claim_transactions, lambda: self._recognise(worker, work, self.chunks))

    def _recognise(self, worker: Worker, chunk: Chunk, queue: Queue) -> None:
        seconds = chunk.audio_seconds * self.times.recognise + self.times.overhead

        def done() -> None:
            self.ask(self.times.chunk_transactions, lambda: self._save(worker, chunk, queue))

        def again() -> None:
            queue.release(worker)
            queue.add(chunk.job.priority if queue is self.recordings else chunk.index, queue_work)

        queue_work: object = chunk.job if queue is self.recordings else chunk
        worker.engines.work(seconds, done, again)

    def _save(self, worker: Worker, chunk: Chunk, queue: Queue) -> None:
        queue.release(worker)
        job = chunk.job
        job.chunks_left -= 1
        if job.chunks_left == 0:
            self.ask(self.times.join_transactions, lambda: self._end(job))

    def _end(self, job: Job) -> None:
        job.ended = self.now
