"""How soon webhooks arrive, with and without receivers that are no good."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection

from batchscribe.database import jobs
from batchscribe.database.connection import connect
from batchscribe.database.upgrade import upgrade
from batchscribe.domain.job import JobStatus, TranscriptionJob, new_job_name
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.webhooks import Subscription
from batchscribe.egress import EgressRules
from batchscribe.webhook_service import WebhookService
from batchscribe.webhooks.sender import WebhookSender
from benchmarks.doors.sending import allow_many_files, percentiles
from benchmarks.running import free_port

RULES = EgressRules.read(allow="127.0.0.0/8", ports="443")
#: Receivers that are no good; "down" has no listener.
BAD_KINDS = ("hanging", "slow", "500", "410", "redirecting", "down")


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
        latencies: list[float] = ours.recv()
        receiver.join()
        database.dispose()
    lost = events * good - len(latencies)
    p50, p99 = percentiles(latencies)
    name = f"{good} good" + (f", {bad} bad" if bad else "")
    print(f"| {name} | {events} | {len(latencies)} | {lost} | {p50:.0f} | {p99:.0f} |", flush=True)


_JOB = TranscriptionJob(
    name="", status=JobStatus.QUEUED, options=TranscriptionOptions(), media_key="x", media_format=MediaFormat.WAV,
    media_size_bytes=1, media_url="s3://batchscribe/x", upload_seconds=0.0, created_at=datetime.now(UTC),
)  # fmt: skip


def _receive_webhooks(pipe: Connection) -> None:
    """Be the receivers of every kind; send back how late each message to a good one was, in ms."""
    allow_many_files()
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
