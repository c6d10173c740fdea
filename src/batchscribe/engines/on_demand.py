"""An engine that is made when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable

from batchscribe.domain.identification import LanguageWindow
from batchscribe.domain.options import Capabilities, TranscriptionOptions
from batchscribe.domain.ports import ChunkAudio, Engine
from batchscribe.domain.transcript import Segment
from batchscribe.domain.voices import VoiceWindow


class EngineOnDemand:
    """An :class:`~batchscribe.domain.ports.Engine` for workers whose jobs all go elsewhere, but for some from before.

    Without it those would wait for ever; with an engine made at once, each worker would load a model for nothing.
    """

    def __init__(self, make: Callable[[], Engine], capabilities: Capabilities) -> None:
        """Make nothing yet."""
        self.capabilities = capabilities
        self._make = make
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def recognise(
        self,
        chunk: ChunkAudio,
        options: TranscriptionOptions,
        *,
        on_progress: Callable[[float], None],
        is_cancelled: Callable[[], bool],
    ) -> tuple[Segment, ...]:
        """Recognise one chunk, as the engine does."""
        return self._made().recognise(chunk, options, on_progress=on_progress, is_cancelled=is_cancelled)

    def find_voices(self, chunk: ChunkAudio, *, is_cancelled: Callable[[], bool]) -> tuple[VoiceWindow, ...]:
        """Tell voices apart, as the engine does."""
        return self._made().find_voices(chunk, is_cancelled=is_cancelled)

    def find_languages(
        self, chunk: ChunkAudio, *, by_stretch: bool, is_cancelled: Callable[[], bool]
    ) -> tuple[LanguageWindow, ...]:
        """Say which languages may be spoken, as the engine does."""
        return self._made().find_languages(chunk, by_stretch=by_stretch, is_cancelled=is_cancelled)

    def close(self) -> None:
        """End the engine, where there is one."""
        with self._lock:
            if self._engine is not None:
                self._engine.close()

    def _made(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = self._make()
            return self._engine
