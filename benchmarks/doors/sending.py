"""What the measurements of the doors send, and what they all need."""

from __future__ import annotations

import io
import resource
import statistics
import wave
from collections.abc import Sequence

import psutil

from benchmarks.running import RunningServer


def silence(seconds: int) -> bytes:
    """Return a recording in which nobody speaks."""
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000 * seconds))
    return written.getvalue()


WAV = silence(20)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the middle value and the 99th of a hundred."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


def api_process(running: RunningServer) -> psutil.Process:
    """Return the process that serves HTTP."""
    return next(each for each in running.processes() if "api" in each.cmdline()[-1:])


def allow_many_files() -> None:
    """Let this process have as many sockets as the system allows it."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
