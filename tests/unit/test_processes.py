"""What every process of ours does about its parent."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")

CHILD = """
import sys, time
from batchscribe.processes import die_with_parent
die_with_parent(int(sys.argv[1]))
print("alive", flush=True)
time.sleep(60)
"""
PARENT = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def environment() -> dict[str, str]:
    """Let a child find the package where this process does."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_a_process_ends_with_its_parent() -> None:
    """A parent that is killed without a word takes its children with it."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=environment())
    assert parent.stdout is not None
    with parent.stdout:
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
        parent.wait(60)
    # Its new parent may be slow to collect it: dead is enough.
    try:
        child.wait(60)
    except psutil.TimeoutExpired:
        assert child.status() == psutil.STATUS_ZOMBIE


def test_a_process_whose_parent_is_gone_already_ends_at_once() -> None:
    """The parent may end between the start of the process and its first line."""
    somebody_else = 1
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(somebody_else)],
        check=False,
        timeout=30,
        capture_output=True,
        env=environment(),
    )
    assert child.returncode == -9
    assert child.stdout == b""
