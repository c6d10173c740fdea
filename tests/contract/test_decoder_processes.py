"""The decoder's processes: they die when they must, take nothing with them, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from decoder_media import tone, wav

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.decoding.sandbox import sandbox_status
from batchscribe.errors import DecoderCrashed, DecoderLimit

#: Far more than the sockets hold, so that a child whose reader rests is alive.
LONG_SECONDS = 300


@pytest.fixture
def decoder() -> Iterator[CagedDecoder]:
    """Return a decoder of the test's own, impatient with a child that does nothing."""
    caged = CagedDecoder(stall_seconds=2.0)
    yield caged
    caged.close()


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of half a second."""
    path = tmp_path_factory.mktemp("media") / "short.wav"
    path.write_bytes(wav(tone(0.5)))
    return path


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of five minutes."""
    path = tmp_path_factory.mktemp("media") / "long.wav"
    path.write_bytes(wav(tone(1.0) * LONG_SECONDS))
    return path


def server_of(decoder: CagedDecoder) -> psutil.Process:
    """Return the decoder's fork server."""
    assert decoder._server is not None
    return psutil.Process(decoder._server._process.pid)


def decoded_bytes(decoder: CagedDecoder, path: Path) -> int:
    """Decode a recording and return the length of its PCM."""
    with path.open("rb") as media, decoder.open(media) as audio:
        return sum(map(len, audio.blocks()))


def held_by(decoder: CagedDecoder) -> tuple[int, int]:
    """Return how many descriptors this process and the fork server hold while both rest."""
    # The server closes its end a moment after it has told the child's end.
    time.sleep(0.2)
    return psutil.Process().num_fds(), server_of(decoder).num_fds()


def eventually(is_so: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Wait until it is so; False when it does not come about."""
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize(
    ("number", "error"),
    [
        pytest.param(signal.SIGKILL, DecoderCrashed, id="killed"),
        pytest.param(signal.SIGSEGV, DecoderCrashed, id="segmentation fault"),
        pytest.param(signal.SIGABRT, DecoderCrashed, id="aborted"),
        pytest.param(signal.SIGXCPU, DecoderLimit, id="out of processor time"),
    ],
)
def test_a_child_that_dies_fails_its_recording_alone(
    number: signal.Signals, error: type[Exception], decoder: CagedDecoder, short: Path, long: Path
) -> None:
    """The error says what happened; a decode at the same time and the next one are not touched."""
    with short.open("rb") as other_media, decoder.open(other_media) as other:
        with long.open("rb") as media, decoder.open(media) as audio:
            blocks = audio.blocks()
            next(blocks)
            newest = max(server_of(decoder).children(), key=lambda child: child.pid)
            newest.send_signal(number)
            with pytest.raises(error):
                list(blocks)
        assert sum(map(len, other.blocks())) == 16_000
    assert decoded_bytes(decoder, short) == 16_000


def test_a_child_that_stops_working_is_killed_when_patience_ends(
    decoder: CagedDecoder, long: Path, short: Path
) -> None:
    """A stopped child delivers nothing for two seconds and ends in DecoderLimit, not in a hang."""
    with long.open("rb") as media, decoder.open(media) as audio:
        blocks = audio.blocks()
        next(blocks)
        (child,) = server_of(decoder).children()
        child.suspend()
        with pytest.raises(DecoderLimit):
            list(blocks)
    assert not child.is_running()
    assert decoded_bytes(decoder, short) == 16_000


def test_a_slow_reader_only_makes_the_child_wait(decoder: CagedDecoder, long: Path) -> None:
    """The time between two blocks is the reader's own and does not count against the child."""
    with long.open("rb") as media, decoder.open(media) as audio:
        blocks = audio.blocks()
        total = len(next(blocks))
        time.sleep(2.5)
        assert total + sum(map(len, blocks)) == LONG_SECONDS * 32_000


def test_a_dead_fork_server_is_replaced_at_the_next_recording(decoder: CagedDecoder, short: Path) -> None:
    """Killed between two recordings, it is not missed."""
    assert decoded_bytes(decoder, short) == 16_000
    first = server_of(decoder)
    first.kill()
    assert decoded_bytes(decoder, short) == 16_000
    assert server_of(decoder).pid != first.pid


def test_the_fork_servers_death_takes_its_children_and_is_told(decoder: CagedDecoder, long: Path, short: Path) -> None:
    """A decode under way ends in DecoderCrashed, its child is gone, and the next one works."""
    with long.open("rb") as media, decoder.open(media) as audio:
        blocks = audio.blocks()
        next(blocks)
        server = server_of(decoder)
        (child,) = server.children()
        server.kill()
        with pytest.raises(DecoderCrashed):
            list(blocks)
        if sys.platform == "linux":
            assert eventually(lambda: not child.is_running())
    assert decoded_bytes(decoder, short) == 16_000


def test_leaving_early_two_hundred_times_leaves_no_process_and_no_descriptor(decoder: CagedDecoder, long: Path) -> None:
    """Children are gone when the context is left, reaped, and both processes hold what they held before."""

    def leave_early() -> None:
        with long.open("rb") as media, decoder.open(media) as audio:
            next(audio.blocks())

    leave_early()
    held = held_by(decoder)
    for turn in range(200):
        leave_early()
        assert turn % 20 or server_of(decoder).children() == []
    assert held_by(decoder) == held


def test_an_error_leaves_no_process_and_no_descriptor(decoder: CagedDecoder, short: Path, tmp_path: Path) -> None:
    """Recordings that fail are cleaned up after like the others."""
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"nothing")
    assert decoded_bytes(decoder, short) == 16_000
    held = held_by(decoder)
    for _ in range(20):
        with bad.open("rb") as media, pytest.raises(Exception, match="format"), decoder.open(media):
            pass
    assert server_of(decoder).children() == []
    assert held_by(decoder) == held


def test_closing_ends_every_process_even_in_the_middle(long: Path) -> None:
    """After close nothing runs, and the decode that was under way ends in DecoderCrashed."""
    decoder = CagedDecoder()
    with long.open("rb") as media, decoder.open(media) as audio:
        blocks = audio.blocks()
        next(blocks)
        server = server_of(decoder)
        (child,) = server.children()
        decoder.close()
        assert not server.is_running()
        with pytest.raises(DecoderCrashed):
            list(blocks)
    assert eventually(lambda: not child.is_running())


_PARENT = """
import sys, time
from batchscribe.decoding.cage import CagedDecoder
decoder = CagedDecoder()
with open(sys.argv[1], "rb") as media, decoder.open(media) as audio:
    next(audio.blocks())
    print(decoder._server._process.pid, flush=True)
    time.sleep(60)
"""


def test_the_processes_end_with_their_parent(long: Path) -> None:
    """A parent killed without a word leaves neither its fork server nor a child behind."""
    with subprocess.Popen([sys.executable, "-c", _PARENT, str(long)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        (child,) = server.children()
        parent.kill()
    assert eventually(lambda: not server.is_running() and not child.is_running())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_child_is_confined_polite_and_knows_no_secrets(
    decoder: CagedDecoder, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its limits are the promised ones, it yields to others, and the parent's environment has not come along."""
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    with long.open("rb") as media, decoder.open(media) as audio:
        next(audio.blocks())
        server = server_of(decoder)
        (child,) = server.children()
        state = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{child.pid}/status").read_text().splitlines() if ":\t" in line
        )
        assert state["NoNewPrivs"] == "1"
        assert state["Threads"] == "1"
        assert state["Seccomp"] == ("2" if sandbox_status().seccomp else "0")
        assert child.nice() == min(19, psutil.Process().nice() + 5)
        assert child.memory_info().rss < 200 << 20
        for limit, ceiling in (
            (psutil.RLIMIT_AS, 1 << 30),
            (psutil.RLIMIT_FSIZE, 0),
            (psutil.RLIMIT_CORE, 0),
            (psutil.RLIMIT_NOFILE, 32),
            (psutil.RLIMIT_NPROC, 0),
        ):
            assert child.rlimit(limit) == (ceiling, ceiling)
        assert child.rlimit(psutil.RLIMIT_CPU)[0] == round(60 + 0.05 * LONG_SECONDS)
        assert len(os.listdir(f"/proc/{child.pid}/fd")) <= 5  # noqa: PTH208 pathlib would open it in this process too
        assert "hunter2" not in str(server.environ())
        assert server.num_threads() == 1
