"""The cage from inside: what a confined process can still do, and how it ends when it tries more."""

from __future__ import annotations

import json
import platform
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from batchscribe.decoding import sandbox
from batchscribe.decoding.sandbox import SandboxLimits, confine, sandbox_status
from batchscribe.decoding.seccomp import seccomp_filter
from batchscribe.errors import SandboxUnavailable

needs_sandbox = pytest.mark.skipif(not sandbox_status().is_complete, reason="the kernel lacks Landlock or seccomp")

#: Confines itself, then runs the snippet given, which may use ``attempt``; writes the outcomes to the output.
_PROBE = """
import ctypes, json, mmap, os, resource, signal, socket, sys, threading
from batchscribe.decoding.sandbox import SandboxLimits, confine
media_fd, output_fd, canary = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
outcomes = {}
def attempt(name, action):
    try:
        action()
        outcomes[name] = "done"
    except BaseException as error:
        outcomes[name] = type(error).__name__
confine(SandboxLimits(media_fd=media_fd, output_fd=output_fd, memory_bytes=1 << 29, cpu_seconds=1), require=True)
exec(sys.argv[4])
os.write(output_fd, json.dumps(outcomes).encode())
os._exit(0)
"""


def run_confined(snippet: str, folder: Path) -> tuple[int, dict[str, Any]]:
    """Run a snippet in a confined Python; return its exit code and what it found."""
    canary = folder / "canary.txt"
    canary.write_text("secret")
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as media:
        media.write(b"recording")
        media.flush()
        arguments = [str(media.fileno()), str(theirs.fileno()), str(canary), snippet]
        process = subprocess.run(
            [sys.executable, "-c", _PROBE, *arguments],
            pass_fds=[media.fileno(), theirs.fileno()],
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        theirs.close()
        told = ours.recv(1 << 16)
    return process.returncode, json.loads(told) if told else {}


@needs_sandbox
def test_a_confined_process_reads_its_recording_and_writes_its_output_only(tmp_path: Path) -> None:
    """Files, folders, other descriptors and the recording's own bytes are out of reach for writing and opening."""
    code, outcomes = run_confined(
        """
attempt("read the recording", lambda: os.pread(media_fd, 9, 0))
attempt("allocate", lambda: bytes(10_000_000))
attempt("open a file", lambda: open(canary))
attempt("create a file", lambda: open(canary + ".new", "w"))
attempt("list a folder", lambda: os.listdir("/"))
attempt("look at a file", lambda: os.stat(canary))
attempt("remove a file", lambda: os.unlink(canary))
attempt("write the recording", lambda: os.write(media_fd, b"x"))
attempt("write to standard output", lambda: os.write(1, b"x"))
attempt("make a pipe", lambda: os.pipe())
""",
        tmp_path,
    )
    assert code == 0
    assert outcomes.pop("read the recording") == outcomes.pop("allocate") == "done"
    assert set(outcomes.values()) == {"PermissionError"}
    assert (tmp_path / "canary.txt").read_text() == "secret"
    assert len(list(tmp_path.iterdir())) == 1


@needs_sandbox
def test_a_confined_process_has_no_network_no_processes_and_no_threads(tmp_path: Path) -> None:
    """Sockets, forks, threads and signals to others are refused."""
    code, outcomes = run_confined(
        """
attempt("socket", lambda: socket.socket())
attempt("datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("unix", lambda: socket.socket(socket.AF_UNIX))
attempt("fork", lambda: os.fork())
attempt("signal", lambda: os.kill(os.getppid(), 0))
attempt("thread", lambda: threading.Thread(target=print).start())
attempt("executable memory", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC))
attempt("more processor time", lambda: resource.setrlimit(resource.RLIMIT_CPU, (600, 600)))
""",
        tmp_path,
    )
    assert code == 0
    assert outcomes.pop("thread") == "RuntimeError"
    assert outcomes.pop("more processor time") == "ValueError"
    assert set(outcomes.values()) == {"PermissionError"}


@needs_sandbox
@pytest.mark.parametrize(
    "snippet",
    [
        pytest.param("os.execv('/bin/true', ['true'])", id="execve"),
        pytest.param("ctypes.CDLL(None).ptrace(0, 0, 0, 0)", id="ptrace"),
        pytest.param("ctypes.CDLL(None).unshare(0x10000000)", id="unshare"),
    ],
)
def test_what_only_an_intruder_would_call_kills_the_process(snippet: str, tmp_path: Path) -> None:
    """Running a program, tracing and leaving the namespaces end with SIGSYS and no second try."""
    code, _ = run_confined(snippet, tmp_path)
    assert code == -signal.SIGSYS


@needs_sandbox
def test_memory_beyond_the_limit_is_refused_and_processor_time_beyond_it_kills(tmp_path: Path) -> None:
    """Half a gibibyte was allowed, and one second."""
    code, outcomes = run_confined('attempt("a gibibyte", lambda: bytearray(1 << 30))', tmp_path)
    assert (code, outcomes) == (0, {"a gibibyte": "MemoryError"})
    code, _ = run_confined("while True: pass", tmp_path)
    assert code == -signal.SIGXCPU


def test_asking_for_the_status_confines_nobody(tmp_path: Path) -> None:
    """The caller still opens files and sockets afterwards, and the sentence names what is there."""
    status = sandbox_status()
    (tmp_path / "file").write_text("still free")
    socket.socket().close()
    assert status.sentence
    assert status.is_complete == (status.landlock_abi is not None and status.seccomp)


def test_a_required_sandbox_that_is_missing_stops_the_process_before_anything_is_confined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a kernel without Landlock ``require`` raises, with a sentence that says what is missing."""
    monkeypatch.setattr(sandbox, "_landlock_abi", lambda: None)
    with pytest.raises(SandboxUnavailable, match="Landlock"):
        confine(SandboxLimits(media_fd=3, output_fd=4), require=True)
    (Path(tempfile.gettempdir())).iterdir()


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_the_filter_answers_alike_on_every_processor(
    machine: str, architecture: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interpreted here, the program allows, refuses and kills what it says, whoever calls."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    column = ("x86_64", "aarch64").index(machine)
    code = seccomp_filter(media_fd=3, output_fd=4, process_id=77)
    allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000

    def answer(numbers: tuple[int, int], *arguments: int, arch: int = architecture) -> int:
        padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
        return interpret(code, struct.pack("<IIQ6Q", numbers[column], arch, 0, *padded))

    write, pread, mmap, openat, execve, tgkill = (1, 64), (17, 67), (9, 222), (257, 56), (59, 221), (234, 131)
    assert answer(write, 4) == allow
    assert answer(write, 3) == refuse
    assert answer(pread, 3) == allow
    assert answer(pread, 5) == refuse
    assert answer(mmap, 0, 4096, 3) == allow
    assert answer(mmap, 0, 4096, 7) == refuse
    assert answer(tgkill, 77, 77, 6) == allow
    assert answer(tgkill, 1, 1, 9) == refuse
    assert answer(openat) == refuse
    assert answer(execve) == kill
    assert answer(write, 4, arch=0x40000003) == kill
    if machine == "x86_64":
        assert answer((0x40000001, 0), 4) == kill


def interpret(code: bytes, data: bytes) -> int:
    """Run a classic BPF program of the five operations that the filter uses."""
    accumulator = position = 0
    while True:
        operation, if_true, if_false, operand = struct.unpack_from("=HBBI", code, position * 8)
        position += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, operand)[0]
        elif operation == 0x54:
            accumulator &= operand
        elif operation == 0x15:
            position += if_true if accumulator == operand else if_false
        elif operation == 0x35:
            position += if_true if accumulator >= operand else if_false
        else:
            assert operation == 0x06
            result: int = operand
            return result
