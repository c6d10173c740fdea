"""Virtual time: many simulated processes in one thread, one seed decides all that happens.

Every simulated thread is a greenlet that runs the product's own synchronous code. It gives way only at a point (before
and after each call that leaves the process: database, store, decoder, engine); there it may be delayed, frozen with its
whole process, or killed with it. Between two points it runs alone, so a seed plays the same way every time.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from greenlet import getcurrent, greenlet

EPOCH = datetime(2026, 2, 5, 10, 30, tzinfo=UTC)


class Crashed(BaseException):
    """The simulated process was killed here; no code of it may run on."""


class Violation(AssertionError):
    """A promise was broken."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How likely each mishap is, at each point where it can happen."""

    crash: float = 0.0
    freeze: float = 0.0
    #: An error before anything was done, and an error after all was done.
    database_error: float = 0.0
    database_false_error: float = 0.0
    #: A submission is committed some seconds after the connection broke.
    late_commit: float = 0.0
    store_error: float = 0.0
    store_false_error: float = 0.0
    engine_crash: float = 0.0
    decoder_crash: float = 0.0
    #: The same work is given to two workers at once.
    duplicate: float = 0.0
    #: A call takes seconds instead of milliseconds.
    slow: float = 0.0
    #: Seconds into the simulation at which the database, and the store, do not answer.
    database_outage: tuple[float, float] | None = None
    store_outage: tuple[float, float] | None = None


@dataclass(eq=False)
class Process:
    """A simulated operating system process: its threads live and die together."""

    name: str
    kind: str
    is_alive: bool = True
    frozen_until: float = 0.0
    threads: list[Thread] = field(default_factory=list)
    on_death: list[Callable[[], None]] = field(default_factory=list)
    on_freeze: list[Callable[[], None]] = field(default_factory=list)


class Thread(greenlet):
    """A thread of a simulated process."""

    process: Process


@dataclass(frozen=True, kw_only=True)
class Strike:
    """One mishap at one point, for sweeps: the n-th point that processes of a kind come to."""

    kind: str
    number: int
    #: Seconds that the process is frozen for; None kills it.
    freeze_seconds: float | None = None


class World:
    """The clock, the threads, and the dice."""

    def __init__(self, seed: int, faults: Faults | None = None, strike: Strike | None = None) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - nothing secret
        self.now = 0.0
        self.faults = faults or Faults()
        #: Off while the world is given time to come to rest.
        self.is_rough = True
        self.processes: list[Process] = []
        #: What happened, for whoever reads a failure.
        self.trace: list[str] = []
        self.points: dict[str, int] = {}
        self._strike = strike
        self._timers: list[tuple[float, float, int, Thread | Callable[[], None]]] = []
        self._count = 0
        self._hub = getcurrent()

    def today(self) -> datetime:
        """Return the virtual time of day."""
        return EPOCH + timedelta(seconds=self.now)

    def note(self, text: str) -> None:
        """Remember what happened."""
        current = getcurrent()
        who = current.process.name if isinstance(current, Thread) else "world"
        self.trace.append(f"{self.now:10.3f} {who:10} {text}")

    def start(self, process: Process, work: Callable[[], None]) -> None:
        """Run work in a new thread of a process."""

        def body() -> None:
            try:
                work()
            except Crashed:
                pass
            finally:
                process.threads.remove(thread)

        thread = Thread(body, self._hub)
        thread.process = process
        process.threads.append(thread)
        self._at(self.now, thread)

    def process(self, name: str, kind: str) -> Process:
        """Add a process."""
        process = Process(name=name, kind=kind)
        self.processes.append(process)
        return process

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something outside of every process after a while; it must not give way."""
        self._at(self.now + seconds, action)

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass for the thread that calls."""
        self.check_alive()
        thread = self._thread()
        self._at(self.now + max(0.0, seconds), thread)
        self._hub.switch()
        self.check_alive()

    def check_alive(self) -> None:
        """Raise Crashed in a thread whose process has been killed."""
        if not self._thread().process.is_alive:
            raise Crashed

    def point(self, label: str) -> None:
        """Come to a point: time passes, others run, and the process may be killed or frozen."""
        self.check_alive()
        process = self._thread().process
        number = self.points[process.kind] = self.points.get(process.kind, 0) + 1
        is_struck = self._strike is not None and (self._strike.kind, self._strike.number) == (process.kind, number)
        frozen_seconds = self._strike.freeze_seconds if is_struck and self._strike is not None else None
        is_frozen, is_killed = frozen_seconds is not None, is_struck and frozen_seconds is None
        if process.kind != "client":
            is_killed = is_killed or self.chance(self.faults.crash)
            is_frozen = is_frozen or self.chance(self.faults.freeze)
        if is_killed:
            self.note(f"KILLED at {label}")
            self.kill(process)
            raise Crashed
        if is_frozen:
            process.frozen_until = self.now + (frozen_seconds or self.dice.uniform(1.0, 60.0))
            self.note(f"FROZEN at {label} until {process.frozen_until:.3f}")
            for tell in process.on_freeze:
                tell()
        self.sleep(self.dice.uniform(0.5, 20.0) if self.chance(self.faults.slow) else self.dice.uniform(0.0, 0.004))

    def chance(self, probability: float) -> bool:
        """Throw the dice, while the world is rough."""
        return self.is_rough and probability > 0 and self.dice.random() < probability

    def is_out(self, outage: tuple[float, float] | None) -> bool:
        """Whether it is the time of an outage."""
        return self.is_rough and outage is not None and outage[0] <= self.now < outage[1]

    def kill(self, process: Process) -> None:
        """End a process now. Its threads end without running another line that can be seen."""
        process.is_alive = False
        for tell in process.on_death:
            tell()
        for thread in list(process.threads):
            if thread is not getcurrent():
                self._at(self.now, thread)

    def run(self, is_done: Callable[[], bool], *, limit_seconds: float) -> None:
        """Let the world go on until something is so. Raises Violation when it is not after so much virtual time."""
        limit = self.now + limit_seconds
        while not is_done():
            if not self._timers or self._timers[0][0] > limit:
                raise Violation(f"not at rest after {limit_seconds:.0f} virtual seconds")
            moment, _, _, runner = heapq.heappop(self._timers)
            self.now = max(self.now, moment)
            if not isinstance(runner, Thread):
                runner()
            elif runner.dead:
                continue
            elif runner.process.is_alive and runner.process.frozen_until > self.now:
                self._at(runner.process.frozen_until, runner)
            else:
                runner.switch()

    def end(self) -> None:
        """Kill every process, so that nothing is left to the garbage collector."""
        for process in self.processes:
            process.is_alive = False
            process.on_death.clear()
            for thread in list(process.threads):
                while not thread.dead:
                    thread.switch()

    def _thread(self) -> Thread:
        current = getcurrent()
        assert isinstance(current, Thread)
        return current

    def _at(self, moment: float, runner: Thread | Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._timers, (moment, self.dice.random(), self._count, runner))


class Signal:
    """What threads of the world wait for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: list[Thread] = []

    def wait(self) -> None:
        """Wait until :meth:`send` is called."""
        self._world.check_alive()
        self._waiting.append(self._world._thread())
        self._world._hub.switch()
        self._world.check_alive()

    def send(self) -> None:
        """Wake whoever waits."""
        waiting, self._waiting = self._waiting, []
        for thread in waiting:
            if not thread.dead:
                self._world._at(self._world.now, thread)
