"""The local engine over real child processes that crash, hang and dawdle as they are told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ, ChunkAudio
from batchscribe.engines.keeper import ChildLimits, ChildState
from batchscribe.engines.pool import LocalEngine
from batchscribe.engines.recogniser import whisper_choice
from batchscribe.engines.scripted_recogniser import scripted_choice
from batchscribe.errors import Cancelled, EngineClosed, EngineCrashed, ModelUnavailable, UnsupportedLanguage

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

#: A value of samples and for how many seconds: a word of the scripted recogniser.
Stretch = tuple[int, float]
POISON, LOOP, MINE = 666, 667, 668


def audio(*stretches: Stretch) -> bytes:
    """Return samples in which the scripted recogniser hears these."""
    return b"".join(np.full(round(length * SAMPLE_RATE_HERTZ), value, "<i2").tobytes() for value, length in stretches)


@pytest.fixture
def make_engine() -> Iterator[Callable[..., LocalEngine]]:
    """Return a function that makes engines with scripted children."""
    with ExitStack() as stack:

        def make(*, processes: int = 1, limits: ChildLimits | None = None, **script: Any) -> LocalEngine:
            engine = LocalEngine(scripted_choice(**script), processes=processes, limits=limits)
            stack.callback(engine.close)
            return engine

        yield make


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Give the threads of callers."""
    with ThreadPoolExecutor(8) as executor:
        yield executor


def recognise(
    engine: LocalEngine,
    *stretches: Stretch,
    job_name: str = "job",
    priority: float = 0.0,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Return the words that an engine hears in these."""
    chunk = ChunkAudio(job_name=job_name, index=0, start=0.0, pcm=audio(*stretches), priority=priority)
    segments = engine.recognise(chunk, TranscriptionOptions(), on_progress=lambda _: None, is_cancelled=is_cancelled)
    return [item.content for segment in segments for item in segment.items]


def entries(diary: Path) -> list[dict[str, Any]]:
    """Return what the children wrote down, batch by batch."""
    return [json.loads(line) for line in diary.read_text().splitlines()] if diary.exists() else []


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came to pass"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether a process lives."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_windows_of_many_calls_share_batches_of_one_bucket(
    make_engine: Callable[..., LocalEngine], threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """Calls are pooled, lengths are not mixed, and everyone gets their own words back in order."""
    diary = tmp_path / "diary"
    engine = make_engine(diary=diary, seconds_per_window=0.05, max_batch=4)
    calls = [
        threads.submit(
            recognise, engine, (10 * i, 1.0), (0, 0.5), (10 * i + 1, 2.0), (10 * i + 2, 1.0), job_name=f"{i}"
        )
        for i in range(1, 7)
    ]
    assert [call.result() for call in calls] == [
        [f"w{10 * i}", f"w{10 * i + 1}", f"w{10 * i + 2}"] for i in range(1, 7)
    ]
    batches = entries(diary)
    assert all({2 if value % 10 == 1 else 1 for value in each["values"]} == {each["bucket"]} for each in batches)
    assert max(len({value // 10 for value in each["values"]}) for each in batches) > 1


def test_few_windows_are_spread_over_the_idle_children(make_engine: Callable[..., LocalEngine], tmp_path: Path) -> None:
    """One chunk alone is recognised by all children at once."""
    diary = tmp_path / "diary"
    engine = make_engine(processes=2, diary=diary, seconds_per_window=0.2, max_batch=8)
    engine.warm()
    recognise(engine, *[(value, 1.0) for value in range(1, 5)])
    assert len({each["pid"] for each in entries(diary)}) == 2


def test_a_short_job_does_not_wait_for_a_long_one(
    make_engine: Callable[..., LocalEngine], threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """A newcomer is served next, however much waits of those who were served before."""
    diary = tmp_path / "diary"
    engine = make_engine(diary=diary, seconds_per_window=0.05, max_batch=2)
    long = threads.submit(recognise, engine, *[(value, 1.0) for value in range(1, 31)], job_name="long")
    wait_until(lambda: entries(diary))
    assert recognise(engine, (100, 1.0), job_name="short") == ["w100"]
    assert not long.done()
    assert len(long.result()) == 30


def test_a_window_that_always_ends_its_child_fails_its_own_call_alone(
    make_engine: Callable[..., LocalEngine], threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """Neighbours in the same batch are recognised all the same, after three deaths at most."""
    diary = tmp_path / "diary"
    engine = make_engine(diary=diary, acts={POISON: "crash"})
    calls = [threads.submit(recognise, engine, (value, 1.0), job_name=f"{value}") for value in (1, 2, POISON, 3)]
    with pytest.raises(EngineCrashed, match="ended by signal 9"):
        calls.pop(2).result()
    assert [call.result() for call in calls] == [["w1"], ["w2"], ["w3"]]
    assert sum(POISON in each["values"] for each in entries(diary)) <= 3


def test_a_window_whose_child_died_once_is_recognised_after_all(
    make_engine: Callable[..., LocalEngine], tmp_path: Path
) -> None:
    """One death may be chance."""
    engine = make_engine(diary=tmp_path / "diary", acts={7: "crash once"})
    assert recognise(engine, (6, 1.0), (7, 1.0), (8, 1.0)) == ["w6", "w7", "w8"]


@pytest.mark.parametrize("act", ["raise", "crash at cut"])
def test_whatever_ends_a_child_twice_fails_the_call(make_engine: Callable[..., LocalEngine], act: str) -> None:
    """An error in the child's own code and a death while windows are looked for count too."""
    engine = make_engine(acts={5: act})
    with pytest.raises(EngineCrashed):
        recognise(engine, (5, 1.0))
    assert recognise(engine, (6, 1.0)) == ["w6"]


def test_a_child_killed_from_outside_is_replaced_and_its_work_done_again(
    make_engine: Callable[..., LocalEngine], threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """The caller never notices."""
    diary = tmp_path / "diary"
    engine = make_engine(diary=diary, seconds_per_window=0.3)
    call = threads.submit(recognise, engine, (1, 1.0))
    wait_until(lambda: entries(diary))
    os.kill(entries(diary)[0]["pid"], signal.SIGKILL)
    assert call.result() == ["w1"]


def test_a_child_that_hangs_is_ended_by_the_watchdog(make_engine: Callable[..., LocalEngine]) -> None:
    """Work over its time limit counts as a death."""
    limits = ChildLimits(work_seconds=0.3, work_seconds_per_audio_second=0.0)
    engine = make_engine(limits=limits, acts={LOOP: "hang"})
    with pytest.raises(EngineCrashed, match="did not answer"):
        recognise(engine, (LOOP, 1.0))
    assert recognise(engine, (1, 1.0)) == ["w1"]


def test_cancelling_ends_a_busy_child_at_once(
    make_engine: Callable[..., LocalEngine], threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """A child that works for nobody any more is killed and another serves the next job, within two seconds."""
    diary = tmp_path / "diary"
    engine = make_engine(diary=diary, acts={LOOP: "hang"})
    cancelled = threading.Event()
    call = threads.submit(recognise, engine, (LOOP, 1.0), is_cancelled=cancelled.is_set)
    wait_until(lambda: entries(diary))
    begun = time.monotonic()
    cancelled.set()
    with pytest.raises(Cancelled):
        call.result()
    assert recognise(engine, (1, 1.0)) == ["w1"]
    assert time.monotonic() - begun < 2.0
    assert not is_running(entries(diary)[0]["pid"])


def test_cancelling_one_job_leaves_its_neighbours_in_the_batch_alone(
    make_engine: Callable[..., LocalEngine], threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """A child that still works for somebody goes on."""
    diary = tmp_path / "diary"
    engine = make_engine(diary=diary, seconds_per_window=0.6, max_batch=2)
    cancelled = threading.Event()
    blocker = threads.submit(recognise, engine, (9, 1.0))
    wait_until(lambda: entries(diary))
    doomed = threads.submit(recognise, engine, (1, 1.0), job_name="doomed", is_cancelled=cancelled.is_set)
    other = threads.submit(recognise, engine, (2, 1.0), job_name="other")
    wait_until(lambda: len(entries(diary)) == 2)
    assert sorted(entries(diary)[1]["values"]) == [1, 2]
    cancelled.set()
    with pytest.raises(Cancelled):
        doomed.result()
    assert (blocker.result(), other.result()) == (["w9"], ["w2"])
    assert len({each["pid"] for each in entries(diary)}) == 1


def test_a_child_that_grew_too_large_is_replaced_after_its_work(
    make_engine: Callable[..., LocalEngine], tmp_path: Path
) -> None:
    """What a library leaks is given back, and nobody's work is lost."""
    diary = tmp_path / "diary"
    engine = make_engine(diary=diary, limits=ChildLimits(rss_bytes=1))
    assert recognise(engine, (1, 1.0)) == ["w1"]
    assert recognise(engine, (2, 1.0)) == ["w2"]
    assert len({each["pid"] for each in entries(diary)}) == 2


def test_a_model_that_cannot_be_loaded_is_said_to_every_caller(
    make_engine: Callable[..., LocalEngine], threads: ThreadPoolExecutor
) -> None:
    """No call hangs, and warm() says the same."""
    engine = make_engine(processes=2, unavailable="The model is not here.")
    calls = [threads.submit(recognise, engine, (1, 1.0)) for _ in range(3)]
    for call in calls:
        with pytest.raises(ModelUnavailable, match="not here"):
            call.result()
    with pytest.raises(ModelUnavailable, match="not here"):
        engine.warm()
    assert {child.error for child in engine.status()} == {"The model is not here."}


def test_a_folder_without_a_model_is_said_in_a_sentence(tmp_path: Path) -> None:
    """The real recogniser's own errors arrive as one of ours."""
    engine = LocalEngine(whisper_choice(tmp_path, quality="fast"), processes=1)
    try:
        with pytest.raises(ModelUnavailable, match="cannot be loaded"):
            engine.warm()
    finally:
        engine.close()


def test_a_child_that_dies_while_it_starts_fails_the_callers(make_engine: Callable[..., LocalEngine]) -> None:
    """After a few attempts; such a failure may pass, so that it can be tried again later."""
    engine = make_engine(dies_at_start=True)
    with pytest.raises(EngineCrashed, match="cannot load the model") as caught:
        recognise(engine, (1, 1.0))
    assert caught.value.retryable


def test_closing_wakes_blocked_calls_and_ends_the_children(
    make_engine: Callable[..., LocalEngine], threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """Nobody waits for an engine that is gone."""
    diary = tmp_path / "diary"
    engine = make_engine(processes=2, diary=diary, acts={LOOP: "hang"})
    calls: list[Future[list[str]]] = [threads.submit(recognise, engine, (LOOP, 1.0)) for _ in range(4)]
    wait_until(lambda: entries(diary))
    engine.close()
    for call in calls:
        with pytest.raises(EngineClosed):
            call.result()
    assert not any(is_running(each["pid"]) for each in entries(diary))
    assert {child.state for child in engine.status()} == {ChildState.STOPPED}


def test_warm_starts_every_child_and_status_shows_them(make_engine: Callable[..., LocalEngine]) -> None:
    """Doctor and readiness see process ids, states and the model."""
    engine = make_engine(processes=3)
    assert {child.state for child in engine.status()} == {ChildState.STOPPED}
    engine.warm()
    children = engine.status()
    assert [(child.state, child.model, child.error) for child in children] == [(ChildState.IDLE, "scripted", None)] * 3
    assert all(is_running(child.pid) for child in children if child.pid is not None)
    assert len({child.pid for child in children}) == 3


def test_a_short_chunk_starts_one_child_only(make_engine: Callable[..., LocalEngine]) -> None:
    """Memory is taken for the work that there is."""
    engine = make_engine(processes=3)
    recognise(engine, (1, 1.0))
    assert sorted(child.state is ChildState.STOPPED for child in engine.status()) == [False, True, True]


def test_an_idle_child_gives_its_memory_back_and_starts_again(make_engine: Callable[..., LocalEngine]) -> None:
    """Only where it is asked for."""
    engine = make_engine(limits=ChildLimits(idle_seconds=0.1))
    assert recognise(engine, (1, 1.0)) == ["w1"]
    wait_until(lambda: engine.status()[0].state is ChildState.STOPPED)
    assert recognise(engine, (2, 1.0)) == ["w2"]


def test_a_language_that_the_model_does_not_know_is_refused(make_engine: Callable[..., LocalEngine]) -> None:
    """A code of AWS Transcribe's that Whisper has never heard of."""
    chunk = ChunkAudio(job_name="job", index=0, start=0.0, pcm=audio((1, 1.0)))
    with pytest.raises(UnsupportedLanguage, match="ab-GE"):
        make_engine().recognise(
            chunk, TranscriptionOptions(language_code="ab-GE"), on_progress=lambda _: None, is_cancelled=lambda: False
        )


@on_linux
def test_a_child_is_modest_and_inherits_nothing(
    make_engine: Callable[..., LocalEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread, low priority, folder /, none of our secrets, and no descriptor but its channel and the error log."""
    monkeypatch.setenv("A_SECRET", "of the worker")
    engine = make_engine()
    with (tmp_path / "open in the worker").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        engine.warm()
        pid = engine.status()[0].pid
        assert pid is not None
        child = psutil.Process(pid)
        environment = child.environ()
        assert (child.nice(), child.cwd()) == (10, "/")
        assert (environment["OMP_NUM_THREADS"], environment["HF_HUB_OFFLINE"]) == ("1", "1")
        assert "glibc.malloc" in environment["GLIBC_TUNABLES"]
        assert "A_SECRET" not in environment
        targets = {each.name: each.readlink() for each in Path(f"/proc/{pid}/fd").iterdir() if int(each.name) != 2}
        assert {str(target).partition(":")[0] for target in targets.values()} <= {"/dev/null", "socket", "/dev/urandom"}
        assert sum(str(target).startswith("socket") for target in targets.values()) == 1


@on_linux
def test_children_die_with_the_worker_even_while_they_work(tmp_path: Path) -> None:
    """A worker killed without a word leaves no process behind, not even one that hangs."""
    program = f"""
import os, signal, threading, time
from pathlib import Path
import numpy as np
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.ports import ChunkAudio
from batchscribe.engines.pool import LocalEngine
from batchscribe.engines.scripted_recogniser import scripted_choice

diary = Path({str(tmp_path / "diary")!r})
engine = LocalEngine(scripted_choice(diary=diary, acts={{{LOOP}: "hang"}}), processes=2)
engine.warm()
chunk = ChunkAudio(job_name="job", index=0, start=0.0, pcm=np.full(16000, {LOOP}, "<i2").tobytes())
call = lambda: engine.recognise(chunk, TranscriptionOptions(), on_progress=print, is_cancelled=lambda: False)
threading.Thread(target=call, daemon=True).start()
while not diary.exists():
    time.sleep(0.01)
print(*[child.pid for child in engine.status()], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment, check=False, timeout=60
    )
    pids = [int(pid) for pid in done.stdout.split()[-2:]]
    assert done.returncode == -signal.SIGKILL
    assert len(pids) == 2
    wait_until(lambda: not any(is_running(pid) for pid in pids))
