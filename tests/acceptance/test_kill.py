"""Whoever is killed, whenever: every accepted recording is transcribed, once, as if nothing had happened."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time
import urllib.error
import urllib.request
import wave
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from conftest import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")

#: Read before the environment is cleaned for the test. The more kills, the longer the test: about three seconds each.
KILLS = int(os.environ.get("BATCHSCRIBE_KILLS", "12"))
SEED = int(os.environ.get("BATCHSCRIBE_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)

RATE_HERTZ = 8000
#: Seconds of the recordings that are submitted, in turn: one chunk, two, three, and five.
LENGTHS = (20, 200, 330, 600)
#: Jobs that are under way at any time, so that every kill hits somebody.
JOBS_AT_ONCE = 4

ALL = "supervisor"
TARGETS = ("api", "worker", "decoder", ALL)


def noise(seconds: int, *, seed: int) -> bytes:
    """Return a recording of noise."""
    block = random.Random(seed).randbytes(2 * RATE_HERTZ)
    file = BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setparams((1, 2, RATE_HERTZ, 0, "NONE", ""))
        recording.writeframes(block * seconds)
    return file.getvalue()


def speech(clips: list[Path], *, silence_seconds: int) -> bytes:
    """Return clips with long silences between them: a recording of several chunks that is soon recognised."""
    import av

    pieces = []
    for clip in clips:
        with av.open(str(clip)) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
            for frame in container.decode(audio=0):
                pieces += [bytes(each.planes[0])[: each.samples * 2] for each in resampler.resample(frame)]
        pieces.append(bytes(2 * 16_000 * silence_seconds))
    file = BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setparams((1, 2, 16_000, 0, "NONE", ""))
        recording.writeframes(b"".join(pieces))
    return file.getvalue()


@dataclass
class Client:
    """Keeps some jobs under way; counts as accepted only what was answered with 201."""

    base_url: str
    recordings: list[bytes]
    #: The index of the recording of every accepted job.
    accepted: dict[str, int] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def submit(self, index: int) -> str:
        """Submit a recording and return the job's name. Raises OSError or HTTPException when nobody answers so."""
        boundary = "a-boundary-that-no-recording-has"
        head = (
            f"--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"talk.wav\"\r\n"
            "Content-Type: audio/wav\r\n\r\n"
        )
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.base_url}/transcribe-job",
            data=head.encode() + self.recordings[index] + f"\r\n--{boundary}--\r\n".encode(),
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
            assert answer.status == 201
            name: str = json.load(answer)["job_name"]
            self.accepted[name] = index
            return name

    def job(self, name: str) -> dict[str, Any]:
        """Return a job as the server tells it."""
        with urllib.request.urlopen(f"{self.base_url}/transcribe-job/{name}", timeout=30) as answer:  # noqa: S310
            body: dict[str, Any] = json.load(answer)
            return body

    def keep_busy(self) -> None:
        """Submit the recordings in turn and wait for each; many of these run at once, until it is stopped."""
        turn = threading.get_ident()
        while not self.stopped.is_set():
            turn += 1
            with suppress(OSError, http.client.HTTPException):
                name = self.submit(turn % len(self.recordings))
                while not self.stopped.is_set():
                    with suppress(OSError, http.client.HTTPException):
                        if self.job(name)["status"] in {"COMPLETED", "FAILED"}:
                            break
                    time.sleep(0.1)
            time.sleep(0.1)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Keep the server busy while the context lasts."""
        threads = [threading.Thread(target=self.keep_busy) for _ in range(JOBS_AT_ONCE)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopped.set()
            for thread in threads:
                thread.join()

    def ended(self, name: str, *, seconds: float = 120.0) -> dict[str, Any]:
        """Wait until a job has ended."""
        until = time.monotonic() + seconds
        while True:
            with suppress(OSError, http.client.HTTPException):
                job = self.job(name)
                if job["status"] in {"COMPLETED", "FAILED"}:
                    return job
            assert time.monotonic() < until, f"{name} has not ended"
            time.sleep(0.1)


def find(server: Server, target: str) -> psutil.Process | None:
    """Return the server's own process of a kind, if it is there now: looked for below the supervisor only."""
    supervisor = psutil.Process(server.process.pid)
    if target == ALL:
        return supervisor
    marks = {"api": "api", "worker": "worker", "decoder": "batchscribe.decoding.forkserver"}
    for process in supervisor.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            if target == "engine" and "batchscribe.engines.child" in words:
                return process
            if target == "decoder" and marks[target] in words and process.parent() != find(server, target="worker"):
                continue
            if target in marks and marks[target] in words:
                return process
    return None


def recognised_chunks(data_dir: Path) -> dict[tuple[str, int], tuple[int, str]]:
    """Return the attempts and the moment of recognition of every recognised chunk, read beside the server."""
    query = 'SELECT job_name, "index", attempts, recognised_at FROM chunks WHERE recognised_at IS NOT NULL'
    with closing(sqlite3.connect(f"file:{data_dir}/batchscribe.sqlite?mode=ro", uri=True, timeout=30)) as database:
        return {(name, index): (attempts, at) for name, index, attempts, at in database.execute(query)}


@dataclass
class Run:
    """What a run of kills left to be looked at."""

    kills: Counter[str] = field(default_factory=Counter)
    #: Every chunk that was ever seen recognised, as it was then.
    recognised: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    #: Kills that found a chunk begun and not yet recognised.
    in_hand: int = 0


def kill_at_random(
    server: Server, restart: Callable[[], Server], *, targets: tuple[str, ...], kills: int, chance: random.Random
) -> tuple[Server, Run]:
    """Kill so many processes at random moments; a killed supervisor is started again. Return the last server."""
    run = Run()
    folder = server.data_dir
    while run.kills.total() < kills:
        time.sleep(chance.uniform(0.2, 2.0))
        target = chance.choice(targets)
        victim = find(server, target)
        if victim is None:
            continue
        with closing(sqlite3.connect(f"file:{folder}/batchscribe.sqlite?mode=ro", uri=True, timeout=30)) as database:
            begun = database.execute("SELECT count(*) FROM chunks WHERE attempts > 0 AND recognised_at IS NULL")
            run.in_hand += begun.fetchone()[0] > 0
        with suppress(psutil.NoSuchProcess):
            everybody = psutil.Process(server.process.pid).children(recursive=True)
            victim.send_signal(signal.SIGKILL)
            run.kills[target] += 1
        if target == ALL:
            server.process.wait(30)
            psutil.wait_procs(everybody, timeout=10)
            server = restart()
        for chunk, facts in recognised_chunks(folder).items():
            assert run.recognised.setdefault(chunk, facts) == facts, f"{chunk} was recognised again"
    return server, run


def check_everything(server: Server, client: Client, run: Run, undisturbed: list[str]) -> None:
    """Look at every promise after the storm."""
    for name, index in client.accepted.items():
        job = client.ended(name)
        assert job["status"] == "COMPLETED", job
        assert job["transcript"] == undisturbed[index], name
    wait_until_idle(server.data_dir)
    now = recognised_chunks(server.data_dir)
    assert run.recognised.items() <= now.items()
    with closing(sqlite3.connect(f"file:{server.data_dir}/batchscribe.sqlite?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        events: dict[str, list[str]] = {}
        for name, kind in database.execute("SELECT job_name, type FROM job_events ORDER BY id"):
            events.setdefault(name, []).append(kind)
        assert database.execute("SELECT count(*) FROM chunks WHERE recognised_at IS NULL").fetchone() == (0,)
    # A submission whose answer was cut off may have been accepted all the same; it is then a job like any other.
    assert events.keys() >= client.accepted.keys()
    assert {tuple(kinds) for kinds in events.values()} == {("job.queued", "job.started", "job.completed")}
    files = [path for path in (server.data_dir / "media").rglob("*") if path.is_file()]
    assert [path for path in files if path.parts[-2] == "uploads"] == cut_off_uploads(files)
    assert [path for path in files if "work" in path.relative_to(server.data_dir).parts] == []


def cut_off_uploads(files: list[Path]) -> list[Path]:
    """Return the uploads of which the api was killed; only a day later are they surely nobody's."""
    return [path for path in files if path.parts[-2] == "uploads" and path.stat().st_mtime < time.time()]


def wait_until_idle(data_dir: Path) -> None:
    """Wait until the durable engine has nothing left to do."""
    until = time.monotonic() + 60
    query = "SELECT count(*) FROM workflow_status WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED')"
    while True:
        with closing(sqlite3.connect(f"file:{data_dir}/batchscribe.sqlite?mode=ro", uri=True, timeout=30)) as database:
            if database.execute(query).fetchone() == (0,):
                return
        assert time.monotonic() < until, "work is left over"
        time.sleep(0.1)
