"""Several replicas: quotas, kills, and many jobs that wait."""

from __future__ import annotations

import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
from sqlalchemy import insert

from batchscribe.database.schema import jobs, remote_jobs
from benchmarks.aws_world import world
from fake_transcribe.app import Script

QUOTA_JOBS, KILLED_JOBS, WAITING_JOBS = 1000, 200, 10_000


def quotas() -> dict[str, Any]:
    """Submit many jobs at once to two replicas; count at the fake what arrives."""
    with world() as made:
        # Longer than it takes to start 250, so that the limit of running jobs is met too.
        made.aws.fake.script = lambda _request: Script(seconds=16.0)
        made.aws.fake.most_running = made.aws.fake.most_starts = 100_000
        for name in ("api-0", "api-1", "worker-0", "worker-1"):
            made.start(name)
        made.wait_ready()
        began_at = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            names = list(pool.map(made.submit, [index % 2 for index in range(QUOTA_JOBS)]))
        submitted_at = time.monotonic()
        statuses = made.wait_until(QUOTA_JOBS, 170)
        return {
            "jobs": len([name for name in names if name]),
            "seconds_to_submit": round(submitted_at - began_at, 1),
            "seconds_to_complete_all": round(time.monotonic() - began_at, 1),
            "statuses": statuses,
            "most_running": made.aws.fake.highest_running,
            "most_starts_in_any_second": made.aws.fake.most_in_a_second("StartTranscriptionJob"),
            "most_looks_in_any_second": made.aws.fake.most_in_a_second("GetTranscriptionJob"),
            "most_lists_in_any_second": made.aws.fake.most_in_a_second("ListTranscriptionJobs"),
            "calls": dict(made.aws.fake.count()),
            "jobs_started_more_than_once": len(made.aws.fake.begun) - len(set(made.aws.fake.begun)),
        }


def kills() -> dict[str, Any]:
    """Kill apis and workers at random while jobs come in and run; each is sent until it has a 201."""
    dice = random.Random(20260205)  # noqa: S311 - which process is killed when
    with world() as made:
        made.aws.fake.script = lambda _request: Script(seconds=dice.uniform(0.2, 3.0), events=dice.choice((0, 1, 1, 2)))
        members = ["api-0", "api-1", "worker-0", "worker-1"]
        for name in members:
            made.start(name)
        made.wait_ready()

        def submit(index: int) -> str:
            while (name := made.submit(dice.randrange(2), key=f"job-{index}")) is None:
                time.sleep(0.2)
            time.sleep(0.5)
            return name

        killed = 0
        with ThreadPoolExecutor(4) as pool:
            sent = [pool.submit(submit, index) for index in range(KILLED_JOBS)]
            until = time.monotonic() + 120
            while time.monotonic() < until and made.statuses().get("COMPLETED", 0) < KILLED_JOBS:
                time.sleep(dice.uniform(0.5, 2.5))
                victim = dice.choice(members)
                made.kill(victim)
                made.start(victim)
                killed += 1
            names = {each.result() for each in sent}
        statuses = made.wait_until(len(names), 120)
        begun = made.aws.fake.begun
        return {
            "jobs": len(names),
            "kills": killed,
            "statuses": statuses,
            "jobs_started": len(set(begun)),
            "jobs_started_more_than_once": len(begun) - len(set(begun)),
            "jobs_lost": len(names - set(begun)),
            "calls": dict(made.aws.fake.count()),
        }


def waiting() -> dict[str, Any]:
    """Measure a worker without jobs, and with 250 that run and 10,000 that wait for their start."""
    with world() as made:
        made.aws.fake.script = lambda _request: Script(seconds=3600.0)
        made.start("worker-0")
        time.sleep(8)
        process = psutil.Process(made.processes["worker-0"].pid)
        idle = _measure(process)
        now = datetime.now(UTC)
        made.aws.client("s3").put_object(Bucket="recordings", Key="one.flac", Body=b"x")
        with made.database.begin() as connection:
            names = [f"transcribe-{index:08d}" for index in range(WAITING_JOBS + 250)]
            connection.execute(insert(jobs), [_job(name, now) for name in names])
            connection.execute(insert(remote_jobs), [_remote_job(name, now) for name in names])
        until = time.monotonic() + 60
        while made.aws.fake.running() < 250 and time.monotonic() < until:
            time.sleep(0.2)
        time.sleep(5)
        return {"without_jobs": idle, "with_250_running_and_10000_waiting": _measure(process)} | {
            "running": made.aws.fake.running(),
            "statuses": made.statuses(),
        }


def _measure(process: psutil.Process, seconds: float = 20.0) -> dict[str, Any]:
    """Return what a process and its children use."""
    family = [process, *process.children(recursive=True)]
    before, began_at = sum(sum(each.cpu_times()[:2]) for each in family), time.monotonic()
    resident, threads = [], []
    while time.monotonic() - began_at < seconds:
        time.sleep(1)
        resident.append(process.memory_info().rss)
        threads.append(process.num_threads())
    used = sum(sum(each.cpu_times()[:2]) for each in family) - before
    return {
        "resident_mb": round(statistics.mean(resident) / 1e6, 1),
        "threads": max(threads),
        "processor_percent_of_one_core": round(100 * used / (time.monotonic() - began_at), 1),
    }


def _job(name: str, now: datetime) -> dict[str, Any]:
    return {
        "name": name,
        "status": "QUEUED",
        "options": {"language_code": "en-US"},
        "media_key": "one.flac",
        "media_format": "flac",
        "media_size_bytes": 1,
        "media_url": "s3://recordings/one.flac",
        "upload_seconds": 0.1,
        "created_at": now,
        "engine": "aws",
    }


def _remote_job(name: str, now: datetime) -> dict[str, Any]:
    return {
        "job_name": name,
        "remote_name": name,
        "stage": "wanted",
        "media_key": "one.flac",
        "media_uri": "s3://recordings/one.flac",
        "priority_rank": 1,
        "wanted_at": now,
        "due_at": now - timedelta(seconds=1),
        "has_copy": False,
    }
