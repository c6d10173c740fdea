"""One engine child process, as its parent holds it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from batchscribe.engines.framing import Header, receive_frame, send_frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from batchscribe.engines.recogniser import RecogniserChoice

#: One thread a child: OpenMP over more makes the decoder slower. Nothing is fetched, and nothing is told to anybody:
#: onnxruntime collects telemetry unless it is told not to.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    # Its table of whole phrases is 40 MB, and favouring compares signs.
    "PYPINYIN_NO_PHRASES": "true",
}
#: How long the other side may stall in the middle of a frame.
_FRAME_SECONDS = 60.0


class ProcessDied(Exception):
    """The child is gone or beyond use; ``str()`` says how it ended."""


class EngineProcess:
    """A running child. Used by one thread, which must outlive it: Linux kills the child when that thread ends."""

    def __init__(self, choice: RecogniserChoice, environment: Mapping[str, str]) -> None:
        """Start the child and send it the recogniser to build. Raises ProcessDied when there is no starting it."""
        ours, theirs = socket.socketpair()
        ours.settimeout(_FRAME_SECONDS)
        self._channel = ours
        # The child finds the package where this process found it; nothing else of our environment is its business.
        paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path if path)
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-P", "-m", "batchscribe.engines.child", str(os.getpid())],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd="/",
                env={**_ENVIRONMENT, "PYTHONPATH": paths, **environment},
                # A session of its own: Ctrl-C at the terminal is the parent's to answer.
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise ProcessDied(f"The engine process cannot be started: {error.strerror}.") from error
        finally:
            theirs.close()
        self.send({"name": choice.name, "arguments": choice.arguments})

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def send(self, header: Header, body: Iterable[bytes | memoryview] = ()) -> None:
        """Send one frame. Raises ProcessDied."""
        try:
            send_frame(self._channel, header, body)
        except OSError as error:
            raise self._died() from error

    def receive(self, timeout_seconds: float) -> Header | None:
        """Return the child's next answer, or None when there is none within this time. Raises ProcessDied."""
        try:
            ready = select.poll()
            ready.register(self._channel, select.POLLIN)
            if not ready.poll(timeout_seconds * 1000):
                return None
            header, _ = receive_frame(self._channel)
        except (EOFError, OSError, ValueError) as error:
            raise self._died() from error
        return header

    def end(self) -> None:
        """Kill the child and wait for its end. Harmless when it is gone already, and twice."""
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def _died(self) -> ProcessDied:
        """Make an end of the child and say how it came."""
        try:
            # Its channel breaks a moment before it can be waited for.
            status = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self.end()
            return ProcessDied("The engine process stopped answering.")
        self.end()
        if status < 0:
            return ProcessDied(f"The engine process was ended by signal {-status} ({signal.strsignal(-status)}).")
        return ProcessDied(f"The engine process ended with status {status}.")
