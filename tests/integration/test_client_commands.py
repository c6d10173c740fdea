"""The commands that talk to a server, run as people run them, against a server that misbehaves on request."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_server import Script, contract_server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script() -> Script:
    """Return what the server does; tests change it."""
    return Script()


@pytest.fixture
def environment(script: Script) -> Iterator[dict[str, str]]:
    """Start the server and yield the environment in which commands find it."""
    with contract_server(script) as address:
        yield dict(os.environ) | {"BATCHSCRIBE_URL": address}


def run(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "batchscribe", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return a recording that this server is content with."""
    path = tmp_path / "talk.wav"
    path.write_bytes(b"RIFF1234WAVE")
    return path


def test_a_transcript_is_the_only_thing_on_stdout(environment: dict[str, str], recording: Path) -> None:
    """So that it can be piped on; what happened stands on stderr."""
    done = run(environment, "transcribe", recording, "--format", "vtt")
    assert (done.returncode, done.stdout) == (0, "the words as vtt à\n")
    assert done.stderr.startswith("talk.wav: transcribed")


def test_one_failure_spoils_neither_the_others_nor_goes_unsaid(
    environment: dict[str, str], script: Script, recording: Path, tmp_path: Path
) -> None:
    """A recording that fails is named with its reason, and the exit code is 1."""
    script.failure_reason = "The recording has no audio track."
    done = run(environment, "transcribe", recording, "-o", tmp_path / "talk.txt")
    assert done.returncode == 1
    assert done.stderr == "talk.wav: failed (transcribe-1). The recording has no audio track.\n"
    assert not (tmp_path / "talk.txt").exists()


def test_ctrl_c_tells_what_goes_on_in_the_server(environment: dict[str, str], script: Script, recording: Path) -> None:
    """No traceback: the job's name and how to watch it."""
    script.asks_until_end, script.longest_wait_seconds = 1_000_000, 0.1
    command = [sys.executable, "-m", "batchscribe", "transcribe", str(recording)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not script.asked.get("transcribe-1") and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "batchscribe jobs watch transcribe-1" in printed
    assert "Traceback" not in printed


def test_jobs_are_listed_as_lines_or_as_json(environment: dict[str, str], script: Script) -> None:
    """Tabs for scripts; JSON under the contract's names."""
    script.listed = 130
    lines = run(environment, "jobs", "list", "--limit", "120").stdout.splitlines()
    assert len(lines) == 120
    assert lines[0] == "transcribe-0\tCOMPLETED\ten-US\t2026-02-05T10:30:00+00:00\t\t"
    [job] = json.loads(run(environment, "jobs", "list", "--limit", "1", "--json").stdout)
    assert job == {
        "job_name": "transcribe-0",
        "status": "COMPLETED",
        "language_code": "en-US",
        "creation_time": "2026-02-05T10:30:00.123456+00:00",
    }


def test_a_job_is_shown_with_its_transcript(environment: dict[str, str]) -> None:
    """The words stand last, after a blank line."""
    shown = run(environment, "jobs", "show", "transcribe-1").stdout
    assert shown.startswith("job name: transcribe-1\nstatus: COMPLETED\n")
    assert shown.endswith("\n\nthe words\n")
    assert json.loads(run(environment, "jobs", "show", "transcribe-1", "--json").stdout)["transcript"] == "the words"


def test_watching_a_job_that_fails_ends_with_1(environment: dict[str, str], script: Script) -> None:
    """So that a shell script can wait for a job."""
    assert run(environment, "jobs", "watch", "transcribe-1", "transcribe-2").returncode == 0
    script.failure_reason = "Cancelled by request."
    done = run(environment, "jobs", "watch", "transcribe-1")
    assert (done.returncode, done.stderr) == (1, "transcribe-1: failed. Cancelled by request.\n")


def test_an_unknown_job_is_one_sentence(environment: dict[str, str]) -> None:
    """The server's own, on stderr, with exit code 1."""
    done = run(environment, "jobs", "show", "unknown")
    assert done.returncode == 1
    assert done.stderr == (
        "batchscribe: Job not found: unknown. The transcription job does not exist or has been deleted.\n"
    )


def test_deleting_asks_first(environment: dict[str, str], script: Script) -> None:
    """Without a yes nothing is sent."""
    command = [sys.executable, "-m", "batchscribe", "jobs", "delete", "transcribe-1"]
    done = subprocess.run(
        command, env=environment, input="n\n", capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, script.paths) == (1, [])
    assert run(environment, "jobs", "delete", "transcribe-1", "--yes").returncode == 0
    assert script.paths == ["DELETE /transcribe-job/transcribe-1"]


def test_something_else_at_the_address_is_one_sentence(
    environment: dict[str, str], script: Script, recording: Path
) -> None:
    """Nothing is uploaded to a stranger."""
    script.is_something_else = True
    done = run(environment, "transcribe", recording)
    assert done.returncode == 1
    assert "is not a BatchScribe server" in done.stderr
    assert script.uploads == []


def test_the_test_script_bears_a_server_that_hangs_up(
    environment: dict[str, str], script: Script, recording: Path
) -> None:
    """``test_async_batch.py`` is refused its upload by a stranger, and says so in one line."""
    command = [sys.executable, str(ROOT / "test_async_batch.py"), str(recording)]
    script.hang_ups = 1
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("No server of the contract answers")
    assert done.stderr.count("\n") == 1


def test_the_test_script_says_how_it_is_used(environment: dict[str, str], tmp_path: Path) -> None:
    """Wrong usage ends with 2."""
    for arguments in ([], [str(tmp_path / "none.mp3")], ["--help"], ["a", "b", "c"]):
        command = [sys.executable, str(ROOT / "test_async_batch.py"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
