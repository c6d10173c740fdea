"""Two keys: how long another's job takes against none, and whether a quota is exact under 50 clients."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2

from batchscribe.database.connection import connect
from batchscribe.domain.job import new_job_name
from batchscribe.domain.keys import DEFAULT_SCOPES, Quotas
from batchscribe.key_ring import KeyRing
from benchmarks.doors.sending import WAV, percentiles
from benchmarks.running import server


def keys() -> None:
    """Two keys: how long another's job takes against none, and whether a quota is exact under 50 clients."""
    with server(engine="scripted", scripted_real_time_factor="1") as running:
        database = connect(f"sqlite:///{running.data_dir}/batchscribe.sqlite")
        ring = KeyRing(database)
        made = [
            ring.create(f"key {index}", scopes=DEFAULT_SCOPES, quotas=quotas, expires_at=None)[1]
            for index, quotas in enumerate((Quotas(), Quotas(), Quotas(jobs=7)))
        ]
        time.sleep(1.5)
        url = f"{running.base_url}/transcribe-batch-async"

        def submit(key: str) -> httpx2.Response:
            return httpx2.post(url, files={"file": ("a.wav", WAV)}, headers={"X-API-Key": key}, timeout=60)

        name = submit(made[0]).json()["job_name"]
        times: dict[str, list[float]] = {name: [], new_job_name(): []}
        with httpx2.Client(base_url=running.base_url, headers={"X-API-Key": made[1]}, trust_env=False) as client:
            for _ in range(1500):
                for each, taken in times.items():
                    began = time.perf_counter()
                    assert client.get(f"/transcribe-job/{each}").status_code == httpx2.codes.NOT_FOUND
                    taken.append((time.perf_counter() - began) * 1000)
        for what, taken in zip(("another's job", "no job"), times.values(), strict=True):
            p50, p99 = percentiles(taken)
            print(f"404 for {what}: p50 {p50:.3f} ms, p99 {p99:.3f} ms")
        barrier = threading.Barrier(50)

        def at_once(_index: int) -> int:
            barrier.wait()
            return submit(made[2]).status_code

        with ThreadPoolExecutor(50) as pool:
            statuses = list(pool.map(at_once, range(50)))
        print(
            f"50 submissions at once with a quota of 7: {statuses.count(201)} accepted, {statuses.count(429)} refused"
        )
        database.dispose()
