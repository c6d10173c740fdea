"""The keeper of one engine child: starts it, gives it work, watches it, and ends it when it must be ended."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from batchscribe.domain.identification import language_window_from_json
from batchscribe.domain.voices import voice_window_from_json
from batchscribe.engines.process import EngineProcess, ProcessDied
from batchscribe.engines.recogniser import Wanted
from batchscribe.engines.schedule import Batch, Cut, PooledWindow
from batchscribe.errors import BatchScribeError, EngineCrashed, ModelUnavailable
from batchscribe.wire import segment_from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchscribe.engines.framing import Header
    from batchscribe.engines.recogniser import RecogniserChoice
    from batchscribe.engines.schedule import Schedule

logger = logging.getLogger(__name__)

#: How often a keeper looks up from a busy child: for cancelled calls, the watchdog, the end.
_LOOK_SECONDS = 0.2
_START_ATTEMPTS = 3
#: A child that cannot start leaves the work to the others for this long.
_START_PAUSE_SECONDS = 30.0


class ChildState(Enum):
    """What an engine child is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    IDLE = "idle"
    CUTTING = "cutting"
    RECOGNISING = "recognising"


#: The states in which a child has its model loaded.
READY_STATES = frozenset({ChildState.IDLE, ChildState.CUTTING, ChildState.RECOGNISING})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildLimits:
    """When a child is ended."""

    #: Seconds a child may load its model.
    start_seconds: float = 300.0
    #: Seconds that any work may take, and seconds more for each second of its audio.
    work_seconds: float = 60.0
    work_seconds_per_audio_second: float = 20.0
    #: A child that has grown by more than this since its model was loaded is replaced. Whisper base
    #: needs 150 MB to work.
    growth_bytes: int = 2 << 30
    #: A child that had nothing to do for so many seconds is ended, and its memory given back; None means never.
    idle_seconds: float | None = None
    #: Environment variables for the child beside our own.
    environment: Mapping[str, str] = field(default_factory=dict)


class Keeper(threading.Thread):
    """A thread that keeps one child. Linux kills a child with the thread that started it, so this one starts it."""

    def __init__(self, number: int, choice: RecogniserChoice, limits: ChildLimits, schedule: Schedule) -> None:
        super().__init__(name=f"engine-keeper-{number}", daemon=True)
        #: Guarded by the schedule's lock, which is told of each change.
        self.state = ChildState.STOPPED
        self.pid: int | None = None
        self.rss_bytes = 0
        self.start_error: BatchScribeError | None = None
        self.peers: list[Keeper] = []
        self._number, self._choice, self._limits, self._schedule = number, choice, limits, schedule
        self._is_wanted = False
        self._max_batch, self._loaded_bytes = 1, 0

    def want(self) -> None:
        """Start the child now, whether or not there is work."""
        with self._schedule.lock:
            self._is_wanted, self.start_error = True, None
            self._schedule.changed.notify_all()

    def run(self) -> None:
        """Keep a child while there is work for it, until the schedule is closed."""
        try:
            while self._wait_until_wanted():
                process = self._start()
                if process is not None:
                    self._keep(process)
        finally:
            # Never reached by an error that we know of; but a keeper that ends must not leave callers waiting.
            if not self._schedule.is_closed:
                self._schedule.close()

    def _wait_until_wanted(self) -> bool:
        """Wait for a reason to have a child; answer False when there will be none."""
        with self._schedule.lock:
            self._schedule.changed.wait_for(lambda: self._schedule.is_closed or self._is_needed())
            if self._schedule.is_closed:
                return False
            self._is_wanted = False
            self._set(ChildState.STARTING)
            return True

    def _is_needed(self) -> bool:
        """Whether there is more work than the children that could take it soon."""
        soon = (ChildState.IDLE, ChildState.STARTING)
        return self._is_wanted or self._schedule.children_wanted() > sum(peer.state in soon for peer in self.peers)

    def _start(self) -> EngineProcess | None:
        """Start the child and wait until its model is loaded; None when it cannot be, and then the callers know."""
        error: BatchScribeError = EngineCrashed(f"The engine cannot load the model {self._choice.model}.")
        for attempt in range(_START_ATTEMPTS):
            try:
                process = EngineProcess(self._choice, self._limits.environment)
                answer = self._wait_for_answer(process, None, self._limits.start_seconds)
            except ProcessDied as death:
                error = EngineCrashed(f"The engine cannot load the model {self._choice.model}. {death}")
                logger.warning("%s", error, extra={"event": "engine_child_start_failed", "attempt": attempt})
                continue
            if answer is None:
                self._set(ChildState.STOPPED)
                return None
            if "unavailable" in answer:
                process.end()
                error = ModelUnavailable(answer["unavailable"])
                break
            self._max_batch, self._loaded_bytes = answer["max_batch"], answer["rss_bytes"]
            self.rss_bytes = self._loaded_bytes
            self.start_error = None
            return process
        self._give_up_start(error)
        return None

    def _give_up_start(self, error: BatchScribeError) -> None:
        """Tell the callers that no child starts, or leave the work to those that did or still may."""
        logger.error("%s", error, extra={"event": "engine_child_unavailable"})
        with self._schedule.lock:
            self.start_error = error
            self._set(ChildState.STOPPED)
            if all(peer.state is ChildState.STOPPED for peer in self.peers):
                self._schedule.fail(error)
            else:
                self._schedule.changed.wait_for(
                    lambda: self._schedule.is_closed or self._is_wanted, _START_PAUSE_SECONDS
                )

    def _keep(self, process: EngineProcess) -> None:
        """Give a child work until it has to go."""
        try:
            while True:
                self._set(ChildState.IDLE, process.pid)
                work = self._schedule.take(self._max_batch, self._limits.idle_seconds)
                if work is None:
                    return
                if not self._do(process, work):
                    self._is_wanted = True
                    return
        finally:
            process.end()
            self._set(ChildState.STOPPED)

    def _do(self, process: EngineProcess, work: Cut | Batch) -> bool:
        """Have one piece of work done; answer whether the child can go on."""
        self._set(ChildState.CUTTING if isinstance(work, Cut) else ChildState.RECOGNISING, process.pid)
        limit = self._limits.work_seconds + self._limits.work_seconds_per_audio_second * work.seconds
        try:
            process.send(*_request(work))
            answer = self._wait_for_answer(process, work, limit)
            if answer is None:
                return False
            self._hand_over(work, answer)
        except ProcessDied as death:
            logger.warning(
                "%s", death, extra={"event": "engine_child_died", "jobs": sorted({c.job_name for c in work.calls})}
            )
            self._schedule.died(work, str(death))
            return False
        self.rss_bytes = answer["rss_bytes"]
        if self.rss_bytes - self._loaded_bytes > self._limits.growth_bytes:
            logger.info("The engine process is replaced: it uses %d bytes.", self.rss_bytes)
            return False
        return True

    def _wait_for_answer(self, process: EngineProcess, work: Cut | Batch | None, limit: float) -> Header | None:
        """Wait for the child's answer; end the child and answer None when nobody wants it any more."""
        deadline = time.monotonic() + limit
        while (answer := process.receive(_LOOK_SECONDS)) is None:
            if self._schedule.is_closed or (work is not None and all(call.is_over for call in work.calls)):
                process.end()
                return None
            if time.monotonic() > deadline:
                process.end()
                raise ProcessDied(f"The engine process did not answer within {limit:.0f} seconds.")
        return answer

    def _hand_over(self, work: Cut | Batch, answer: Header) -> None:
        """Give an answer to the calls that wait for it. Raises ProcessDied for one that makes no sense."""
        try:
            if isinstance(work, Cut) and work.call.wanted is Wanted.VOICES:
                self._schedule.found(work.call, tuple(voice_window_from_json(each) for each in answer["voices"]))
            elif isinstance(work, Cut) and work.call.wanted is not Wanted.WORDS:
                languages = tuple(language_window_from_json(each) for each in answer["languages"])
                self._schedule.found(work.call, languages)
            elif isinstance(work, Cut):
                found = [
                    PooledWindow(call=work.call, start=start, end=end, bucket=bucket)
                    for start, end, bucket in answer["windows"]
                ]
                self._schedule.cut_done(work.call, found)
            else:
                results = [tuple(segment_from_json(each) for each in segments) for segments in answer["results"]]
                self._schedule.batch_done(work, results)
        except (KeyError, TypeError, ValueError) as error:
            raise ProcessDied("The engine process gave an answer that makes no sense.") from error

    def _set(self, state: ChildState, pid: int | None = None) -> None:
        """Change what :meth:`LocalEngine.status` tells."""
        with self._schedule.lock:
            self.state, self.pid = state, pid
            self._schedule.changed.notify_all()


def _request(work: Cut | Batch) -> tuple[Header, list[memoryview]]:
    """Return the frame that asks for this work."""
    if isinstance(work, Cut):
        return {"do": work.call.wanted.value}, [work.call.pcm]
    vocabularies = list(dict.fromkeys(each.call.phrases for each in work.windows))
    windows = [
        {
            "size_bytes": len(each.pcm),
            "language": each.call.language,
            "vocabulary": vocabularies.index(each.call.phrases),
        }
        for each in work.windows
    ]
    header = {
        "do": "recognise",
        "bucket": work.windows[0].bucket,
        "vocabularies": vocabularies,
        "windows": windows,
    }
    return header, [each.pcm for each in work.windows]
