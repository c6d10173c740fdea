"""A process that has imported the whole server, and forks an api or a worker in a fraction of a second.

Run as ``python -m faults.warm``. It reads one command of JSON a line and answers each with one line::

    {"do": "start", "kind": "api", "environment": {...}, "log": "/a/path", "crash": null}   -> {"pid": 17}
    {"do": "poll", "pid": 17}                                         -> {"code": null}, or how it ended, once it has

The forked process runs the very functions that ``batchscribe api`` and ``batchscribe worker`` run. All of them end with
this process, and this process ends with its standard input.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

#: What an api or a worker imports when it starts, or when it is first asked.
MODULES = (
    "batchscribe.app", "batchscribe.service", "batchscribe.web.app", "batchscribe.web.front", "batchscribe.storage.s3",
    "batchscribe.database.upgrade", "batchscribe.workflow.runtime", "batchscribe.workflow.takeover",
    "batchscribe.workflow.liveness", "batchscribe.workflow.housekeeping", "batchscribe.workflow.pipeline",
    "batchscribe.engines.scripted", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql.psycopg", "uvicorn",
    "uvloop", "httptools", "alembic.command", "faults.crash_points",
)  # fmt: skip


def main() -> None:
    """Import everything, say so, and serve."""
    for name in MODULES:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a fork would lose threads"
    gc.collect()
    gc.freeze()
    living: set[int] = set()
    _say({"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "start":
            pid = _start(command)
            living.add(pid)
            _say({"pid": pid})
        else:
            ended, status = os.waitpid(command["pid"], os.WNOHANG)
            if ended:
                living.remove(ended)
            _say({"code": os.waitstatus_to_exitcode(status) if ended else None})
    for pid in living:
        os.kill(pid, signal.SIGKILL)


def _start(command: dict[str, Any]) -> int:
    """Fork a process of the server; return its id."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(command, parent)
    return pid


def _become(command: dict[str, Any], parent: int) -> NoReturn:
    """Run an api or a worker in this forked process until it ends."""
    from batchscribe import app, settings
    from batchscribe.processes import die_with_parent
    from faults import crash_points

    try:
        die_with_parent(parent)
        os.setsid()
        null, log = os.open(os.devnull, os.O_RDONLY), os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for target, source in ((0, null), (1, log), (2, log)):
            os.dup2(source, target)
        os.closerange(3, 256)
        os.environ.update(command["environment"])
        chosen = settings.load()
        if command["crash"] is not None:
            crash_points.install(command["crash"]["at"], diary=Path(command["crash"]["diary"]))
        {"api": app.run_api, "worker": app.run_worker}[command["kind"]](chosen)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    # The process's edge: the parent must not go on in two processes.
    except BaseException:  # noqa: BLE001 - see above
        traceback.print_exc()
        code = 1
    else:
        code = 0
    logging.shutdown()
    os._exit(code)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
