"""Where work waits and who does it: queues that workers look into, and processes that work shares."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.scale.model import Model

#: From a worker's death until its work is on the queues again (docs/scale-out.md).
TAKEOVER_SECONDS = 2.0


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
        self.admit(worker)

    def admit(self, worker: Worker) -> None:
        """Have a worker look in again, where it has a slot."""
        entry = (self._phases[worker.place], worker.place)
        place = bisect_left(self._idle, entry)
        if self._free[worker.place] and not worker.is_down and self._idle[place : place + 1] != [entry]:
            self._idle.insert(place, entry)
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


class Shared:
    """Processes that whatever is in hand shares evenly: what one piece of work has had, all have had."""

    def __init__(self, model: Model, processes: int | None) -> None:
        """Begin with nothing in hand; without a number of processes nothing slows anything down."""
        self._model, self._processes = model, processes
        self.busy_seconds = 0.0
        self._had, self._seen_at, self._version, self._count = 0.0, 0.0, 0, 0
        self._running: list[tuple[float, int, Callable[[], None], Callable[[], None]]] = []

    def work(self, seconds: float, done: Callable[[], None], again: Callable[[], None]) -> None:
        """Work for so many seconds of one process, then go on; ``again`` gives the work back."""
        self._catch_up()
        self._count += 1
        heapq.heappush(self._running, (self._had + seconds, self._count, done, again))
        self._plan()

    def drop(self) -> list[Callable[[], None]]:
        """Leave all that is in hand; return what gives it back."""
        self._catch_up()
        dropped, self._running = [again for _, _, _, again in self._running], []
        self._plan()
        return dropped

    def _rate(self) -> float:
        count = len(self._running)
        return min(1.0, (self._processes or count) / count) if count else 0.0

    def _catch_up(self) -> None:
        passed = (self._model.now - self._seen_at) * self._rate()
        self._had += passed
        self.busy_seconds += passed * len(self._running)
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
        _, _, done, _ = heapq.heappop(self._running)
        self._plan()
        done()


class Worker:
    """A worker's decoders and engine processes."""

    def __init__(self, model: Model, place: int) -> None:
        """Begin with nothing in hand."""
        self._model = model
        self.place = place
        self.is_down = False
        self.decoders = Shared(model, model.fleet.processes)
        self.engines = Shared(model, model.fleet.processes)

    def stop(self) -> None:
        """Be killed: what was in hand is given to others, who begin it anew, once that is noticed."""
        self.is_down = True
        for again in self.decoders.drop() + self.engines.drop():
            self._model.at(self._model.now + TAKEOVER_SECONDS, again)

    def go_on(self) -> None:
        """Be started again."""
        self.is_down = False
        for queue in (self._model.recordings, self._model.chunks):
            queue.admit(self)
