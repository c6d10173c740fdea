"""The cage of a decoder child: Landlock, seccomp and resource limits, straight from the kernel.

Sources: ``Documentation/userspace-api/landlock.rst`` and ``include/uapi/linux/landlock.h`` (ABI 1 to 7), prctl(2),
seccomp(2), setrlimit(2). Landlock and seccomp need no privilege; where the kernel lacks them a child runs with the
resource limits alone, unless the caller requires them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass

from batchscribe.decoding.seccomp import is_known_architecture, seccomp_filter
from batchscribe.errors import SandboxUnavailable

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_SECCOMP_GET_ACTION_AVAIL = 2
_SECCOMP_RET_KILL_PROCESS = 0x80000000
_SECCOMP_NUMBER = {"x86_64": 317, "aarch64": 277}
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_CREATE_RULESET_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """What a confined process keeps."""

    #: The only descriptor it may read, and the only one it may write.
    media_fd: int
    output_fd: int
    #: Address space, which bounds memory.
    memory_bytes: int = 1 << 30
    #: Processor seconds; SIGXCPU ends the process there.
    cpu_seconds: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStatus:
    """What this kernel offers."""

    #: Version of Landlock's interface, or None where it is missing or switched off.
    landlock_abi: int | None
    seccomp: bool
    #: The same for a person.
    sentence: str

    @property
    def is_complete(self) -> bool:
        """Whether both are there."""
        return self.landlock_abi is not None and self.seccomp


def sandbox_status() -> SandboxStatus:
    """Find out what the kernel offers; the caller stays unconfined."""
    landlock_abi = _landlock_abi()
    has_seccomp = _has_seccomp()
    missing = [name for name, there in (("Landlock", landlock_abi is not None), ("seccomp", has_seccomp)) if not there]
    if missing:
        sentence = f"Recordings are decoded without {' and '.join(missing)}, which this system does not offer."
    else:
        sentence = f"Recordings are decoded under Landlock (ABI {landlock_abi}) and seccomp."
    return SandboxStatus(landlock_abi=landlock_abi, seccomp=has_seccomp, sentence=sentence)


def confine(limits: SandboxLimits, *, require: bool = False) -> SandboxStatus:
    """Confine the calling process for good. It must have one thread, and have imported all that it will need.

    Afterwards it opens no file, socket or process and starts no thread; see :func:`seccomp_filter` for what is left.
    Raises SandboxUnavailable when ``require`` is set and the kernel lacks Landlock or seccomp, and in any case when the
    kernel offers one and then refuses it.
    """
    status = sandbox_status()
    if require and not status.is_complete:
        raise SandboxUnavailable(status.sentence + " Set BATCHSCRIBE_REQUIRE_SANDBOX to false to accept that.")
    try:
        if sys.platform == "linux":
            _prctl(_PR_SET_NO_NEW_PRIVS, 1)
            _prctl(_PR_SET_DUMPABLE, 0)
        if status.landlock_abi is not None:
            _restrict_with_landlock(status.landlock_abi)
        _limit_resources(limits)
        if status.seccomp:
            _restrict_with_seccomp(limits)
    except OSError as error:
        raise SandboxUnavailable(f"The kernel offers a sandbox but refused it: {error.strerror}.") from error
    return status


def cpu_seconds_for(audio_seconds: float) -> int:
    """Return how many processor seconds decoding may take: some 50 times what the slowest codec needs."""
    return round(60 + 0.05 * audio_seconds)


def limit_cpu_seconds(seconds: int) -> None:
    """Set the calling process's limit of processor seconds; it can only be lowered."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    # Between soft and hard limit lies the time in which SIGXCPU names the cause.
    wanted = seconds + 5
    ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (min(seconds, ceiling), ceiling))


def die_with_parent(parent_process_id: int) -> None:
    """Have the kernel kill the calling process when the thread that forked it ends. Does nothing outside Linux."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_process_id:
        os._exit(1)


def _limit_resources(limits: SandboxLimits) -> None:
    limit_cpu_seconds(limits.cpu_seconds)
    ceilings = {
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_AS: limits.memory_bytes,
    }
    for kind, ceiling in ceilings.items():
        # macOS refuses some of these; Linux none, since each lowers.
        with contextlib.ExitStack() as stack:
            if sys.platform != "linux":
                stack.enter_context(contextlib.suppress(ValueError, OSError))
            resource.setrlimit(kind, (ceiling, ceiling))


def _landlock_abi() -> int | None:
    if sys.platform != "linux":
        return None
    try:
        return _system_call(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    except OSError:
        return None


def _restrict_with_landlock(abi: int) -> None:
    """Handle every right that the kernel knows and grant none: everything is denied."""
    # Thirteen rights in ABI 1, then REFER in 2, TRUNCATE in 3 and IOCTL_DEV in 5.
    files = (1 << 13 + (abi >= 2) + (abi >= 3) + (abi >= 5)) - 1
    network = 0b11 if abi >= 4 else 0
    scopes = 0b11 if abi >= 6 else 0
    attributes = (ctypes.c_uint64 * 3)(files, network, scopes)
    ruleset = _system_call(_LANDLOCK_CREATE_RULESET, ctypes.addressof(attributes), ctypes.sizeof(attributes), 0)
    try:
        _system_call(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _has_seccomp() -> bool:
    if sys.platform != "linux" or not is_known_architecture():
        return False
    action = ctypes.c_uint32(_SECCOMP_RET_KILL_PROCESS)
    try:
        number = _SECCOMP_NUMBER[os.uname().machine]
        _system_call(number, _SECCOMP_GET_ACTION_AVAIL, 0, ctypes.addressof(action))
    except OSError:
        return False
    return True


class _SocketFilterProgram(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _restrict_with_seccomp(limits: SandboxLimits) -> None:
    code = seccomp_filter(media_fd=limits.media_fd, output_fd=limits.output_fd, process_id=os.getpid())
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _SocketFilterProgram(len(code) // 8, ctypes.addressof(buffer))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def _prctl(option: int, *arguments: int) -> None:
    _call("prctl", option, *arguments, *[0] * (4 - len(arguments)))


def _system_call(number: int, *arguments: int | None) -> int:
    return _call("syscall", number, *arguments)


def _call(function: str, *arguments: int | None) -> int:
    """Call a function of the C library; raises OSError where it answers -1."""
    library = ctypes.CDLL(None, use_errno=True)
    entry = getattr(library, function)
    entry.restype = ctypes.c_long
    answer: int = entry(*[None if value is None else ctypes.c_ulong(value) for value in arguments])
    if answer == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer
