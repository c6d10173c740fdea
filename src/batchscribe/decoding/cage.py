"""The decoder as the rest of BatchScribe knows it: :class:`CagedDecoder`, which starts and minds the processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

from batchscribe.decoding.caged_audio import CRASHED, CagedAudio, ServerLost
from batchscribe.decoding.messages import READY, REQUEST
from batchscribe.decoding.sandbox import SandboxStatus, sandbox_status
from batchscribe.errors import MediaEmpty, SandboxUnavailable

_START_SECONDS = 60.0
_END_SECONDS = 5.0


class CagedDecoder:
    """Decodes recordings in confined children of a fork server; satisfies :class:`batchscribe.domain.ports.Decoder`.

    The fork server starts with the first recording, and anew when it has died. Any thread may use it.
    Raises SandboxUnavailable at once when ``require_sandbox`` is set and the kernel lacks Landlock or seccomp.

    ``max_seconds`` is the longest recording accepted, ``memory_bytes`` a child's address space, ``stall_seconds`` how
    long a child may work without delivering anything; the time that a reader takes between blocks does not count.
    """

    def __init__(
        self,
        *,
        max_seconds: float = 4 * 3600,
        memory_bytes: int = 1 << 30,
        require_sandbox: bool = False,
        stall_seconds: float = 60.0,
    ) -> None:
        self.sandbox: SandboxStatus = sandbox_status()
        if require_sandbox and not self.sandbox.is_complete:
            raise SandboxUnavailable(self.sandbox.sentence + " Set BATCHSCRIBE_REQUIRE_SANDBOX=false to accept that.")
        self._memory_bytes, self._require_sandbox = memory_bytes, require_sandbox
        self._max_seconds, self._stall_seconds = max_seconds, stall_seconds
        self._lock = threading.Lock()
        self._server: _Server | None = None

    @contextmanager
    def open(self, media: BinaryIO, *, channels_apart: bool = False) -> Iterator[CagedAudio]:
        """Begin to decode; see :meth:`batchscribe.domain.ports.Decoder.open`. The media's own offset is not moved."""
        if not os.fstat(media.fileno()).st_size:
            raise MediaEmpty("The recording is empty: it has no bytes. Upload it again.")
        try:
            audio = self._begin(media, channels_apart=channels_apart)
        except ServerLost:
            # The server was killed, not this recording's child: a new one deserves a try.
            audio = self._begin(media, channels_apart=channels_apart)
        try:
            yield audio
        finally:
            audio.end()

    def close(self) -> None:
        """End the fork server and all its children. A later :meth:`open` starts anew."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def _begin(self, media: BinaryIO, *, channels_apart: bool) -> CagedAudio:
        request = REQUEST.pack(self._max_seconds, self._memory_bytes, self._require_sandbox, channels_apart)
        with ExitStack() as on_failure, ExitStack() as theirs:
            output, output_there = socket.socketpair()
            status, status_there = socket.socketpair()
            for each in (output, status):
                on_failure.enter_context(each)
            for each in (output_there, status_there):
                theirs.enter_context(each)
            descriptors = [media.fileno(), output_there.fileno(), status_there.fileno()]
            with self._lock:
                if self._server is None or not self._server.send(request, descriptors):
                    self._server = self._started_anew()
                    if not self._server.send(request, descriptors):
                        raise ServerLost(CRASHED)
            theirs.close()
            audio = CagedAudio(
                output,
                status,
                max_seconds=self._max_seconds,
                stall_seconds=self._stall_seconds,
                channels_apart=channels_apart,
            )
            on_failure.pop_all()
            return audio

    def _started_anew(self) -> _Server:
        if self._server is not None:
            self._server.close()
            self._server = None
        return _Server()


class _Server:
    """The parent's handle of one fork server.

    It ends when the control socket does, so with this process. A death signal (PR_SET_PDEATHSIG) would not do:
    it comes when the thread that started the server ends, and that may be any thread.
    """

    def __init__(self) -> None:
        """Start it and wait until it is ready. Raises ServerLost where it ends instead."""
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "batchscribe.decoding.forkserver", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # It finds what this process finds, and no more: passwords in the environment stay here.
                env={"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
                # Signals from a terminal are for the worker, which ends its decodes in good order.
                start_new_session=True,
            )
        self._control.settimeout(_START_SECONDS)
        try:
            answer = self._control.recv(len(READY))
        except OSError:
            answer = b""
        if answer != READY:
            self.close()
            raise ServerLost("The decoder could not be started on this machine.")

    def send(self, request: bytes, descriptors: list[int]) -> bool:
        """Ask for a child; False where the server is gone."""
        try:
            return socket.send_fds(self._control, [request], descriptors) == len(request)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            return False

    def close(self) -> None:
        """End it and, through the kernel, its children."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
