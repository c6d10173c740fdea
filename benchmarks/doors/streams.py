"""What thousands of idle readers cost, and how soon an event reaches them."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import time
from contextlib import suppress
from datetime import datetime
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

import httpx2

from benchmarks.doors.sending import WAV, allow_many_files, api_process, percentiles, silence
from benchmarks.running import RunningServer, server

READERS = int(os.environ.get("BENCH_READERS", "10000"))
EVENTS = 5


def streams() -> None:
    """Hold 10,000 idle readers of each kind; tell what they cost, and how soon an event reaches all of them."""
    allow_many_files()
    print("| readers | KiB each | MiB in all | processor idle | events read | p50 ms | p99 ms | last ms |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in ("streams of all jobs", "streams of one job", "long-polls of one job"):
        with server(engine="scripted", scripted_real_time_factor="1") as running:
            _measure(kind, running)


def _measure(kind: str, running: RunningServer) -> None:
    api = api_process(running)
    url = f"{running.base_url}/transcribe-batch-async"
    # A job that runs for as long as this takes, and tells nothing of itself until it is cancelled.
    name = httpx2.post(url, files={"file": ("a.wav", silence(1200))}, timeout=60).json()["job_name"]
    httpx2.get(f"{running.base_url}/transcribe-job/{name}?wait=20", timeout=60)
    paths = {
        "streams of all jobs": "/transcribe-jobs/events",
        "streams of one job": f"/transcribe-job/{name}/events",
        "long-polls of one job": f"/transcribe-job/{name}?wait=60",
    }
    before = api.memory_full_info().pss
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    reader = context.Process(target=_read_streams, args=(theirs, running.base_url, paths[kind]))
    reader.start()
    count: int = ours.recv()
    time.sleep(3.0)
    held = api.memory_full_info().pss - before
    api.cpu_percent(None)
    idle = api.cpu_percent(10.0) / 100
    if kind == "streams of all jobs":
        for _ in range(EVENTS):
            httpx2.post(url, files={"file": ("a.wav", WAV)}, timeout=60)
            time.sleep(3.0)
    cancelled_at = time.time()
    if kind != "streams of all jobs":
        httpx2.post(f"{running.base_url}/transcribe-job/{name}/cancel", timeout=60)
        time.sleep(5.0)
    ours.send(cancelled_at)
    latencies: list[float] = ours.recv()
    reader.join()
    p50, p99 = percentiles(latencies)
    print(
        f"| {count} {kind} | {held / count / 1024:.1f} | {held / 2**20:.0f} | {idle:.0%} | {len(latencies)} "
        f"| {p50:.0f} | {p99:.0f} | {max(latencies):.0f} |",
        flush=True,
    )


def _read_streams(pipe: Connection, base_url: str, path: str) -> None:
    """Open the readers; send back how late each event was, in ms."""
    allow_many_files()
    latencies: list[float] = []
    told_at: list[float] = []
    address = urlsplit(base_url)

    def note(at: str, now: float) -> None:
        latencies.append((now - datetime.fromisoformat(at).timestamp()) * 1000)

    greeted: set[asyncio.Protocol] = set()
    all_greeted = asyncio.Event()

    class Reader(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())  # type: ignore[attr-defined]

        def data_received(self, data: bytes) -> None:
            now = time.time()
            greeted.add(self)
            if len(greeted) >= count:
                all_greeted.set()
            for piece in data.split(b"data: ")[1:]:
                with suppress(ValueError, KeyError):
                    note(json.loads(piece.split(b"\n")[0])["at"], now)
            if b'"status":"FAILED"' in data:
                told_at.append(now)

    count = 0

    async def run() -> None:
        nonlocal count
        loop = asyncio.get_running_loop()
        for _ in range(READERS):
            with suppress(OSError):
                await loop.create_connection(Reader, str(address.hostname), int(address.port or 0))
                count += 1
        # A stream begins with something; who waits for a job's change hears nothing, and is given a while.
        if len(greeted) < count:
            all_greeted.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(10.0 if "wait=" in path else 300.0):
                    await all_greeted.wait()
        pipe.send(count)
        # The answer to a long-poll says nothing of when the job was cancelled.
        cancelled_at = await asyncio.to_thread(pipe.recv)
        pipe.send(latencies or [(at - cancelled_at) * 1000 for at in told_at])
        # Thousands of open connections need no words of farewell.
        os._exit(0)

    asyncio.run(run())
