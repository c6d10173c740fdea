"""Whoever is killed, whenever: every accepted recording is transcribed, once, as if nothing had happened."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
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

from batchscribe.storage.folder import FolderStore

if TYPE_CHECKING:
    from conftest import Clip, Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")

#: Read before the environment is cleaned for the test. The more kills, the longer the test: about three seconds each.
KILLS = int(os.environ.get("BATCHSCRIBE_KILLS", "12"))
SEED = int(os.environ.get("BATCHSCRIBE_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)

RATE_HERTZ = 8000
#: Seconds of the recordings that are submitted, in turn: one chunk to four.
LENGTHS = (20, 200, 330, 480)
#: Jobs that are under way at any time, so that every kill hits somebody.
JOBS_AT_ONCE = 4

ALL = "supervisor"
#: The whole server less often, since it takes seconds to start.
TARGETS = ("api", "worker", "decoder") * 2 + (ALL,)


def noise(seconds: int, *, seed: int) -> bytes:
    """Return a recording of noise."""
    block = random.Random(seed).randbytes(2 * RATE_HERTZ)  # noqa: S311 - noise
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
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="talk.wav"\r\n'
            "Content-Type: audio/wav\r\n\r\n"
        )
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.base_url}/transcribe-batch-async",
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
    if target in {"api", "worker"}:
        return child_with(supervisor, target)
    worker = child_with(supervisor, "worker")
    module = {"decoder": "batchscribe.decoding.forkserver", "engine": "batchscribe.engines.child"}[target]
    return None if worker is None else child_with(worker, module)


def child_with(parent: psutil.Process, word: str) -> psutil.Process | None:
    """Return the child whose command line has a word."""
    with suppress(psutil.NoSuchProcess):
        for child in parent.children():
            with suppress(psutil.NoSuchProcess):
                if word in child.cmdline():
                    return child
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


def has_chunk_in_hand(data_dir: Path) -> bool:
    """Whether a chunk is begun and not yet recognised."""
    query = "SELECT count(*) FROM chunks WHERE attempts > 0 AND recognised_at IS NULL"
    with closing(sqlite3.connect(f"file:{data_dir}/batchscribe.sqlite?mode=ro", uri=True, timeout=30)) as database:
        return bool(database.execute(query).fetchone()[0])


def wait_for_chunk_in_hand(data_dir: Path) -> None:
    """Wait until a kill would hit somebody's work, but not for ever: it may be the worker that is being restarted."""
    until = time.monotonic() + 30
    while not has_chunk_in_hand(data_dir) and time.monotonic() < until:
        time.sleep(0.02)


def kill_at_random(
    server: Server, restart: Callable[[], Server], *, targets: tuple[str, ...], kills: int, chance: random.Random
) -> tuple[Server, Run]:
    """Kill so many processes at random moments; a killed supervisor is started again. Return the last server.

    Each target has its turn before one has a second.
    """
    run, waiting = Run(), list[str]()
    folder = server.data_dir
    while run.kills.total() < kills:
        time.sleep(chance.uniform(0.2, 2.0))
        waiting = waiting or chance.sample(targets, len(targets))
        target = waiting[-1]
        if run.kills.total() % 2:
            wait_for_chunk_in_hand(folder)
        victim = find(server, target)
        if victim is None:
            continue
        waiting.pop()
        run.in_hand += has_chunk_in_hand(folder)
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
        for name, kind in database.execute("SELECT job_name, type FROM job_events WHERE type LIKE 'job.%' ORDER BY id"):
            events.setdefault(name, []).append(kind)
        assert database.execute("SELECT count(*) FROM chunks WHERE recognised_at IS NULL").fetchone() == (0,)
    # A submission whose answer was cut off may have been accepted all the same; it is then a job like any other.
    assert events.keys() >= client.accepted.keys()
    assert {tuple(kinds) for kinds in events.values()} == {("job.queued", "job.started", "job.completed")}
    store = FolderStore(server.data_dir / "media", bucket="b", min_free_bytes=0)
    # What an api or a worker was killed in the middle of writing is known to be nobody's, and goes.
    store.reclaim(0.0)
    for folder in ("uploads", "work"):
        assert [path for path in (server.data_dir / "media" / folder).rglob("*") if path.is_file()] == []


def check_engine_calls(log: str, data_dir: Path) -> Counter[tuple[str, int]]:
    """Look, by what the worker wrote right before each call, how often each chunk was given to the engine."""
    calls: Counter[tuple[str, int]] = Counter()
    for name, index in re.findall(r"chunk goes to the engine job_name=(\S+) chunk=(\d+)", log):
        calls[name, int(index)] += 1
    final = recognised_chunks(data_dir)
    assert calls.keys() == final.keys()
    for chunk, (attempts, _) in final.items():
        assert 1 <= calls[chunk] <= attempts, chunk
    return calls


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


@pytest.mark.timeout(60 + 15 * KILLS)
def test_whoever_is_killed_every_recording_is_transcribed_once(
    start_server: Callable[..., Server], capfd: pytest.CaptureFixture[str]
) -> None:
    """Api, worker, decoder and the whole server, at random moments under load.

    Every job that got its 201 ends COMPLETED with the words of an undisturbed run; no chunk that was recognised is
    given to the engine again, which the chunks' rows at every kill and the worker's own log prove; each job has each of
    its events once; nothing lies about.
    """
    chance = random.Random(SEED)  # noqa: S311 - to be repeated
    print(f"BATCHSCRIBE_SEED={SEED} BATCHSCRIBE_KILLS={KILLS}")  # noqa: T201 - to run it again
    settings = {"scripted_real_time_factor": "0.01", "log_level": "DEBUG"}
    server = start_server(**settings)
    recordings = [noise(seconds, seed=number) for number, seconds in enumerate(LENGTHS)]
    client = Client(base_url=server.base_url, recordings=recordings)
    names = [client.submit(index) for index in range(len(recordings))]
    undisturbed = [client.ended(name)["transcript"] for name in names]
    assert len(set(undisturbed)) == len(recordings)

    def restart() -> Server:
        return start_server(server.data_dir, port=int(server.base_url.rpartition(":")[2]), **settings)

    with client.busy():
        last, run = kill_at_random(server, restart, targets=TARGETS, kills=KILLS, chance=chance)
    check_everything(last, client, run, undisturbed)
    final = recognised_chunks(last.data_dir)
    captured = capfd.readouterr()
    print(captured.out)  # noqa: T201 - the seed again
    calls = check_engine_calls(captured.err, last.data_dir)
    # Unless work was really cut off and really kept, the run proved nothing.
    assert run.in_hand > 0
    assert run.recognised
    print(  # noqa: T201 - what it was worth
        f"{run.kills.total()} kills {dict(run.kills)}, {run.in_hand} with a chunk in hand; "
        f"{len(client.accepted)} jobs, {len(final)} chunks, {calls.total()} given to the engine, "
        f"{sum(attempts > 1 for attempts, _ in final.values())} begun more than once"
    )


@pytest.mark.timeout(60 + 20 * KILLS)
def test_killing_the_engine_that_listens_changes_no_word(
    start_server: Callable[..., Server], clips: list[Clip]
) -> None:
    """The same with the real engine, whose child processes are killed too."""
    chance = random.Random(SEED)  # noqa: S311 - to be repeated
    print(f"BATCHSCRIBE_SEED={SEED} BATCHSCRIBE_KILLS={KILLS}")  # noqa: T201 - to run it again
    server = start_server(engine="local")
    english = [clip.path for clip in clips if clip.language_code == "en-US"]
    recordings = [speech(english[:2], silence_seconds=1), speech(english, silence_seconds=25)]
    client = Client(base_url=server.base_url, recordings=recordings)
    names = [client.submit(index) for index in range(len(recordings))]
    undisturbed = [client.ended(name)["transcript"] for name in names]
    assert all(undisturbed)

    def restart() -> Server:
        return start_server(server.data_dir, port=int(server.base_url.rpartition(":")[2]), engine="local")

    with client.busy():
        last, run = kill_at_random(
            server, restart, targets=("engine", "engine", "worker"), kills=max(3, KILLS // 4), chance=chance
        )
    check_everything(last, client, run, undisturbed)
    assert run.in_hand > 0
    print(f"{run.kills.total()} kills {dict(run.kills)}, {len(client.accepted)} jobs")  # noqa: T201 - the same
