"""What an honest client notices of others that misuse the server."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil

from benchmarks.doors.sending import WAV, allow_many_files, api_process, percentiles
from benchmarks.running import server

#: What is done to the server, how it is called, and by how many at once.
_ATTACKS = {
    "half-open": ("2,000 connections that say nothing", 2000),
    "slowloris": ("500 that send a header's byte a second", 500),
    "header": ("8 that send headers of 1 MB, again and again", 8),
    "parts": ("4 that send forms of many parts, again and again", 4),
    "form": ("4 that upload what is no recording, 8 MB each, again and again", 4),
}
_SECONDS = 5.0
_POLLS_A_SECOND = 50


def hostile() -> None:
    """Ask for a status while others misuse the server in every way, and before each, while nobody does."""
    print(
        "| the others | rounds a second | api's processor | p50 ms | p99 ms | p99 against nobody |\n"
        "|---|---|---|---|---|---|"
    )
    context = multiprocessing.get_context("spawn")
    with server(engine="scripted") as running:
        answer = httpx2.post(f"{running.base_url}/transcribe-batch-async", files={"file": ("a.wav", WAV)})
        path = f"/transcribe-job/{answer.json()['job_name']}"
        time.sleep(1.0)
        api = api_process(running)
        for name, (words, _) in _ATTACKS.items():
            _, idle_p99, _ = _ask(running.base_url, path, api)
            rounds = context.Value("l", 0)
            attacker = context.Process(target=_attack, args=(running.base_url, name, rounds), daemon=True)
            attacker.start()
            time.sleep(3.0)
            before = rounds.value
            p50, p99, processor = _ask(running.base_url, path, api)
            rate = (rounds.value - before) / _SECONDS
            attacker.kill()
            attacker.join()
            time.sleep(1.0)
            print(
                f"| {words} | {rate:.0f} | {processor:.0%} | {p50:.1f} | {p99:.1f} | {p99 / idle_p99:.1f} |", flush=True
            )


def _ask(base_url: str, path: str, api: psutil.Process) -> tuple[float, float, float]:
    """Ask by the clock and not by the answers; return p50 and p99 in ms, and what the api used of a processor."""
    latencies: list[float] = []
    used = sum(api.cpu_times()[:2])
    with httpx2.Client(base_url=base_url, timeout=30, trust_env=False) as client:
        client.get(path).raise_for_status()
        begin = time.perf_counter()
        for index in range(int(_SECONDS * _POLLS_A_SECOND)):
            due = begin + index / _POLLS_A_SECOND
            time.sleep(max(0.0, due - time.perf_counter()))
            client.get(path).raise_for_status()
            latencies.append((time.perf_counter() - due) * 1000)
    p50, p99 = percentiles(latencies)
    return p50, p99, (sum(api.cpu_times()[:2]) - used) / (time.perf_counter() - begin)


def _attack(base_url: str, name: str, rounds: Any) -> None:  # noqa: ANN401 - a shared number has no public type
    """Misuse the server until this process is killed; count in ``rounds``."""
    allow_many_files()
    address = urlsplit(base_url)

    async def one() -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                await _misuse(name, reader, writer)
                writer.close()
            rounds.value += 1
            await asyncio.sleep(0.05)

    async def run() -> None:
        await asyncio.gather(*(one() for _ in range(_ATTACKS[name][1])))

    asyncio.run(run())


async def _misuse(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    post = b"POST /transcribe-batch-async HTTP/1.1\r\nHost: localhost\r\n"
    form = post + b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n"
    if name == "half-open":
        await reader.read()
        return
    if name == "slowloris":
        writer.write(post + b"X-Slow: ")
        for _ in range(60):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(1.0)
        return
    if name == "header":
        writer.write(post + b"X-Large: " + b"x" * 2**20 + b"\r\n\r\n")
    elif name == "parts":
        parts = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 20_000
        writer.write(form % len(parts) + parts)
    else:
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        body = head + b"no recording" + b"x" * (8 << 20)
        writer.write(form % len(body) + body)
    await writer.drain()
    await reader.read()
