"""Ends a worker by SIGKILL before or after any of the steps in which a job's way touches the world."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Engine as Database

from batchscribe import app, parts
from batchscribe.decoding.cage import CagedDecoder
from batchscribe.engines.scripted import ScriptedEngine
from batchscribe.settings import Settings
from batchscribe.storage.folder import FolderStore, FolderUpload
from batchscribe.workflow.fetch import Fetch
from batchscribe.workflow.pipeline import Pipeline

STORE_STEPS = ("begin_upload", "put", "get", "open", "delete", "delete_prefix")

_in_pipeline = threading.local()


def install(at: int, *, diary: Path) -> None:
    """Make this process kill itself at the step of this number, counted from 1; 0 kills never.

    Each step counts twice, before it is made and after. ``diary`` gets one line a number.
    """
    numbers, lock = count(1), threading.Lock()

    def pass_by(name: str) -> None:
        if not getattr(_in_pipeline, "depth", 0):
            return
        with lock, diary.open("a") as lines:
            number = next(numbers)
            lines.write(f"{number} {name}\n")
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)

    for way, name in ((Pipeline, "transcribe"), (Pipeline, "recognise"), (Fetch, "fetch")):
        setattr(way, name, _counted_work(getattr(way, name)))
    for owner, names in (
        (FolderStore, STORE_STEPS),
        (FolderUpload, ("commit",)),
        (CagedDecoder, ("open",)),
        (ScriptedEngine, ("recognise", "find_languages")),
    ):
        for name in names:
            setattr(owner, name, _step(getattr(owner, name), f"{owner.__name__}.{name}", pass_by))
    build_database = parts.build_database

    def build(settings: Settings) -> Database:
        database = build_database(settings)
        database.dialect.do_commit = _step(database.dialect.do_commit, "commit", pass_by)  # type: ignore[method-assign]
        return database

    # The name under which the worker knows it.
    setattr(app, "build_database", build)  # noqa: B010


def _counted_work(work: Callable[..., Any]) -> Callable[..., Any]:
    """Have the steps of a thread counted while it works on a job."""

    @wraps(work)
    def counted(*arguments: Any, **options: Any) -> Any:
        _in_pipeline.depth = getattr(_in_pipeline, "depth", 0) + 1
        try:
            return work(*arguments, **options)
        finally:
            _in_pipeline.depth -= 1

    return counted


def _step(step: Callable[..., Any], name: str, pass_by: Callable[[str], None]) -> Callable[..., Any]:
    """Pass by before and after a step."""

    @wraps(step)
    def watched(*arguments: Any, **options: Any) -> Any:
        pass_by(f"before {name}")
        answer = step(*arguments, **options)
        pass_by(f"after {name}")
        return answer

    return watched
