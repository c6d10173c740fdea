"""The process that forks decoder children: PyAV is imported once, and a child is ready in milliseconds.

Run as ``python -m batchscribe.decoding.forkserver DESCRIPTOR`` by ``cage.py``. It has one thread (so forking is sound),
never reads a recording itself, and ends when its parent does. See ``messages.py`` for the protocol.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import selectors
import signal
import socket
import sys
import wave
from typing import NoReturn

from batchscribe.decoding import mixdown
from batchscribe.decoding.decoder import decode
from batchscribe.decoding.messages import EXIT, HEADER, READY, REQUEST, Kind, encode_error
from batchscribe.decoding.opening import DescriptorReader
from batchscribe.decoding.sandbox import SandboxLimits, confine, cpu_seconds_for, die_with_parent, limit_cpu_seconds
from batchscribe.errors import DecoderCrashed, DecoderLimit, MediaDamaged, RecordingFailed, SandboxUnavailable

_MEDIA_FD, _OUTPUT_FD = 3, 4
#: Seconds after which the server looks whether its parent still lives, should the socket not have told.
_PARENT_CHECK_SECONDS = 5.0
_NICENESS = 5


class ForkServer:
    """Forks one child a request, reaps it and reports its end."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._parent = os.getppid()
        self._selector = selectors.DefaultSelector()
        self._status_by_child: dict[int, socket.socket] = {}

    def serve(self) -> None:
        """Serve until the parent shuts the control socket or ends."""
        wake_reader, wake_writer = socket.socketpair()
        for each in (wake_reader, wake_writer):
            each.setblocking(False)
        signal.set_wakeup_fd(wake_writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(wake_reader, selectors.EVENT_READ)
        self._control.sendall(READY)
        while os.getppid() == self._parent:
            for key, _ in self._selector.select(_PARENT_CHECK_SECONDS):
                if key.fileobj is self._control:
                    if not self._take_request():
                        return
                elif key.fileobj is wake_reader:
                    wake_reader.recv(4096)
                else:
                    self._kill(key.data)
            self._reap()

    def _take_request(self) -> bool:
        """Fork a child for one request; False when the parent has gone."""
        request, descriptors, _, _ = socket.recv_fds(self._control, REQUEST.size, 3)
        if len(request) < REQUEST.size or len(descriptors) != 3:
            return False
        max_seconds, memory_bytes, require_sandbox, channels_apart = REQUEST.unpack(request)
        media_fd, output_fd, status_fd = descriptors
        server = os.getpid()
        try:
            child = os.fork()
        except OSError:
            # Too many processes or too little memory just now: the requester sees its sockets close.
            for fd in descriptors:
                os.close(fd)
            return True
        if child == 0:
            die_with_parent(server)
            _run_child(
                media_fd,
                output_fd,
                max_seconds,
                memory_bytes,
                require_sandbox=require_sandbox,
                channels_apart=channels_apart,
            )
        os.close(media_fd)
        os.close(output_fd)
        status = socket.socket(fileno=status_fd)
        self._status_by_child[child] = status
        self._selector.register(status, selectors.EVENT_READ, data=child)
        return True

    def _kill(self, child: int) -> None:
        """Kill a child that the parent has given up. It is not reaped yet, so the number is still its own."""
        self._selector.unregister(self._status_by_child[child])
        os.kill(child, signal.SIGKILL)

    def _reap(self) -> None:
        while self._status_by_child:
            child, wait_status = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            with self._status_by_child.pop(child) as status:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(status)
                # The parent may have ended, or no longer wants to know.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    status.sendall(EXIT.pack(wait_status))


def _run_child(
    media_fd: int,
    output_fd: int,
    max_seconds: float,
    memory_bytes: int,
    *,
    require_sandbox: bool,
    channels_apart: bool,
) -> NoReturn:
    """Decode in the forked child and end it. Its descriptors are three of nothing, the recording and the output."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    media_fd, output_fd = _arrange_descriptors(media_fd, output_fd)
    os.nice(_NICENESS)
    size_bytes = os.fstat(media_fd).st_size

    def emit(kind: Kind, payload: bytes) -> None:
        _write_all(output_fd, HEADER.pack(kind, len(payload)) + payload)

    try:
        limits = SandboxLimits(
            media_fd=media_fd,
            output_fd=output_fd,
            memory_bytes=memory_bytes,
            cpu_seconds=cpu_seconds_for(max_seconds),
        )
        confine(limits, require=require_sandbox)
        decode(
            DescriptorReader(media_fd, size_bytes),
            max_seconds=max_seconds,
            emit=emit,
            on_duration=lambda seconds: limit_cpu_seconds(cpu_seconds_for(seconds)),
            channels_apart=channels_apart,
        )
        emit(Kind.DONE, b"")
    except (RecordingFailed, SandboxUnavailable) as error:
        emit(Kind.ERROR, encode_error(error))
    except MemoryError:
        emit(Kind.ERROR, encode_error(DecoderLimit("Decoding this recording takes more memory than is allowed.")))
    except BrokenPipeError:
        pass
    except Exception as error:  # noqa: BLE001 the process's edge: whatever broke, the parent gets a sentence and no trace
        emit(
            Kind.ERROR, encode_error(DecoderCrashed(f"The decoder failed on this recording ({type(error).__name__})."))
        )
    finally:
        os._exit(0)


def _arrange_descriptors(media_fd: int, output_fd: int) -> tuple[int, int]:
    """Keep the recording and the output, give 0 to 2 to nothing, and close all that is the server's."""
    null_fd = os.open(os.devnull, os.O_RDWR)
    kept = [os.dup(fd) for fd in (null_fd, media_fd, output_fd)]
    # Copies above the targets first, since the targets may be among the sources.
    high = [os.dup2(fd, 100 + index) for index, fd in enumerate(kept)]
    for standard in (0, 1, 2):
        os.dup2(high[0], standard)
    os.dup2(high[1], _MEDIA_FD)
    os.dup2(high[2], _OUTPUT_FD)
    os.closerange(_OUTPUT_FD + 1, 1 << 16)
    return _MEDIA_FD, _OUTPUT_FD


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _warm_up() -> None:
    """Decode a clip and refuse a wrong one: PyAV imports parts of itself, and FFmpeg sets up tables, at first use."""
    clip = io.BytesIO()
    with wave.open(clip, "wb") as recording:
        recording.setparams((2, 2, 44_100, 0, "NONE", ""))
        recording.writeframes(bytes(4 * 4410))
    for content in (clip.getvalue(), clip.getvalue()[:20]):
        with contextlib.suppress(MediaDamaged):
            decode(io.BytesIO(content), max_seconds=60, emit=lambda *_: None, on_duration=lambda _: None)
    mixdown.warm_up()


def main() -> None:
    """Warm up, then serve on the control socket whose descriptor is the first argument."""
    # A service manager signals the whole group; a decode under way is ended by its worker, not by the signal.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    _warm_up()
    # Objects alive now never change: collecting them in children would only copy pages.
    gc.collect()
    gc.freeze()
    with contextlib.suppress(BrokenPipeError):
        ForkServer(control).serve()


if __name__ == "__main__":
    main()
