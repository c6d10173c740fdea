"""An engine that recognises nothing: it says what it is told, at the pace and with the mishaps that it is told.

For tests of whatever stands around an engine, BatchScribe's own and its users'::

    from batchscribe.engines.scripted import Act, ScriptedEngine, Script

    engine = ScriptedEngine(Script(seconds_per_audio_second=0.05))
    engine = ScriptedEngine(decide=lambda chunk: Act.CRASH if chunk.index == 3 else Act.SPEAK)
    engine = ScriptedEngine(say=lambda chunk: f"This is chunk {chunk.index} of {chunk.job_name}.")

It satisfies ``domain.ports.Engine`` and passes the same suite as the engine that listens.
"""

from __future__ import annotations

import threading
import time
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from batchscribe.domain.identification import LanguageWindow
from batchscribe.domain.languages import AWS_LANGUAGE_CODES, WHISPER_LANGUAGE_CODES
from batchscribe.domain.options import Capabilities, TranscriptionOptions, local_options
from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ
from batchscribe.domain.transcript import Item, ItemKind, Segment
from batchscribe.domain.voices import Voice, VoiceWindow, one_sided_vector
from batchscribe.errors import Cancelled, EngineClosed, EngineCrashed

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchscribe.domain.ports import ChunkAudio

#: The words that it chooses from unless it is told what to say.
WORDS = ("river", "stone", "house", "bird", "tree", "slowly", "quiet", "tall", "green", "nine", "watched", "old", "ran")
#: Those that it chooses from in Spanish: so its words tell in which language a chunk was recognised.
SPANISH_WORDS = ("rio", "piedra", "casa", "ave", "verde", "despacio", "quieto", "alto", "nueve", "miraba", "viejo")
#: The languages that it hears: a second whose samples are 0 or more together is in the first, another in the second.
LANGUAGES = ("en", "es")
_STEP_SECONDS = 0.2


class Act(Enum):
    """What becomes of a chunk."""

    #: Recognised, in the script's time.
    SPEAK = "speak"
    #: EngineCrashed, in the script's time.
    CRASH = "crash"
    #: Nothing, until the job is cancelled or the engine closed.
    HANG = "hang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How much the engine says and how long it takes."""

    words_per_second: float = 2.0
    #: Seconds that every chunk takes.
    seconds_per_chunk: float = 0.0
    #: Seconds more for each second of the chunk's audio.
    seconds_per_audio_second: float = 0.0


def speak(chunk: ChunkAudio) -> Act:  # noqa: ARG001 - the shape of every such decision
    """Let every chunk be recognised."""
    return Act.SPEAK


class ScriptedEngine:
    """Says what it is told; satisfies ``domain.ports.Engine``. Chunks of zeros are silence and give no words.

    The phrases of a vocabulary are the words that it chooses from.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        say: Callable[[ChunkAudio], str] | None = None,
        decide: Callable[[ChunkAudio], Act] = speak,
    ) -> None:
        """``say`` gives a chunk's text; without it the words follow from the chunk's audio and the phrases alone."""
        self.capabilities = Capabilities(
            language_codes=AWS_LANGUAGE_CODES | WHISPER_LANGUAGE_CODES,
            options=local_options(WHISPER_LANGUAGE_CODES),
        )
        self._script = script or Script()
        self._say = say
        self._decide = decide
        self._closed = threading.Event()

    def recognise(
        self,
        chunk: ChunkAudio,
        options: TranscriptionOptions,
        *,
        on_progress: Callable[[float], None],
        is_cancelled: Callable[[], bool],
    ) -> tuple[Segment, ...]:
        """Do with one chunk as :class:`Act` says. Raises Cancelled, EngineCrashed, EngineClosed."""
        act = self._decide(chunk)
        whole = self._script.seconds_per_chunk + self._script.seconds_per_audio_second * chunk.duration
        begun = time.monotonic()
        while True:
            if is_cancelled():
                raise Cancelled("Cancelled by request.")
            passed = time.monotonic() - begun
            if act is not Act.HANG and passed >= whole:
                break
            if act is Act.SPEAK:
                on_progress(chunk.duration * passed / whole)
            step = _STEP_SECONDS if act is Act.HANG else min(_STEP_SECONDS, whole - passed)
            if self._closed.wait(step):
                break
        if self._closed.is_set():
            raise EngineClosed("The engine has been closed.")
        if act is Act.CRASH:
            raise EngineCrashed("Recognition failed each time it was tried. The script says so.")
        on_progress(chunk.duration)
        if not any(chunk.pcm):
            return ()
        said = (
            self._words_from_audio(chunk, options.phrases or _words_in(options.language_code))
            if self._say is None
            else self._say(chunk)
        )
        return _segments(said.split(), chunk)

    def find_voices(self, chunk: ChunkAudio, *, is_cancelled: Callable[[], bool]) -> tuple[VoiceWindow, ...]:
        """Let two take turns, chunk by chunk. Raises Cancelled."""
        if is_cancelled():
            raise Cancelled("Cancelled by request.")
        if not any(chunk.pcm):
            return ()
        end = chunk.start + chunk.duration
        voice = Voice(turns=((chunk.start, end),), seconds=chunk.duration, vector=one_sided_vector(chunk.index % 2))
        return (VoiceWindow(start=chunk.start, end=end, voices=(voice,)),)

    def find_languages(
        self,
        chunk: ChunkAudio,
        *,
        by_stretch: bool,  # noqa: ARG002 - a second is both
        is_cancelled: Callable[[], bool],
    ) -> tuple[LanguageWindow, ...]:
        """Hear one of :data:`LANGUAGES` in each second that is not silent. Raises Cancelled."""
        if is_cancelled():
            raise Cancelled("Cancelled by request.")
        size = BYTES_PER_SAMPLE * SAMPLE_RATE_HERTZ
        seconds = {start // size: chunk.pcm[start : start + size] for start in range(0, len(chunk.pcm), size)}
        return tuple(
            LanguageWindow(
                start=chunk.start + second,
                end=chunk.start + second + len(pcm) / size,
                speech=len(pcm) / size,
                probabilities=_heard(pcm),
            )
            for second, pcm in seconds.items()
            if any(pcm)
        )

    def close(self) -> None:
        """Let every chunk that waits raise EngineClosed."""
        self._closed.set()

    def _words_from_audio(self, chunk: ChunkAudio, words: tuple[str, ...]) -> str:
        """Return as many of these words as the chunk has time for, chosen by its samples."""
        number = max(1, round(chunk.duration * self._script.words_per_second))
        seed = zlib.crc32(chunk.pcm)
        return " ".join(words[(seed >> i % 27) % len(words)] for i in range(number))


def _words_in(language_code: str) -> tuple[str, ...]:
    return SPANISH_WORDS if language_code.startswith("es") else WORDS


def _heard(pcm: bytes) -> dict[str, float]:
    """Return how probable each language is in some samples."""
    is_negative = sum(memoryview(pcm).cast("h")) < 0
    first, second = LANGUAGES[is_negative], LANGUAGES[not is_negative]
    return {first: 0.9, second: 0.1}


def _segments(words: list[str], chunk: ChunkAudio) -> tuple[Segment, ...]:
    """Spread words evenly over a chunk, as one segment."""
    if not words:
        return ()
    length = chunk.duration / len(words)
    items = tuple(
        Item(
            kind=ItemKind.PRONUNCIATION,
            content=word,
            start=chunk.start + i * length,
            end=chunk.start + (i + 1) * length,
            confidence=1.0,
        )
        for i, word in enumerate(words)
    )
    return (Segment(start=items[0].start, end=items[-1].end, items=items),)
