"""The whole service in virtual time: apis, workers, clients, and what happens to them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from invariants import Checker, Promises
from simulated_clock import installed
from simulated_database import SimulatedDatabase, SimulatedQueue
from simulated_store import Recording, SimulatedStore
from simulated_worker import Fleet
from simulated_world import Faults, Process, Signal, Strike, World
from sqlalchemy.exc import OperationalError

from batchscribe.domain.options import Capabilities
from batchscribe.domain.submission import Idempotency, Submission
from batchscribe.errors import JobAlreadyEnded, JobNotFound, ServiceUnavailable, StorageFull
from batchscribe.service import TranscriptionService
from batchscribe.workflow.housekeeping import Housekeeper

DAY_SECONDS = 86_400.0


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
        self.fleet = Fleet(self.world, self.database, self.store, self.queue, scenario.last_chunk_seconds)
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
            self.fleet.start_worker()
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
        is_idle = not self.database.late_commits and not any(worker.running for worker in self.fleet.workers)
        return is_idle and not self._busy_clients and not self.queue.unfinished()

    def _tidy(self) -> None:
        """Let days go by with nothing but housekeeping."""
        for worker in self.fleet.workers:
            worker.process.on_death.clear()
            self.world.kill(worker.process)
        self.world.is_rough = False
        for _ in range(3):
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
            engines={"local": Capabilities(language_codes=frozenset({"en-US"}))},
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
        answered = Signal(self.world)
        answers: list[Any] = []
        errors: list[Exception] = [ConnectionError()]

        def answer() -> None:
            try:
                result = question(door)
                self.world.point("before the answer")
                answers.append(result)
            except Exception as error:  # noqa: BLE001 - whatever it is, the client gets it
                errors.append(error)
            finally:
                answered.send()

        self.world.start(process, answer)
        answered.wait()
        if not answers:
            raise errors[-1]
        return answers[0]

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
            with suppress(JobAlreadyEnded, JobNotFound):
                self._ask_until_told(lambda service: service.cancel(name))
                self.world.note(f"cancelled {name}")
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
        with suppress(JobNotFound):
            self._ask_until_told(lambda service: service.delete(name))
        self.promises.deleted.add(name)
        self.world.note(f"deleted {name}")
