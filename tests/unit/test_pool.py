"""The local engine over real child processes: shared work, starts, ends and manners."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from pool_stage import LOOP, audio, engine_maker, entries, is_running, recognise, wait_until

from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.ports import ChunkAudio
from batchscribe.engines.keeper import ChildLimits, ChildState
from batchscribe.engines.pool import LocalEngine
from batchscribe.engines.recogniser import whisper_choice
from batchscribe.errors import EngineClosed, ModelUnavailable, UnsupportedLanguage

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


def test_the_audio_of_a_call_goes_with_the_call(make_engine: Callable[..., LocalEngine]) -> None:
    """Nobody holds a recognised chunk's samples, so that memory does not wait for the collection of rubbish."""
    engine = make_engine()
    pcm = audio((1, 1.0), (0, 0.5), (2, 1.0))
    gc.collect()
    gc.disable()
    try:
        held_before = sys.getrefcount(pcm)
        chunk = ChunkAudio(job_name="job", index=0, start=0.0, pcm=pcm)
        assert engine.recognise(chunk, TranscriptionOptions(), on_progress=lambda _: None, is_cancelled=lambda: False)
        del chunk
        # A keeper holds the last work of its child until it takes the next.
        recognise(engine, (3, 1.0))
        wait_until(lambda: sys.getrefcount(pcm) == held_before)
    finally:
        gc.enable()


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
        assert (child.nice(), child.cwd()) == (min(19, psutil.Process().nice() + 10), "/")
        assert (environment["OMP_NUM_THREADS"], environment["HF_HUB_OFFLINE"]) == ("1", "1")
        assert "A_SECRET" not in environment
        targets = {each.name: each.readlink() for each in Path(f"/proc/{pid}/fd").iterdir() if int(each.name) != 2}
        assert {str(target).partition(":")[0] for target in targets.values()} <= {"/dev/null", "socket", "/dev/urandom"}
        assert sum(str(target).startswith("socket") for target in targets.values()) == 1


def test_voices_are_found_by_a_child_on_the_recordings_scale(make_engine: Callable[..., LocalEngine]) -> None:
    """The same stretch sounds the same, and nobody is heard in silence."""
    engine = make_engine()
    chunk = ChunkAudio(job_name="job", index=2, start=100.0, pcm=audio((3, 1.0), (0, 2.0), (3, 1.0), (4, 1.0)))
    windows = engine.find_voices(chunk, is_cancelled=lambda: False)
    assert [window.start for window in windows] == [100.0, 103.0, 104.0]
    vectors = [window.voices[0].vector for window in windows]
    assert vectors[0] == vectors[1] != vectors[2]
    assert engine.find_voices(replace(chunk, pcm=b""), is_cancelled=lambda: False) == ()
