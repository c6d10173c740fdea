"""Status polls a second while every core recognises, and their latency, from a load generator of its own process."""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from batchscribe.client import Client
from benchmarks.recordings import english_recordings, join
from benchmarks.running import server

CONNECTIONS = 16
SECONDS = 10.0


def main() -> None:
    """Print a row with the engine idle, and one with both cores recognising."""
    print("| engine | polls/s | p50 ms | p99 ms |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, server() as running, Client(running.base_url) as client:
        recording = Path(folder) / "30-minutes.wav"
        join(english_recordings(), minutes=30, target=recording)
        short = running.transcribe(english_recordings()[0].path)
        _row("idle", running.base_url, short.job_name)
        job = client.submit(recording)
        while (client.get(job.job_name).progress or 0.0) < 0.02:
            time.sleep(0.2)
        _row("both cores busy", running.base_url, job.job_name)
        if client.get(job.job_name).status.is_final:
            print("the recording was done before the polls were: the second row is not under load")
        client.cancel(job.job_name)


def _row(name: str, base_url: str, job_name: str) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        rate, median, p99 = pool.apply(_poll, (base_url, job_name))
    print(f"| {name} | {rate:.0f} | {median:.1f} | {p99:.1f} |", flush=True)


def _poll(base_url: str, job_name: str) -> tuple[float, float, float]:
    """Poll over several connections, each as fast as it is answered; return polls a second, p50 and p99 in ms."""
    latencies = asyncio.run(_poll_all(base_url, job_name))
    latencies.sort()
    return len(latencies) / SECONDS, statistics.median(latencies), latencies[int(len(latencies) * 0.99)]


async def _poll_all(base_url: str, job_name: str) -> list[float]:
    until = time.perf_counter() + SECONDS
    found = await asyncio.gather(*(_poll_one(base_url, job_name, until) for _ in range(CONNECTIONS)))
    return [latency for each in found for latency in each]


async def _poll_one(base_url: str, job_name: str, until: float) -> list[float]:
    # Bare sockets: an HTTP library in the generator would cost more than the answer.
    address = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    question = f"GET /transcribe-job/{job_name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    latencies = []
    while time.perf_counter() < until:
        started = time.perf_counter()
        writer.write(question)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 200"), head
        latencies.append((time.perf_counter() - started) * 1000)
    writer.close()
    return latencies


if __name__ == "__main__":
    main()
