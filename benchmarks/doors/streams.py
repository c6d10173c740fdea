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

from benchmarks.doors.sending import WAV, allow_many_files, api_process, percentiles
from benchmarks.running import server

STREAMS = 10_000


def streams() -> None:
    """Hold 10,000 idle streams; tell what they cost, and how soon an event reaches each."""
    allow_many_files()
    with server(engine="scripted") as running:
        api = api_process(running)
        before = api.memory_full_info().pss
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        reader = context.Process(target=_read_streams, args=(theirs, running.base_url))
        reader.start()
        count: int = ours.recv()
        time.sleep(3.0)
        held = api.memory_full_info().pss
        cpu = api.cpu_percent(None) and api.cpu_percent(10.0)
        print(f"{count} idle streams: {(held - before) / 2**20:.0f} MiB, {cpu:.0f}% of a core for their heartbeats")
        for _ in range(5):
            httpx2.post(f"{running.base_url}/transcribe-batch-async", files={"file": ("a.wav", WAV)})
            time.sleep(3.0)
        ours.send("end")
        latencies: list[float] = sorted(ours.recv())
        reader.join()
        p50, p99 = percentiles(latencies)
        print(f"{len(latencies)} events read: p50 {p50:.0f} ms, p99 {p99:.0f} ms, last {latencies[-1]:.0f} ms")
        grown = (api.memory_full_info().pss - held) / 2**20
        print(f"after them {grown:+.0f} MiB", flush=True)


def _read_streams(pipe: Connection, base_url: str) -> None:
    """Open the streams; send back how late each event was, in ms."""
    allow_many_files()
    latencies: list[float] = []
    address = urlsplit(base_url)

    class Reader(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            question = b"GET /transcribe-jobs/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
            transport.write(question)  # type: ignore[attr-defined]

        def data_received(self, data: bytes) -> None:
            now = time.time()
            for piece in data.split(b"data: ")[1:]:
                with suppress(ValueError):
                    moment = datetime.fromisoformat(json.loads(piece.split(b"\n")[0])["at"])
                    latencies.append((now - moment.timestamp()) * 1000)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        count = 0
        for _ in range(STREAMS):
            with suppress(OSError):
                await loop.create_connection(Reader, str(address.hostname), int(address.port or 0))
                count += 1
        pipe.send(count)
        await asyncio.to_thread(pipe.recv)
        pipe.send(latencies)
        # Thousands of open connections need no words of farewell.
        os._exit(0)

    asyncio.run(run())
