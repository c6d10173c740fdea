"""F29: the database is restored from an earlier copy, or recordings are missing."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests

from faults.checker import Expected, check
from faults.deployment import Deployment, ended, job, noise, submit


@pytest.mark.faults(row="F29")
def test_a_restored_database_and_missing_recordings_cost_only_the_jobs_they_concern(
    deploy: Callable[..., Deployment], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """F29: later jobs are unknown and their recordings go as orphans; a waiting job without its recording FAILS."""
    deployment = deploy()
    api, worker = deployment.start_pair()
    done, robbed_later = (submit(api.base_url, noise(2, seed=number)) for number in range(2))
    for name in (done, robbed_later):
        ended(api.base_url, name)
    deployment.freeze(worker)
    waiting, robbed = (submit(api.base_url, noise(2, seed=number)) for number in (2, 3))
    database, copy = deployment.data_dir / "batchscribe.sqlite", tmp_path / "copy"
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    worker.send(signal.SIGCONT)
    later = submit(api.base_url, noise(2, seed=4))
    for name in (waiting, robbed, later):
        ended(api.base_url, name)
    for process in (api, worker):
        process.kill()
    for path in deployment.data_dir.glob("batchscribe.sqlite*"):
        path.unlink()
    shutil.copy(copy, database)
    for path in (deployment.data_dir / "media").rglob("*"):
        if path.name in {robbed, robbed_later}:
            path.unlink()

    api, _ = deployment.start_pair()
    assert requests.get(f"{api.base_url}/transcribe-job/{later}", timeout=30).status_code == 404
    assert job(api.base_url, done)["status"] == "COMPLETED"
    assert ended(api.base_url, waiting)["status"] == "COMPLETED"
    assert ended(api.base_url, robbed)["status"] == "FAILED"
    missing = requests.get(f"{api.base_url}/transcribe-job/{robbed_later}/media", timeout=30)
    assert (missing.status_code, missing.headers["X-Error-Code"]) == (404, "media_not_found")
    assert job(api.base_url, robbed_later)["transcript"]
    check(
        deployment,
        Expected(
            accepted=[done, robbed_later, waiting, robbed],
            codes={robbed: "media_missing"},
            robbed=[robbed, robbed_later],
            interrupted=1,
        ),
    )
    record_property("measured", "media_missing for 1 of 1; the waiting job COMPLETED again; 1 orphan reclaimed")
