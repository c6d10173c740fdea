"""The local engine: recognition in a few child processes that share the windows of all calls."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from batchscribe.domain.identification import LanguageWindow
from batchscribe.domain.languages import WHISPER_LANGUAGE_CODES, whisper_language
from batchscribe.domain.options import Capabilities, TranscriptionOptions, local_options
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ, ChunkAudio
from batchscribe.domain.transcript import Segment, shift_segment
from batchscribe.domain.voices import VoiceWindow, shift_voice_window
from batchscribe.engines.keeper import READY_STATES, ChildLimits, ChildState, Keeper
from batchscribe.engines.recogniser import Wanted
from batchscribe.engines.schedule import Call, Schedule
from batchscribe.errors import Cancelled, EngineClosed, UnsupportedLanguage

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchscribe.engines.recogniser import RecogniserChoice

#: How often a call asks whether it is cancelled.
_ASK_SECONDS = 0.5
_CLOSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStatus:
    """One engine child, for people and health checks."""

    pid: int | None
    state: ChildState
    #: What it recognises with: the model's folder.
    model: str
    #: Resident memory after its last work; 0 before it was started.
    rss_bytes: int
    #: Why it could not start, the last time that it was tried.
    error: str | None


class LocalEngine:
    """Recognises speech in child processes of one thread each; satisfies ``domain.ports.Engine``.

    Children start when there is work for them, or by :meth:`warm`. One that dies is replaced, and what it was doing is
    tried again; a window that ends its child twice by itself fails its call alone. One that works for nobody any more
    is killed at once. All die with this process.
    """

    def __init__(
        self,
        choice: RecogniserChoice,
        *,
        processes: int,
        language_codes: frozenset[str] = WHISPER_LANGUAGE_CODES,
        limits: ChildLimits | None = None,
    ) -> None:
        """Make the engine without starting anything; ``processes`` is best the number of cores."""
        self.capabilities = Capabilities(language_codes=language_codes, options=local_options(language_codes))
        self._choice = choice
        self._schedule = Schedule(children=processes)
        limits = limits or ChildLimits()
        self._keepers = [Keeper(number, choice, limits, self._schedule) for number in range(processes)]
        for keeper in self._keepers:
            keeper.peers = self._keepers
        self._is_started = False

    def recognise(
        self,
        chunk: ChunkAudio,
        options: TranscriptionOptions,
        *,
        on_progress: Callable[[float], None],
        is_cancelled: Callable[[], bool],
    ) -> tuple[Segment, ...]:
        """Recognise one chunk, as the port says; both callables are called in the caller's own thread.

        Also raises UnsupportedLanguage, ModelUnavailable when no child can load its model, and EngineClosed.
        """
        language = whisper_language(options.language_code)
        if language is None:
            raise UnsupportedLanguage(f"The local engine does not recognise {options.language_code}.")
        if not chunk.pcm:
            return ()
        call = self._done(chunk, language, on_progress, is_cancelled, phrases=options.phrases)
        # A call and its windows hold each other: parted here, its audio goes at once and not when rubbish is collected.
        windows, call.windows = call.windows or [], None
        return tuple(
            shift_segment(segment, chunk.start + window.start / SAMPLE_RATE_HERTZ)
            for window in windows
            for segment in window.segments or ()
        )

    def find_voices(self, chunk: ChunkAudio, *, is_cancelled: Callable[[], bool]) -> tuple[VoiceWindow, ...]:
        """Tell apart who can be heard in a chunk, as the port says; raises as :meth:`recognise` does."""
        if not chunk.pcm:
            return ()
        found = self._done(chunk, "", lambda _: None, is_cancelled, wanted=Wanted.VOICES).found
        return tuple(shift_voice_window(window, chunk.start) for window in cast("tuple[VoiceWindow, ...]", found))

    def find_languages(
        self, chunk: ChunkAudio, *, by_stretch: bool, is_cancelled: Callable[[], bool]
    ) -> tuple[LanguageWindow, ...]:
        """Say which languages may be spoken in a chunk, as the port says; raises as :meth:`recognise` does."""
        if not chunk.pcm:
            return ()
        wanted = Wanted.LANGUAGES if by_stretch else Wanted.LANGUAGE
        found = self._done(chunk, "", lambda _: None, is_cancelled, wanted=wanted).found
        return tuple(
            replace(window, start=window.start + chunk.start, end=window.end + chunk.start)
            for window in cast("tuple[LanguageWindow, ...]", found)
        )

    def _done(
        self,
        chunk: ChunkAudio,
        language: str,
        on_progress: Callable[[float], None],
        is_cancelled: Callable[[], bool],
        *,
        wanted: Wanted = Wanted.WORDS,
        phrases: tuple[str, ...] = (),
    ) -> Call:
        """Give a chunk to the children and wait until it is done."""
        self._start_keepers()
        call = Call(
            job_name=chunk.job_name,
            priority=chunk.priority,
            language=language,
            pcm=memoryview(chunk.pcm),
            wanted=wanted,
            phrases=phrases,
            changed=threading.Condition(self._schedule.lock),
        )
        self._schedule.add(call)
        try:
            _wait(call, on_progress, is_cancelled)
        finally:
            self._schedule.drop(call)
        return call

    def warm(self) -> None:
        """Start all children and wait until their models are loaded. Raises ModelUnavailable, EngineCrashed."""
        self._start_keepers()
        for keeper in self._keepers:
            keeper.want()
        with self._schedule.lock:
            self._schedule.changed.wait_for(lambda: self._schedule.is_closed or all(map(_is_settled, self._keepers)))
            if self._schedule.is_closed:
                raise EngineClosed("The engine has been closed.")
            for keeper in self._keepers:
                if keeper.start_error is not None:
                    raise keeper.start_error

    def status(self) -> list[ChildStatus]:
        """Return what each child is doing now."""
        with self._schedule.lock:
            return [
                ChildStatus(
                    pid=keeper.pid,
                    state=keeper.state,
                    model=self._choice.model,
                    rss_bytes=keeper.rss_bytes,
                    error=None if keeper.start_error is None else str(keeper.start_error),
                )
                for keeper in self._keepers
            ]

    def close(self) -> None:
        """End every child; calls that still wait raise EngineClosed. Harmless twice."""
        self._schedule.close()
        if self._is_started:
            for keeper in self._keepers:
                keeper.join(_CLOSE_SECONDS)

    def _start_keepers(self) -> None:
        """Start the keepers' threads, the first time."""
        with self._schedule.lock:
            if not self._is_started and not self._schedule.is_closed:
                self._is_started = True
                for keeper in self._keepers:
                    keeper.start()


def _wait(call: Call, on_progress: Callable[[float], None], is_cancelled: Callable[[], bool]) -> None:
    """Wait until a call is over and raise what it ended with."""
    told = -1.0
    while True:
        if is_cancelled():
            raise Cancelled("Cancelled by request.")
        with call.changed:
            call.changed.wait_for(partial(call.has_news, told), _ASK_SECONDS)
            is_over, error, done = call.is_over, call.error, call.seconds_done
        if error is not None:
            raise error
        if is_over:
            on_progress(call.duration)
            return
        if done > told:
            told = done
            on_progress(done)


def _is_settled(keeper: Keeper) -> bool:
    """Whether a child that was wanted has either started or failed to."""
    return keeper.state in READY_STATES or keeper.start_error is not None
