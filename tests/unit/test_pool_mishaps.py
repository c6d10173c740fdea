"""The local engine over real child processes that crash, hang, leak and are cancelled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from pool_stage import LOOP, POISON, engine_maker, entries, is_running, recognise, wait_until

from batchscribe.engines.keeper import ChildLimits
from batchscribe.engines.pool import LocalEngine
from batchscribe.errors import Cancelled, EngineCrashed

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def make_engine() -> Iterator[Callable[..., LocalEngine]]:
    """Return a function that makes engines with scripted children."""
    with engine_maker() as make:
        yield make


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Give the threads of callers."""
    with ThreadPoolExecutor(8) as executor:
        yield executor


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
    """A child that works for nobody any more is killed and another serves the next job."""
    diary = tmp_path / "diary"
    engine = make_engine(diary=diary, acts={LOOP: "hang"})
    cancelled = threading.Event()
    asked_at: list[float] = []

    def is_cancelled() -> bool:
        asked_at.append(time.monotonic())
        return cancelled.is_set()

    call = threads.submit(recognise, engine, (LOOP, 1.0), is_cancelled=is_cancelled)
    wait_until(lambda: entries(diary) and len(asked_at) > 3)
    begun = time.monotonic()
    cancelled.set()
    with pytest.raises(Cancelled):
        call.result()
    assert recognise(engine, (1, 1.0)) == ["w1"]
    assert time.monotonic() - begun < 20.0
    assert not is_running(entries(diary)[0]["pid"])
    assert max(later - sooner for sooner, later in pairwise(asked_at)) < 10.0


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
    engine = make_engine(diary=diary, limits=ChildLimits(growth_bytes=-1))
    assert recognise(engine, (1, 1.0)) == ["w1"]
    assert recognise(engine, (2, 1.0)) == ["w2"]
    assert len({each["pid"] for each in entries(diary)}) == 2


def test_a_child_that_dies_while_it_starts_fails_the_callers(make_engine: Callable[..., LocalEngine]) -> None:
    """After a few attempts; such a failure may pass, so that it can be tried again later."""
    engine = make_engine(dies_at_start=True)
    with pytest.raises(EngineCrashed, match="cannot load the model") as caught:
        recognise(engine, (1, 1.0))
    assert caught.value.retryable


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
