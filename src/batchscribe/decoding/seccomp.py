"""The system calls that a decoder child may make, as a seccomp filter assembled here.

Sources: Linux's ``Documentation/userspace-api/seccomp_filter.rst`` and ``include/uapi/linux/{filter,seccomp,audit}.h``;
call numbers from ``arch/x86/entry/syscalls/syscall_64.tbl`` and ``include/uapi/asm-generic/unistd.h``.
"""

from __future__ import annotations

import platform
import struct
import sys
from dataclasses import dataclass

#: ``AUDIT_ARCH_*`` by ``platform.machine()``; also the column of the tables below.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

#: What a single-threaded Python that computes and allocates needs: (x86_64, aarch64).
_ALLOWED = {
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrusage": (98, 165),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "restart_syscall": (219, 128),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}

#: Allowed only with one argument as stated by :func:`seccomp_filter`.
_GUARDED = {
    "pread64": (17, 67),
    "write": (1, 64),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
}

#: What no decoder ever asks for, broken or not: whoever does has taken the process over, and gets no second try.
_FATAL = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
}

_ALLOW, _REFUSE, _KILL_PROCESS = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # the 1 is EPERM
_LOAD, _AND, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_X32_CALLS = 0x40000000
_PROT_EXEC = 4


@dataclass(frozen=True, slots=True)
class _Guard:
    """One argument's low 32 bits, masked, must equal a value. Every guarded argument is a C int or lower flag bits."""

    argument: int
    mask: int
    value: int


def is_known_architecture() -> bool:
    """Whether the tables cover this machine's 64-bit processor."""
    return sys.maxsize > 2**32 and platform.machine() in _ARCHITECTURES


def seccomp_filter(*, media_fd: int, output_fd: int, process_id: int) -> bytes:
    """Return the filter as an array of ``struct sock_filter`` for this machine.

    Allowed: computing, memory that is not executable, reading ``media_fd``, writing ``output_fd``, signalling itself
    and lowering its own limits. :data:`_FATAL` kills. All else answers EPERM rather than kills, since FFmpeg, glibc and
    Python ask for innocent things (a locale's file, the number of processors) and go on well without.
    """
    architecture, column = _ARCHITECTURES[platform.machine()]
    guards = {
        "pread64": _Guard(0, 0xFFFFFFFF, media_fd),
        "write": _Guard(0, 0xFFFFFFFF, output_fd),
        "mmap": _Guard(2, _PROT_EXEC, 0),
        "mprotect": _Guard(2, _PROT_EXEC, 0),
        "tgkill": _Guard(0, 0xFFFFFFFF, process_id),
        "prlimit64": _Guard(0, 0xFFFFFFFF, 0),
    }
    code = [_step(_LOAD, _ARCHITECTURE_OFFSET), _step(_JUMP_EQUAL, architecture, 1, 0), _step(_RETURN, _KILL_PROCESS)]
    code.append(_step(_LOAD, _NUMBER_OFFSET))
    if column == 0:
        code += [_step(_JUMP_AT_LEAST, _X32_CALLS, 0, 1), _step(_RETURN, _KILL_PROCESS)]
    for numbers in _ALLOWED.values():
        code += [_step(_JUMP_EQUAL, numbers[column], 0, 1), _step(_RETURN, _ALLOW)]
    for name, guard in guards.items():
        code += [
            _step(_JUMP_EQUAL, _GUARDED[name][column], 0, 5),
            _step(_LOAD, _ARGUMENTS_OFFSET + 8 * guard.argument),
            _step(_AND, guard.mask),
            _step(_JUMP_EQUAL, guard.value, 0, 1),
            _step(_RETURN, _ALLOW),
            _step(_RETURN, _REFUSE),
        ]
    for numbers in _FATAL.values():
        code += [_step(_JUMP_EQUAL, numbers[column], 0, 1), _step(_RETURN, _KILL_PROCESS)]
    code.append(_step(_RETURN, _REFUSE))
    return b"".join(code)


def _step(operation: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one ``struct sock_filter``: operation, two relative jumps, operand."""
    return struct.pack("=HBBI", operation, if_true, if_false, operand)
