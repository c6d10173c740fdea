"""What the tests of the pool share: engines with scripted children, audio for them, and what they wrote down."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ, ChunkAudio
from batchscribe.engines.keeper import ChildLimits
from batchscribe.engines.pool import LocalEngine
from batchscribe.engines.scripted_recogniser import scripted_choice

#: A value of samples and for how many seconds: a word of the scripted recogniser.
Stretch = tuple[int, float]
#: Values that a test gives an act of their own.
POISON, LOOP = 666, 667


@contextmanager
def engine_maker() -> Iterator[Callable[..., LocalEngine]]:
    """Give a function that makes engines with scripted children; all are closed in the end."""
    with ExitStack() as stack:

        def make(*, processes: int = 1, limits: ChildLimits | None = None, **script: Any) -> LocalEngine:
            engine = LocalEngine(scripted_choice(**script), processes=processes, limits=limits)
            stack.callback(engine.close)
            return engine

        yield make


def audio(*stretches: Stretch) -> bytes:
    """Return samples in which the scripted recogniser hears these."""
    return b"".join(np.full(round(length * SAMPLE_RATE_HERTZ), value, "<i2").tobytes() for value, length in stretches)


def recognise(
    engine: LocalEngine,
    *stretches: Stretch,
    job_name: str = "job",
    priority: float = 0.0,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Return the words that an engine hears in these."""
    chunk = ChunkAudio(job_name=job_name, index=0, start=0.0, pcm=audio(*stretches), priority=priority)
    segments = engine.recognise(chunk, TranscriptionOptions(), on_progress=lambda _: None, is_cancelled=is_cancelled)
    return [item.content for segment in segments for item in segment.items]


def entries(diary: Path) -> list[dict[str, Any]]:
    """Return what the children wrote down, batch by batch."""
    return [json.loads(line) for line in diary.read_text().splitlines()] if diary.exists() else []


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came to pass"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether a process lives."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
