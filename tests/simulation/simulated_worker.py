"""A worker process: the product's own work, driven by the model of the durable engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from simulated_database import SimulatedDatabase, SimulatedQueue, Work
from simulated_media import SimulatedDecoder, SimulatedEngine
from simulated_store import Recording, SimulatedStore
from simulated_world import Signal, World

from batchscribe.domain.ports import ChunkAudio
from batchscribe.workflow import runtime
from batchscribe.workflow.housekeeping import Housekeeper
from batchscribe.workflow.in_flight import InFlight
from batchscribe.workflow.pipeline import Pipeline

#: A frozen worker's sign of life is missed after this; a killed one's connection is seen to end sooner.
PATIENCE_SECONDS = 9.0


@dataclass
class Fleet:
    """What all workers share, and all workers there are or were."""

    world: World
    database: SimulatedDatabase
    store: SimulatedStore
    queue: SimulatedQueue
    #: Seconds more that the last chunk of each recording takes.
    last_chunk_seconds: float
    workers: list[SimulatedWorker] = field(default_factory=list)

    def start_worker(self) -> None:
        """Start a worker, with an executor id of its own."""
        self.workers.append(SimulatedWorker(self, f"worker-{len(self.workers)}"))


class SimulatedWorker:
    """A worker process: the product's pipeline, watch and housekeeping, driven by the model of the durable engine."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self._fleet = fleet
        self.name = name
        self.running = 0
        world, database = fleet.world, cast("Any", fleet.database)
        self.world = world
        self.process = world.process(name, "worker")
        self.process.on_death.append(self._died)
        self.process.on_freeze.append(self._froze)
        self._woken = Signal(world)
        self._in_flight = InFlight(database)
        self._in_flight._stopped = cast("Any", _Tick(world, self._wait_for_watch))
        keeper = Housekeeper(database, fleet.store, cast("Any", fleet.queue))
        keeper._stopped = cast("Any", _Tick(world, lambda: world.sleep(world.dice.uniform(20.0, 600.0))))
        self.pipeline = Pipeline(
            database=database,
            store=fleet.store,
            decoder=SimulatedDecoder(world),
            engine=SimulatedEngine(
                world,
                poison=lambda chunk: self._is_last(chunk) and self._recording(chunk).kind == "poison",
                extra_seconds=lambda chunk: fleet.last_chunk_seconds if self._is_last(chunk) else 0.0,
            ),
            dispatcher=cast("Any", fleet.queue),
            in_flight=self._in_flight,
            decoding=cast("Any", _Places(world, 1)),
        )
        for is_chunk in (False, True):
            world.start(self.process, lambda is_chunk=is_chunk: self._poll(is_chunk=is_chunk))  # type: ignore[misc]
        world.start(self.process, self._in_flight._run)
        world.start(self.process, keeper._run)

    def run(self, work: Work) -> None:
        """Do a piece of work in a thread of its own."""
        self.running += 1

        def body() -> None:
            try:
                if work.index is None:
                    doing: Callable[[], None] = lambda: self.pipeline.transcribe(work.job_name)  # noqa: E731
                else:
                    index = work.index
                    doing = lambda: self.pipeline.recognise(work.job_name, index)  # noqa: E731
                # What escapes here the durable engine records as the workflow's end, with an error.
                with suppress(Exception):
                    runtime._until_done(self.pipeline, work.job_name, doing)
                self.world.point("before the work is recorded as done")
                self._fleet.queue.finish(work, self.name)
            finally:
                self.running -= 1
            self._fleet.queue.changed.send()

        self.world.start(self.process, body)
        self._woken.send()

    def _poll(self, *, is_chunk: bool) -> None:
        queue, world = self._fleet.queue, self.world
        while True:
            world.sleep(world.dice.uniform(0.0, 0.05))
            if self.running < 6 and queue.has_queued(is_chunk=is_chunk):
                world.point("before a claim")
                for work in queue.claim(self.name, is_chunk=is_chunk, most=2):
                    world.note(f"claims {work.id}")
                    self.run(work)
                    if world.chance(world.faults.duplicate):
                        others = [each for each in self._fleet.workers if each.process.is_alive]
                        world.dice.choice(others).run(work)
                world.point("after a claim")
            else:
                queue.changed.wait()

    def _wait_for_watch(self) -> None:
        if not self.running:
            self._woken.wait()
        self.world.sleep(self.world.dice.uniform(0.5, 3.0))

    def _died(self) -> None:
        fleet = self._fleet
        self.world.later(self.world.dice.uniform(0.3, 2.0), lambda: fleet.queue.recover(self.name))
        self.world.later(self.world.dice.uniform(0.5, 5.0), fleet.start_worker)

    def _froze(self) -> None:
        self.world.later(PATIENCE_SECONDS, self._take_over)

    def _take_over(self) -> None:
        if self.process.frozen_until > self.world.now:
            self._fleet.queue.recover(self.name)

    def _recording(self, chunk: ChunkAudio) -> Recording:
        return self._fleet.store.recording_of(chunk.job_name)

    def _is_last(self, chunk: ChunkAudio) -> bool:
        return chunk.start + chunk.duration > self._recording(chunk).seconds - 0.01


class _Tick:
    """Stands for the event that a background thread of the product waits on between two rounds."""

    def __init__(self, world: World, wait: Callable[[], None]) -> None:
        self._world, self._wait = world, wait

    def wait(self, _seconds: float) -> bool:
        """Let time pass; never stopped."""
        self._wait()
        return False

    def is_set(self) -> bool:
        """Never stopped."""
        return False


class _Places:
    """A semaphore in virtual time."""

    def __init__(self, world: World, places: int) -> None:
        self._world, self._free = world, places

    def __enter__(self) -> None:
        while not self._free:
            self._world.sleep(0.01)
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1
