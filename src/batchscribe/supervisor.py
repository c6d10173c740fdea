"""``batchscribe serve``: one api and one worker process, kept running."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from types import FrameType

from batchscribe.app import prepare
from batchscribe.settings import Settings, to_environment

logger = logging.getLogger(__name__)

#: How the command line ends where it cannot start as it is configured; starting again would not help.
CONFIGURATION_EXIT_CODE = 2
_LOOK_SECONDS = 0.1
_SHORTEST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 10.0
#: A process that ran this long is started again at once.
_HEALTHY_SECONDS = 30.0
_STOP_SECONDS = 10.0


class _Child:
    """One half of the server, started again whenever it ends by itself."""

    def __init__(self, command: str, environment: dict[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._wait_seconds = 0.0
        self._start_at = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def look(self) -> int | None:
        """Start the process where it is due; return its exit code where it must not be started again."""
        now = time.monotonic()
        if self.process is None:
            if now >= self._start_at:
                self._start_at = now
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "batchscribe", self._command],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    # A Ctrl-C at the terminal reaches the supervisor alone; it tells the children in order.
                    start_new_session=True,
                )
            return None
        code = self.process.poll()
        if code is None:
            return None
        if code == CONFIGURATION_EXIT_CODE:
            return code
        is_healthy = now - self._start_at > _HEALTHY_SECONDS
        self._wait_seconds = (
            _SHORTEST_WAIT_SECONDS
            if is_healthy
            else min(max(_SHORTEST_WAIT_SECONDS, self._wait_seconds * 2), _LONGEST_WAIT_SECONDS)
        )
        logger.warning("%s ended with %s; starting it again in %.1f s", self._command, code, self._wait_seconds)
        self.process, self._start_at = None, now + self._wait_seconds
        return None

    def stop(self, number: signal.Signals) -> None:
        """Send a signal to the process, where there is one."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


def serve(settings: Settings) -> int:
    """Run an api and a worker until SIGINT or SIGTERM; return the exit code.

    Raises ConfigurationError before anything is started when the settings cannot work.
    """
    prepare(settings)
    environment = os.environ | to_environment(settings.model_copy(update={"supervisor_pid": os.getpid()}))
    children = [_Child(command, environment) for command in ("worker", "api")]
    is_stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_stopping
        is_stopping = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    code = 0
    while not is_stopping:
        for child in children:
            code = child.look() or 0
            if code:
                is_stopping = True
                break
        time.sleep(_LOOK_SECONDS)
    _stop_all(children)
    return code


def _stop_all(children: list[_Child]) -> None:
    """End every child, in peace where it listens."""
    for child in children:
        child.stop(signal.SIGTERM)
    until = time.monotonic() + _STOP_SECONDS
    for child in children:
        if child.process is None:
            continue
        try:
            child.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.stop(signal.SIGKILL)
            child.process.wait()
