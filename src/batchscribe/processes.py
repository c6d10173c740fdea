"""What every process of ours does about its parent and its signals."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
#: Of glibc's ``malloc.h``. Setting it also ends its adapting itself to what is freed.
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1 << 20


def die_with_parent(parent_pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent ends; end at once where it has ended already.

    Linux only: elsewhere nothing happens, and a process must notice by itself (its pipe ends). The kernel counts the
    *thread* that started this process as the parent: start lasting processes from lasting threads.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent_pid:
            os.kill(os.getpid(), number)


def keep_memory_off_the_disk() -> None:
    """Have no core file written when this process, or a child of it, crashes: keys would be in it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def give_large_memory_back() -> None:
    """Have the C library return every large allocation to the system when it is freed.

    By default glibc keeps the chunks of audio that come and go in its heaps, one for each thread, which then grow with
    the length of a recording. Elsewhere nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
