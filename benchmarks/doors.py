"""``python -m benchmarks.doors NAME``: webhooks, streams, hostile clients and keys, on this machine."""

from __future__ import annotations

import asyncio
import io
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psutil

from batchscribe.database import jobs
from batchscribe.database.connection import connect
from batchscribe.database.upgrade import upgrade
from batchscribe.domain.job import JobStatus, TranscriptionJob, new_job_name
from batchscribe.domain.keys import DEFAULT_SCOPES, Quotas
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.webhooks import Subscription
from batchscribe.egress import EgressRules
from batchscribe.key_ring import KeyRing
from batchscribe.webhook_service import WebhookService
from batchscribe.webhooks.sender import WebhookSender
from benchmarks.running import RunningServer, free_port, server


def _silence(seconds: int) -> bytes:
    """Return a recording in which nobody speaks."""
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000 * seconds))
    return written.getvalue()


WAV = _silence(20)
RULES = EgressRules.read(allow="127.0.0.0/8", ports="443")
#: Receivers that are no good; "down" has no listener.
BAD_KINDS = ("hanging", "slow", "500", "410", "redirecting", "down")
STREAMS = 10_000


def webhooks() -> None:
    """Deliver to 1,000 endpoints, half of them no good, and tell what the good half notices of it."""
    print("| endpoints | events | deliveries to good ones | lost | p50 ms | p99 ms |\n|---|---|---|---|---|---|")
    for good, bad in ((500, 0), (500, 500), (1000, 0)):
        _webhook_row(good, bad)


def _webhook_row(good: int, bad: int, *, events: int = 8, pause_seconds: float = 2.5) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    receiver = context.Process(target=_receive_webhooks, args=(theirs,))
    receiver.start()
    ports: dict[str, int] = ours.recv()
    with tempfile.TemporaryDirectory() as folder:
        database = connect(f"sqlite:///{folder}/jobs.sqlite")
        upgrade(database)
        service = WebhookService(database, server_key=b"k" * 32, rules=RULES)
        kinds = ["good"] * good + [BAD_KINDS[index % len(BAD_KINDS)] for index in range(bad)]
        for index, kind in enumerate(kinds):
            url = f"http://127.0.0.1:{ports[kind]}/{index}"
            service.create(Subscription(url=url, events=("job.queued",)), description="", owner="")
        sender = WebhookSender(database, server_key=b"k" * 32, rules=RULES)
        sender.start()
        for _ in range(events):
            with database.begin() as connection:
                jobs.add_job(connection, replace(_JOB, name=new_job_name(), created_at=datetime.now(UTC)))
            time.sleep(pause_seconds)
        time.sleep(3.0)
        sender.stop()
        ours.send("end")
        latencies: list[float] = sorted(ours.recv())
        receiver.join()
        database.dispose()
    lost = events * good - len(latencies)
    p50, p99 = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
    name = f"{good} good" + (f", {bad} bad" if bad else "")
    print(f"| {name} | {events} | {len(latencies)} | {lost} | {p50:.0f} | {p99:.0f} |", flush=True)


_JOB = TranscriptionJob(
    name="", status=JobStatus.QUEUED, options=TranscriptionOptions(), media_key="x", media_format=MediaFormat.WAV,
    media_size_bytes=1, media_url="s3://batchscribe/x", upload_seconds=0.0, created_at=datetime.now(UTC),
)  # fmt: skip


def _receive_webhooks(pipe: Connection) -> None:
    """Be the receivers of every kind; send back how late each message to a good one was, in ms."""
    _allow_many_files()
    latencies: list[float] = []

    async def answer(kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            if kind == "good":
                happened_at = datetime.fromisoformat(body["timestamp"])
                latencies.append((datetime.now(UTC) - happened_at).total_seconds() * 1000)
            await asyncio.sleep({"hanging": 60.0, "slow": 5.0}.get(kind, 0.0))
            status = {"500": b"500 Error", "410": b"410 Gone", "redirecting": b"302 Found"}.get(kind, b"204 No Content")
            location = b"Location: http://127.0.0.1:1/\r\n" if kind == "redirecting" else b""
            writer.write(b"HTTP/1.1 " + status + b"\r\n" + location + b"Content-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    async def run() -> None:
        ports = {"down": free_port()}
        servers = []
        for kind in ("good", *BAD_KINDS[:-1]):
            listener = await asyncio.start_server(partial(answer, kind), "127.0.0.1", 0, backlog=4096)
            ports[kind] = listener.sockets[0].getsockname()[1]
            servers.append(listener)
        pipe.send(ports)
        await asyncio.to_thread(pipe.recv)
        pipe.send(latencies)
        # Thousands of open connections need no words of farewell.
        os._exit(0)

    asyncio.run(run())


def streams() -> None:
    """Hold 10,000 idle streams; tell what they cost, and how soon an event reaches each."""
    _allow_many_files()
    with server(engine="scripted") as running:
        api = _api_process(running)
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
        p50, p99 = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
        print(f"{len(latencies)} events read: p50 {p50:.0f} ms, p99 {p99:.0f} ms, last {latencies[-1]:.0f} ms")
        grown = (api.memory_full_info().pss - held) / 2**20
        print(f"after them {grown:+.0f} MiB", flush=True)


def _read_streams(pipe: Connection, base_url: str) -> None:
    """Open the streams; send back how late each event was, in ms."""
    _allow_many_files()
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


def hostile() -> None:
    """Ask for a status while others misuse the server in every way; tell what an honest client notices."""
    print("| the others | answers | p50 ms | p99 ms |\n|---|---|---|---|")
    with server(engine="scripted") as running:
        answer = httpx2.post(f"{running.base_url}/transcribe-batch-async", files={"file": ("a.wav", WAV)})
        path = f"/transcribe-job/{answer.json()['job_name']}"
        time.sleep(1.0)
        _honest_row("nobody", running.base_url, path)
        for name, attack in _ATTACKS.items():
            context = multiprocessing.get_context("spawn")
            attacker = context.Process(target=_attack, args=(running.base_url, name), daemon=True)
            attacker.start()
            time.sleep(3.0)
            _honest_row(attack, running.base_url, path)
            attacker.kill()
            attacker.join()
            time.sleep(1.0)


#: What is done to the server, and how it is called.
_ATTACKS = {
    "half-open": "2,000 connections that say nothing",
    "slowloris": "500 that send a header's byte a second",
    "header": "8 that send headers of 1 MB, again and again",
    "parts": "4 that send forms of many parts, again and again",
    "form": "4 that upload what is no recording, 8 MB each, again and again",
}


def _honest_row(name: str, base_url: str, path: str) -> None:
    """Ask 50 times a second, by the clock and not by the answers, for five seconds."""
    latencies: list[float] = []
    with httpx2.Client(base_url=base_url, timeout=30, trust_env=False) as client:
        begin = time.perf_counter()
        for index in range(250):
            due = begin + index / 50
            time.sleep(max(0.0, due - time.perf_counter()))
            client.get(path).raise_for_status()
            latencies.append((time.perf_counter() - due) * 1000)
    latencies.sort()
    p50, p99 = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
    print(f"| {name} | {len(latencies)} | {p50:.1f} | {p99:.1f} |", flush=True)


def _attack(base_url: str, name: str) -> None:
    _allow_many_files()
    address = urlsplit(base_url)

    async def one() -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                await _misuse(name, reader, writer)
                writer.close()
            await asyncio.sleep(0.05)

    async def run() -> None:
        count = {"half-open": 2000, "slowloris": 500, "header": 8}.get(name, 4)
        await asyncio.gather(*(one() for _ in range(count)))

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
            taken.sort()
            print(f"404 for {what}: p50 {statistics.median(taken):.3f} ms, p99 {taken[int(len(taken) * 0.99)]:.3f} ms")
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


def _api_process(running: RunningServer) -> psutil.Process:
    return next(each for each in running.processes() if "api" in each.cmdline()[-1:])


def _allow_many_files() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


MEASUREMENTS: dict[str, Callable[[], None]] = {
    "webhooks": webhooks,
    "streams": streams,
    "hostile": hostile,
    "keys": keys,
}


def main() -> None:
    """Run what is named, or all."""
    asked = sys.argv[1:] if Path(sys.argv[0]).name == "doors.py" else []
    for name in asked or MEASUREMENTS:
        print(f"\n### {name}\n", flush=True)
        MEASUREMENTS[name]()


if __name__ == "__main__":
    main()
