"""The whole service in virtual time: apis, workers, clients, and what happens to them."""

from __future__ import annotations

import logging
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, cast

import pytest
from invariants import Checker, Promises, small_cut
from simulated_parts import (
    Recording,
    SimulatedDatabase,
    SimulatedDecoder,
    SimulatedEngine,
    SimulatedQueue,
    SimulatedStore,
    Work,
)
from simulated_world import Faults, Process, Signal, Strike, World
from sqlalchemy.exc import OperationalError

from batchscribe import service as service_module
from batchscribe.domain.options import Capabilities
from batchscribe.domain.ports import ChunkAudio
from batchscribe.domain.submission import Idempotency, Submission
from batchscribe.errors import JobAlreadyEnded, JobNotFound, ServiceUnavailable, StorageFull
from batchscribe.service import TranscriptionService
from batchscribe.workflow import pipeline, runtime
from batchscribe.workflow.housekeeping import Housekeeper
from batchscribe.workflow.in_flight import InFlight
from batchscribe.workflow.pipeline import Pipeline

DAY_SECONDS = 86_400.0
#: A frozen worker's sign of life is missed after this; a killed one's connection is seen to end sooner.
PATIENCE_SECONDS = 9.0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What one seed plays."""

    recordings: tuple[Recording, ...]
    workers: int
    faults: Faults
    #: How likely a client cancels, or deletes, while its job is on its way.
    cancels: float = 0.0
    deletes: float = 0.0
    #: Days that pass before some jobs are deleted, with faults again.
    days_until_cleared: int = 0
    clears: float = 0.0
    #: Seconds more that the last chunk of each recording takes: others wait for it, as with a busy engine.
    last_chunk_seconds: float = 0.0


class SimulatedService:
    """One whole deployment: two apis, some workers, one database, one store."""

    def __init__(self, seed: int, scenario: Scenario, strike: Strike | None = None) -> None:
        self.world = World(seed, scenario.faults, strike)
        self.scenario = scenario
        self.promises = Promises()
        self.store = SimulatedStore(self.world)
        tolerated = {"decoder_crashed"} if scenario.faults.decoder_crash else set()
        tolerated |= {"engine_crashed"} if scenario.faults.engine_crash else set()
        self.checker = Checker(self.promises, self.store.committed, tolerated)
        self.database = SimulatedDatabase(self.world, self._after_commit)
        self.queue = SimulatedQueue(self.world, self.database)
        self.workers: list[SimulatedWorker] = []
        self._apis: list[tuple[Process, TranscriptionService]] = []
        self._keeper = Housekeeper(cast("Any", self.database), self.store, cast("Any", self.queue))
        self._housekeeping = self.world.process("housekeeper", "housekeeper")
        self._clients = self.world.process("client", "client")
        self._busy_clients = 0

    def play(self) -> None:
        """Play the scenario to its end. Raises Violation where a promise is broken."""
        with installed(self.world):
            try:
                self._play()
            finally:
                self.world.end()
                self.database.close()

    def _play(self) -> None:
        world, scenario = self.world, self.scenario
        world.is_rough = False
        self._keep_house()
        world.is_rough = True
        for _ in range(2):
            self._start_api()
        for _ in range(scenario.workers):
            self.start_worker()
        for recording in scenario.recordings:
            self._start_client(lambda recording=recording: self._client(recording))  # type: ignore[misc]
        world.run(lambda: not self._busy_clients, limit_seconds=2 * DAY_SECONDS)
        self._come_to_rest()
        if scenario.clears:
            for _ in range(scenario.days_until_cleared):
                world.now += DAY_SECONDS
                self._keep_house()
            world.is_rough = True
            for name in list(self.promises.accepted):
                if world.dice.random() < scenario.clears:
                    self._start_client(lambda name=name: self._delete(name))  # type: ignore[misc]
            world.run(lambda: not self._busy_clients, limit_seconds=2 * DAY_SECONDS)
            self._come_to_rest()
        self._tidy()
        self.checker.at_rest(self.database.raw, self._sqlite_now(), self.queue, self.store)

    def _come_to_rest(self) -> None:
        """Let all work be done, without further mishaps."""
        self.world.is_rough = False
        for process in self.world.processes:
            process.frozen_until = min(process.frozen_until, self.world.now + 30.0)
        self.world.run(self._is_at_rest, limit_seconds=6 * 3600.0)

    def _is_at_rest(self) -> bool:
        is_idle = not self.database.late_commits and not any(worker.running for worker in self.workers)
        return is_idle and not self._busy_clients and not self.queue.unfinished()

    def _tidy(self) -> None:
        """Let days go by with nothing but housekeeping."""
        for worker in self.workers:
            worker.process.on_death.clear()
            self.world.kill(worker.process)
        self.world.is_rough = False
        for _ in range(4):
            self._keep_house()
            self.world.now += DAY_SECONDS + 600.0
        self._keep_house()

    def _keep_house(self) -> None:
        """Have the housekeeper that has been in charge all the time do a round."""
        done: list[bool] = []

        def rounds() -> None:
            self._keeper.delete_expired()
            self._keeper.tidy()
            done.append(True)

        self.world.start(self._housekeeping, rounds)
        self.world.run(lambda: bool(done), limit_seconds=3600.0)

    def _after_commit(self, raw: Any) -> None:
        self.checker.after_commit(raw, self._sqlite_now())
        self.queue.changed.send()

    def _sqlite_now(self) -> str:
        return self.world.today().strftime("%Y-%m-%d %H:%M:%S.%f")

    # The apis, and who asks them.

    def _start_api(self) -> None:
        process = self.world.process(f"api-{len(self.world.processes)}", "api")
        door = TranscriptionService(
            database=cast("Any", self.database),
            store=self.store,
            dispatcher=cast("Any", self.queue),
            capabilities=Capabilities(language_codes=frozenset({"en-US"})),
        )
        self._apis.append((process, door))

        def replace() -> None:
            self._apis.remove((process, door))
            self.world.later(0.5, self._start_api)

        process.on_death.append(replace)

    def _ask(self, question: Callable[[TranscriptionService], Any]) -> Any:
        """Have an api answer; raise what it raises, ConnectionError where it dies before the answer is out."""
        if not self._apis:
            raise ConnectionError
        process, door = self.world.dice.choice(self._apis)
        answered, outcome = Signal(self.world), [ConnectionError(), None]

        def answer() -> None:
            try:
                result = question(door)
                self.world.point("before the answer")
                outcome[:] = None, result
            except Exception as error:  # noqa: BLE001 - whatever it is, the client gets it
                outcome[0] = error
            finally:
                answered.send()

        self.world.start(process, answer)
        answered.wait()
        if outcome[0] is not None:
            raise outcome[0]
        return outcome[1]

    def _ask_until_told(self, question: Callable[[TranscriptionService], Any]) -> Any:
        """Ask again while the answer is that it may work later."""
        while True:
            try:
                return self._ask(question)
            except (ConnectionError, OperationalError, ServiceUnavailable, OSError):
                self.world.sleep(self.world.dice.uniform(0.5, 5.0))

    def _start_client(self, work: Callable[[], None]) -> None:
        self._busy_clients += 1

        def body() -> None:
            work()
            self._busy_clients -= 1

        self.world.start(self._clients, body)

    def _client(self, recording: Recording) -> None:
        """Submit until there is a 201, then perhaps change one's mind; read the result at last."""
        dice = self.world.dice
        self.world.sleep(dice.uniform(0.0, 5.0))
        while True:
            try:
                job = self._ask(lambda service: self._submit(service, recording))
                break
            except (ConnectionError, ServiceUnavailable, StorageFull):
                self.world.sleep(dice.uniform(0.1, 2.0))
        name = job.name
        self.world.note(f"201 {name} {recording.kind}")
        self.promises.accepted[name] = recording
        if dice.random() < self.scenario.cancels:
            self.world.sleep(dice.uniform(0.0, 4.0) ** 2)
            self.promises.asked_to_cancel.add(name)
            try:
                self._ask_until_told(lambda service: service.cancel(name))
                self.world.note(f"cancelled {name}")
            except (JobAlreadyEnded, JobNotFound):
                pass
        if dice.random() < self.scenario.deletes:
            self.world.sleep(dice.uniform(0.0, 4.0) ** 2)
            self._delete(name)

    def _submit(self, service: TranscriptionService, recording: Recording) -> Any:
        upload = service.begin_upload()
        key = recording.idempotency_key
        try:
            upload.write(recording.data)
            return service.submit(
                upload,
                file_name="talk.mp3",
                head=recording.data[:64],
                submission=Submission(
                    delete_after_seconds=recording.delete_after_seconds,
                    delete_media_after_seconds=recording.delete_media_after_seconds,
                ),
                upload_seconds=0.1,
                idempotency=None if key is None else Idempotency(key=key, fingerprint=str(recording.number)),
            )
        finally:
            upload.abort()

    def _delete(self, name: str) -> None:
        self.promises.asked_to_delete.add(name)
        try:
            self._ask_until_told(lambda service: service.delete(name))
        except JobNotFound:
            pass
        self.promises.deleted.add(name)
        self.world.note(f"deleted {name}")

    def start_worker(self) -> None:
        """Start a worker, with an executor id of its own."""
        self.workers.append(SimulatedWorker(self, f"worker-{len(self.workers)}"))


class SimulatedWorker:
    """A worker process: the product's pipeline, watch and housekeeping, driven by the model of the durable engine."""

    def __init__(self, deployment: SimulatedService, name: str) -> None:
        self._deployment = deployment
        self.name = name
        self.running = 0
        world, database = deployment.world, cast("Any", deployment.database)
        self.world = world
        self.process = world.process(name, "worker")
        self.process.on_death.append(self._died)
        self.process.on_freeze.append(self._froze)
        self._woken = Signal(world)
        self._in_flight = InFlight(database)
        self._in_flight._stopped = cast("Any", _Tick(world, self._wait_for_watch))
        keeper = Housekeeper(database, deployment.store, cast("Any", deployment.queue))
        keeper._stopped = cast("Any", _Tick(world, lambda: world.sleep(world.dice.uniform(20.0, 600.0))))
        self.pipeline = Pipeline(
            database=database,
            store=deployment.store,
            decoder=SimulatedDecoder(world),
            engine=SimulatedEngine(
                world,
                poison=lambda chunk: self._is_last(chunk) and self._recording(chunk).kind == "poison",
                extra_seconds=lambda chunk: deployment.scenario.last_chunk_seconds if self._is_last(chunk) else 0.0,
            ),
            dispatcher=cast("Any", deployment.queue),
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
                self._deployment.queue.finish(work, self.name)
            finally:
                self.running -= 1
            self._deployment.queue.changed.send()

        self.world.start(self.process, body)
        self._woken.send()

    def _poll(self, *, is_chunk: bool) -> None:
        queue, world = self._deployment.queue, self.world
        while True:
            world.sleep(world.dice.uniform(0.0, 0.05))
            if self.running < 6 and queue.has_queued(is_chunk=is_chunk):
                world.point("before a claim")
                for work in queue.claim(self.name, is_chunk=is_chunk, most=2):
                    world.note(f"claims {work.id}")
                    self.run(work)
                    if world.chance(world.faults.duplicate):
                        others = [each for each in self._deployment.workers if each.process.is_alive]
                        world.dice.choice(others).run(work)
                world.point("after a claim")
            else:
                queue.changed.wait()

    def _wait_for_watch(self) -> None:
        if not self.running:
            self._woken.wait()
        self.world.sleep(self.world.dice.uniform(0.5, 3.0))

    def _died(self) -> None:
        deployment = self._deployment
        self.world.later(self.world.dice.uniform(0.3, 2.0), lambda: deployment.queue.recover(self.name))
        self.world.later(self.world.dice.uniform(0.5, 5.0), deployment.start_worker)

    def _froze(self) -> None:
        self.world.later(PATIENCE_SECONDS, self._take_over)

    def _take_over(self) -> None:
        if self.process.frozen_until > self.world.now:
            self._deployment.queue.recover(self.name)

    def _recording(self, chunk: ChunkAudio) -> Recording:
        return self._deployment.store.recording_of(chunk.job_name)

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


@contextmanager
def installed(world: World) -> Iterator[None]:
    """Put the virtual clock, the dice and small chunks where the product looks at the real ones."""

    class Clock:
        """Stands for the module ``time``."""

        sleep = staticmethod(world.sleep)

        @staticmethod
        def monotonic() -> float:
            """Return the virtual seconds."""
            return world.now

    class Today(datetime):
        """Stands for the class ``datetime``."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:  # noqa: ARG003 - all of ours are in UTC
            """Return the virtual time of day."""
            return world.today()

    def name() -> str:
        return f"transcribe-{uuid.UUID(int=world.dice.getrandbits(128))}"

    with pytest.MonkeyPatch.context() as patch:
        for module_name, module in list(sys.modules.items()):
            if module_name.startswith(("batchscribe.service", "batchscribe.workflow")):
                for real, virtual in ((time, Clock), (datetime, Today), (random, world.dice)):
                    attribute = real.__name__
                    if getattr(module, attribute, None) is real:
                        patch.setattr(module, attribute, virtual)
        patch.setattr(service_module, "new_job_name", name)
        patch.setattr(pipeline, "cut", lambda blocks, _limits: small_cut(blocks))
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
