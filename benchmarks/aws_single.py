"""One server: the contract's examples, and how soon an end is heard of."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import text

from benchmarks.aws_world import CLIP, ROOT, World, world
from fake_transcribe.app import Script

EVENT_JOBS = 60


def examples() -> dict[str, Any]:
    """Run the contract's Python, shell and JavaScript examples, with the server's address alone changed."""
    document = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    call = "import { readFileSync } from 'node:fs';"
    call += "await transcribeAsync(new File([readFileSync('audio.mp3')], 'audio.mp3'));"
    programs: dict[str, tuple[str, Callable[[str], list[str]]]] = {
        "Python": ("python", lambda code: [sys.executable, "-c", code]),
        "cURL": ("bash", lambda code: ["bash", "-c", code]),
        "JavaScript (Fetch API)": ("javascript", lambda code: ["node", "--input-type=module", "--eval", code + call]),
    }
    said: dict[str, str] = {}
    with one_server() as made:
        shutil.copy(CLIP, made.folder / "audio.mp3")
        for heading, (language, command) in programs.items():
            found = re.search(
                rf"^### {re.escape(heading)}\n\n```{language}\n(.*?)^```$", document, re.DOTALL | re.MULTILINE
            )
            assert found
            code = found[1].replace("http://localhost:5001", made.url())
            try:
                done = subprocess.run(
                    command(code), cwd=made.folder, capture_output=True, text=True, timeout=60, check=False
                )
            except FileNotFoundError as error:
                said[heading] = f"not installed: {error.filename}"
                continue
            words = "the quick brown fox jumps over the lazy dog" in done.stdout
            said[heading] = "transcript printed" if done.returncode == 0 and words else done.stdout + done.stderr
        script = [sys.executable, str(ROOT / "test_async_batch.py"), "audio.mp3"]
        environment = made.environment | {"BATCHSCRIBE_URL": made.url()}
        tried = subprocess.run(script, cwd=made.folder, env=environment, capture_output=True, timeout=60, check=False)
        said["test_async_batch.py"] = f"exit code {tried.returncode}"
    return said


def events() -> dict[str, Any]:
    """Measure from the fake's end of a job to COMPLETED, with its events, and with every event lost."""
    return {"with events": _ends(1), "every event lost, a list every 5 s": _ends(0)}


def _ends(copies: int) -> dict[str, Any]:
    with one_server(aws_poll_seconds="5") as made:
        made.aws.fake.script = lambda _request: Script(seconds=2.0, events=copies)
        names = []
        for _ in range(EVENT_JOBS):
            names.append(made.submit())
            time.sleep(0.2)
        statuses = made.wait_until(EVENT_JOBS, 60)
        with made.database.connect() as connection:
            rows = connection.execute(text("SELECT name, completed_at FROM transcription_jobs")).all()
        lags = sorted(
            datetime.fromisoformat(f"{at}+00:00").timestamp() - made.aws.fake.ended_at[name]
            for name, at in rows
            if at is not None
        )
        return {
            "statuses": statuses,
            "median_seconds": round(statistics.median(lags), 3),
            "highest_seconds": round(lags[-1], 3),
            "calls_per_job": {each: round(count / EVENT_JOBS, 2) for each, count in made.aws.fake.count().items()},
        }


@contextmanager
def one_server(**settings: str) -> Iterator[World]:
    """Run one api and one worker over SQLite."""
    with world(is_scale_out=False, **settings) as made:
        made.start("worker-0")
        made.start("api-0")
        made.wait_ready()
        yield made
