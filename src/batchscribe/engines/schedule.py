"""What waits to be recognised, and what is taken next: fair by job, by windows pooled from all calls.

Every call's chunk is first cut into windows, which is cheap and goes ahead of everything else, for until then nobody
knows what there is to do. The windows of all calls then wait together. A batch holds windows of one bucket, so that
nobody's words depend on who came along; it begins with the window whose call has the lowest priority number, among
equals the one whose job has been given the least audio so far, and is filled by the same rule.

A batch never takes more than its share, the waiting windows divided by the children. While many wait, batches are full;
towards the end they grow smaller, so that no child still has eight windows to do when the others have none. Nor is a
batch ever longer than about a minute of audio, for whoever comes meanwhile waits for its end: Whisper base needs 3 %
less processor time for batches of eight than of two, which is no reason to let anybody wait four times as long.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ
from batchscribe.engines.recogniser import Wanted
from batchscribe.errors import BatchScribeError, EngineClosed, EngineCrashed

if TYPE_CHECKING:
    from batchscribe.domain.identification import LanguageWindow
    from batchscribe.domain.transcript import Segment
    from batchscribe.domain.voices import VoiceWindow

#: A cut or a window that ends its child this often, alone, is given up.
_DEATHS_ALLOWED = 2
#: How many jobs' served audio is remembered.
_JOBS_REMEMBERED = 10_000
#: How much audio a batch of more than one window holds at most, padding included.
_BATCH_SECONDS = 64
#: About how long a window is: how many children a chunk that is not cut yet will keep busy.
_USUAL_WINDOW_SECONDS = 30.0


@dataclass(eq=False, kw_only=True)
class Call:
    """One chunk on its way through the pool. All fields that change are guarded by the schedule's lock."""

    job_name: str
    priority: float
    language: str
    pcm: memoryview
    wanted: Wanted = Wanted.WORDS
    #: What is favoured in its words.
    phrases: tuple[str, ...] = ()
    #: Set when anything below changes.
    changed: threading.Condition
    number: int = 0
    cut_deaths: int = 0
    windows: list[PooledWindow] | None = None
    #: What was wanted, where that is not words: in seconds from the chunk's start.
    found: tuple[VoiceWindow, ...] | tuple[LanguageWindow, ...] = ()
    seconds_done: float = 0.0
    #: Nobody waits for this call any more: it is done, failed or dropped.
    is_over: bool = False
    error: BatchScribeError | None = None

    @property
    def duration(self) -> float:
        """Seconds of audio in the chunk."""
        return len(self.pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE_HERTZ

    def has_news(self, told_seconds: float) -> bool:
        """Whether a caller who was told of so many seconds done has something new to hear."""
        return self.is_over or self.seconds_done > told_seconds

    def end(self, error: BatchScribeError | None = None) -> None:
        """Let nothing more be done for this call."""
        self.is_over, self.error = True, self.error or error
        self.changed.notify_all()


@dataclass(eq=False, kw_only=True)
class PooledWindow:
    """A stretch of a call's chunk that is recognised at once; ``start`` and ``end`` in samples within the chunk."""

    call: Call
    start: int
    end: int
    bucket: int
    #: Suspected of having ended a child: to be recognised by itself.
    is_alone: bool = False
    deaths: int = 0
    #: In seconds from the window's start.
    segments: tuple[Segment, ...] | None = None

    @property
    def seconds(self) -> float:
        """Seconds of audio in the window."""
        return (self.end - self.start) / SAMPLE_RATE_HERTZ

    @property
    def pcm(self) -> memoryview:
        """The window's samples."""
        return self.call.pcm[self.start * BYTES_PER_SAMPLE : self.end * BYTES_PER_SAMPLE]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Work for a child: find the windows of a chunk, or where that is wanted, its voices or languages."""

    call: Call

    @property
    def calls(self) -> list[Call]:
        """The calls that wait for this."""
        return [self.call]

    @property
    def seconds(self) -> float:
        """Seconds of audio in this work."""
        return self.call.duration


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Work for a child: recognise windows of one bucket."""

    windows: list[PooledWindow] = field(default_factory=list)

    @property
    def calls(self) -> list[Call]:
        """The calls that wait for this."""
        return [window.call for window in self.windows]

    @property
    def seconds(self) -> float:
        """Seconds of audio in this work."""
        return sum(window.seconds for window in self.windows)


class Schedule:
    """The waiting work of all calls, shared by the callers' threads and the children's keepers."""

    def __init__(self, *, children: int) -> None:
        """Share work among this many children."""
        self.lock = threading.RLock()
        #: Set when there is work to take, or no more ever will be.
        self.changed = threading.Condition(self.lock)
        self.is_closed = False
        self._children = children
        self._numbers = count()
        self._calls: set[Call] = set()
        self._cuts: list[Call] = []
        self._windows: list[PooledWindow] = []
        self._served_seconds: OrderedDict[str, float] = OrderedDict()

    def add(self, call: Call) -> None:
        """Take in a call. Raises EngineClosed."""
        with self.lock:
            if self.is_closed:
                raise EngineClosed("The engine has been closed.")
            call.number = next(self._numbers)
            self._calls.add(call)
            self._cuts.append(call)
            self._served_seconds.setdefault(call.job_name, 0.0)
            self._served_seconds.move_to_end(call.job_name)
            while len(self._served_seconds) > _JOBS_REMEMBERED:
                self._served_seconds.popitem(last=False)
            self.changed.notify_all()

    def drop(self, call: Call) -> None:
        """Forget what waits for this call; harmless when it is done."""
        with self.lock:
            call.end()
            self._calls.discard(call)
            self._forget_ended_calls()

    def children_wanted(self) -> int:
        """Return how many children the waiting work would keep busy, if none were."""
        with self.lock:
            uncut = sum(max(1, math.ceil(call.duration / _USUAL_WINDOW_SECONDS)) for call in self._cuts)
            return min(self._children, uncut + len(self._windows))

    def take(self, max_batch: int, timeout_seconds: float | None) -> Cut | Batch | None:
        """Wait for work for one child and take it; None when the time is over or the schedule is closed."""
        with self.lock:
            self.changed.wait_for(lambda: self.is_closed or self._cuts or self._windows, timeout_seconds)
            if self.is_closed:
                return None
            if self._cuts:
                call = min(self._cuts, key=self._cut_turn)
                is_long = call.wanted is not Wanted.WORDS
                if not (is_long and self._windows and self._has_sooner_window(call)):
                    self._cuts.remove(call)
                    if is_long:
                        self._served_seconds[call.job_name] += call.duration
                    return Cut(call=call)
            return self._take_batch(max_batch) if self._windows else None

    def cut_done(self, call: Call, windows: list[PooledWindow]) -> None:
        """Let the windows found in a call's chunk wait; what lies between them is silence and done."""
        with self.lock:
            call.windows = windows
            call.seconds_done = max(0.0, call.duration - sum(window.seconds for window in windows))
            if not windows:
                call.end()
            elif not call.is_over:
                self._windows.extend(windows)
                self.changed.notify_all()
            call.changed.notify_all()

    def found(self, call: Call, found: tuple[VoiceWindow, ...] | tuple[LanguageWindow, ...]) -> None:
        """Hand a chunk's voices or languages to its call."""
        with self.lock:
            call.found, call.seconds_done = found, call.duration
            call.end()

    def batch_done(self, batch: Batch, results: list[tuple[Segment, ...]]) -> None:
        """Hand recognised windows to their calls."""
        with self.lock:
            for window, segments in zip(batch.windows, results, strict=True):
                window.segments = segments
                window.call.seconds_done += window.seconds
                window.call.changed.notify_all()
                if all(each.segments is not None for each in window.call.windows or []):
                    window.call.end()

    def died(self, work: Cut | Batch, sentence: str) -> None:
        """Let work that ended its child wait again, each window by itself; give up what did so alone before."""
        with self.lock:
            if isinstance(work, Cut):
                work.call.cut_deaths += 1
                if work.call.cut_deaths >= _DEATHS_ALLOWED:
                    work.call.end(EngineCrashed(f"Recognition failed each time it was tried. {sentence}"))
                else:
                    self._cuts.append(work.call)
            else:
                self._suspect(work.windows, sentence)
            self._forget_ended_calls()
            self.changed.notify_all()

    def fail(self, error: BatchScribeError) -> None:
        """End every call with this error."""
        with self.lock:
            for call in self._calls:
                if not call.is_over:
                    call.end(error)
            self._forget_ended_calls()

    def close(self) -> None:
        """Take in no more work, and let no keeper wait for any. Harmless twice."""
        with self.lock:
            self.is_closed = True
            self.fail(EngineClosed("The engine has been closed."))
            self.changed.notify_all()

    def _suspect(self, windows: list[PooledWindow], sentence: str) -> None:
        """Let windows whose child died wait again."""
        for window in windows:
            window.deaths += len(windows) == 1
            window.is_alone = True
            if window.deaths >= _DEATHS_ALLOWED:
                window.call.end(EngineCrashed(f"Recognition failed each time it was tried. {sentence}"))
        self._windows.extend(windows)

    def _take_batch(self, max_batch: int) -> Batch:
        """Take the windows of one batch."""
        limit = min(max_batch, math.ceil(len(self._windows) / self._children))
        batch = Batch()
        candidates = self._windows
        while candidates and len(batch.windows) < limit:
            window = min(candidates, key=lambda each: (self._turn(each.call), each.start))
            self._windows.remove(window)
            batch.windows.append(window)
            self._served_seconds[window.call.job_name] += window.seconds
            if window.is_alone:
                break
            limit = min(limit, _BATCH_SECONDS // window.bucket)
            candidates = [each for each in self._windows if each.bucket == window.bucket and not each.is_alone]
        return batch

    def _turn(self, call: Call) -> tuple[float, float, int]:
        """Return what sorts calls into the order in which they are served."""
        return call.priority, self._served_seconds.setdefault(call.job_name, 0.0), call.number

    def _cut_turn(self, call: Call) -> tuple[bool, tuple[float, float, int]]:
        """Return what sorts chunks to cut: they go ahead of voices and languages, which take as long as words do."""
        return call.wanted is not Wanted.WORDS, self._turn(call)

    def _has_sooner_window(self, call: Call) -> bool:
        """Whether a window waits whose turn is before this call's."""
        return min(self._turn(window.call) for window in self._windows) < self._turn(call)

    def _forget_ended_calls(self) -> None:
        """Let nothing wait for calls that are over."""
        self._cuts = [call for call in self._cuts if not call.is_over]
        self._windows = [window for window in self._windows if not window.call.is_over]
