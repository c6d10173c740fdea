"""A decoder and an engine in virtual time, whose children can die."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from simulated_store import Recording, read_recording
from simulated_world import World

from batchscribe.domain.identification import LanguageWindow
from batchscribe.domain.media import MediaInfo
from batchscribe.domain.options import Capabilities, TranscriptionOptions
from batchscribe.domain.ports import ChunkAudio
from batchscribe.domain.transcript import Segment
from batchscribe.domain.voices import VoiceWindow
from batchscribe.engines.scripted import ScriptedEngine
from batchscribe.errors import Cancelled, DecoderCrashed, EngineCrashed, MediaDamaged


@dataclass
class SimulatedAudio:
    """A recording while it is decoded."""

    world: World
    recording: Recording
    info: MediaInfo
    warnings: list[str]
    channels: int = 1

    def blocks(self) -> Iterator[bytes]:
        """Yield PCM. Raises what a damaged recording or a killed child raises."""
        pcm = self.recording.pcm()
        for start in range(0, len(pcm), 1 << 15):
            self.world.sleep(0.005)
            if self.world.chance(self.world.faults.decoder_crash):
                self.world.note("the decoder is killed")
                raise DecoderCrashed("The decoder died.")
            if self.recording.kind == "damaged" and start >= len(pcm) // 2:
                raise MediaDamaged("The recording is damaged.")
            yield pcm[start : start + (1 << 15)]


class SimulatedDecoder:
    """Reads :class:`Recording` again, in virtual time."""

    def __init__(self, world: World) -> None:
        self._world = world

    @contextmanager
    def open(self, media: BinaryIO, *, channels_apart: bool = False) -> Iterator[SimulatedAudio]:  # noqa: ARG002
        """Begin to decode; headers lie about the length now and then."""
        self._world.point("before decoding")
        recording = read_recording(media.read())
        info = MediaInfo(
            container="mp3",
            codec="mp3float",
            sample_rate_hertz=44_100,
            channels=1,
            declared_duration=None if recording.number % 2 else recording.seconds * 2,
        )
        yield SimulatedAudio(self._world, recording, info, [])

    def close(self) -> None:
        """Do nothing."""


class SimulatedEngine:
    """The scripted engine in virtual time, with processes that can die."""

    def __init__(
        self, world: World, *, poison: Callable[[ChunkAudio], bool], extra_seconds: Callable[[ChunkAudio], float]
    ) -> None:
        self._world = world
        self._poison = poison
        self._extra_seconds = extra_seconds
        self._scripted = ScriptedEngine()
        self.capabilities: Capabilities = self._scripted.capabilities

    def recognise(
        self,
        chunk: ChunkAudio,
        options: TranscriptionOptions,
        *,
        on_progress: Callable[[float], None],
        is_cancelled: Callable[[], bool],
    ) -> tuple[Segment, ...]:
        """Recognise one chunk. Raises Cancelled, EngineCrashed."""
        self._world.note(f"engine begins {chunk.job_name} chunk {chunk.index}")
        for step in range(1, 4):
            self._world.sleep(chunk.duration * self._world.dice.uniform(0.1, 1.0) + self._extra_seconds(chunk) / 3)
            if is_cancelled():
                raise Cancelled("Cancelled by request.")
            on_progress(chunk.duration * step / 3)
        if self._poison(chunk) or self._world.chance(self._world.faults.engine_crash):
            self._world.note("the engine dies")
            raise EngineCrashed("Recognition failed each time it was tried.")
        return self._scripted.recognise(chunk, options, on_progress=lambda _: None, is_cancelled=lambda: False)

    def find_voices(self, chunk: ChunkAudio, *, is_cancelled: Callable[[], bool]) -> tuple[VoiceWindow, ...]:
        """Tell voices apart as the scripted engine does."""
        return self._scripted.find_voices(chunk, is_cancelled=is_cancelled)

    def find_languages(
        self, chunk: ChunkAudio, *, by_stretch: bool, is_cancelled: Callable[[], bool]
    ) -> tuple[LanguageWindow, ...]:
        """Hear languages as the scripted engine does, in time, and not always."""
        self._world.sleep(chunk.duration * self._world.dice.uniform(0.1, 1.0))
        if self._world.chance(self._world.faults.engine_crash):
            self._world.note("the engine dies")
            raise EngineCrashed("Recognition failed each time it was tried.")
        return self._scripted.find_languages(chunk, by_stretch=by_stretch, is_cancelled=is_cancelled)

    def close(self) -> None:
        """Do nothing."""
