"""People's tools against a real server with the real engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchscribe.client import Client, JobFailed, JobStatus, ServerRefused

if TYPE_CHECKING:
    from conftest import Clip, Server

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.xdist_group("server")


def run(server: Server, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command against the server to its end."""
    return run_python(server, "-m", "batchscribe", *arguments)


def run_python(server: Server, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python in the server's environment."""
    environment = dict(os.environ) | {"BATCHSCRIBE_URL": server.base_url, "BATCHSCRIBE_DATA_DIR": str(server.data_dir)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def words(text: str) -> list[str]:
    """Return the words alone, in small letters."""
    return re.findall(r"\w+", text.casefold())


def one_clip(clips: list[Clip], language_code: str = "en-US") -> Clip:
    """Return the first clip in a language."""
    return next(clip for clip in clips if clip.language_code.partition("-")[0] == language_code.partition("-")[0])


def test_a_recording_is_transcribed_to_stdout(server: Server, clips: list[Clip]) -> None:
    """The words are right and nothing else is printed."""
    clip = one_clip(clips)
    done = run(server, "transcribe", clip.path, "--language", clip.language_code)
    assert done.returncode == 0, done.stderr
    assert words(done.stdout) == words(clip.text)


def test_several_recordings_become_subtitles_beside_one_that_fails(
    server: Server, clips: list[Clip], tmp_path: Path
) -> None:
    """One broken recording is named with its reason and spoils no other."""
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF\x24\x00\x00\x00WAVE" + bytes(range(256)))
    english = [clip for clip in clips if clip.language_code.startswith("en")][:3]
    out = tmp_path / "out"
    done = run(server, "transcribe", *(clip.path for clip in english), broken, "--format", "srt", "--output", out)
    assert done.returncode == 1
    assert sorted(path.name for path in out.iterdir()) == sorted(f"{clip.path.stem}.srt" for clip in english)
    assert re.search(r"^broken\.wav: failed \(transcribe-[0-9a-f-]+\)\. [A-Z].*\.$", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


def test_a_recording_is_transcribed_without_a_server(server: Server, clips: list[Clip], tmp_path: Path) -> None:
    """With --local the same words come from this process, here as JSON."""
    clip = one_clip(clips)
    target = tmp_path / "talk.json"
    done = run(server, "transcribe", "--local", clip.path, "--format", "json", "--output", target)
    assert done.returncode == 0, done.stderr
    assert json.loads(target.read_text())
    done = run(server, "transcribe", "--local", clip.path)
    assert words(done.stdout) == words(clip.text)


@pytest.mark.parametrize("where", ["at a server", "here"])
def test_words_of_a_vocabulary_are_written_as_it_has_them(
    server: Server, clips: list[Clip], tmp_path: Path, where: str
) -> None:
    """A list that the server keeps, or without a server the file itself; a filter goes with it."""
    clip = next(clip for clip in clips if clip.path.stem == "en-fox")
    phrases, filter_words = tmp_path / "phrases.txt", tmp_path / "filter.txt"
    phrases.write_text("Quick Brown Fox\n\nSchoeffer\n")
    filter_words.write_text("lazy dog\n")
    if where == "here":
        done = run(server, "transcribe", clip.path, "--local", "--vocabulary", phrases, "--filter", filter_words)
    else:
        for kind, file in (("vocabularies", phrases), ("vocabulary-filters", filter_words)):
            assert run(server, kind, "put", "of-the-fox", file).returncode == 0
        done = run(server, "transcribe", clip.path, "--vocabulary", "of-the-fox", "--filter", "of-the-fox")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "The Quick Brown Fox jumps over the ***."


@pytest.mark.parametrize("where", [[], ["--local"]])
def test_the_language_is_found_out(server: Server, clips: list[Clip], where: list[str]) -> None:
    """Spanish is transcribed as Spanish by whoever did not know that it is; a choice implies that it is to be found."""
    clip = one_clip(clips, "es-ES")
    done = run(server, "transcribe", clip.path, "--language-options", "en-US,es-MX,ja-JP", "--format", "json", *where)
    assert done.returncode == 0, done.stderr
    transcript = json.loads(done.stdout)
    assert transcript["language_code"] == "es-MX"
    assert words(transcript["text"]) == words(clip.text)
    assert transcript["languages"][0]["score"] > 0.5


def test_a_language_that_is_unknown_is_refused(server: Server, clips: list[Clip]) -> None:
    """Exit code 1 and the server's sentence, or the engine's own."""
    for where in ([], ["--local"]):
        done = run(server, "transcribe", one_clip(clips).path, "--language", "xx-XX", *where)
        assert done.returncode == 1
        assert "Unknown language code: xx-XX" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_job_is_listed_shown_exported_and_deleted(server: Server, clips: list[Clip]) -> None:
    """The life of a job by ``batchscribe jobs``."""
    clip = one_clip(clips)
    with Client(server.base_url) as client:
        name = client.submit(clip.path).job_name
    assert run(server, "jobs", "watch", name).returncode == 0
    assert any(
        line.startswith(f"{name}\tCOMPLETED\ten-US\t") for line in run(server, "jobs", "list").stdout.splitlines()
    )
    shown = json.loads(run(server, "jobs", "show", name, "--json").stdout)
    assert words(shown["transcript"]) == words(clip.text)
    assert shown["media_duration_seconds"] == pytest.approx(clip.seconds, abs=0.2)
    assert run(server, "jobs", "transcript", name, "--format", "vtt").stdout.startswith("WEBVTT")
    assert "ended" in run(server, "jobs", "cancel", name).stderr
    assert run(server, "jobs", "delete", name, "--yes").returncode == 0
    assert "Job not found" in run(server, "jobs", "show", name).stderr


def test_the_client_downloads_the_recording_byte_for_byte(server: Server, clips: list[Clip], tmp_path: Path) -> None:
    """What was sent is what is kept."""
    clip = one_clip(clips)
    with Client(server.base_url) as client:
        job = client.wait(client.submit(clip.path).job_name, timeout_seconds=120)
        client.media(job.job_name, tmp_path / "again.flac")
        assert job.job_name in {each.job_name for each in client.list(JobStatus.COMPLETED, page_jobs=1)}
    assert (tmp_path / "again.flac").read_bytes() == clip.path.read_bytes()


def test_the_client_tells_why_a_recording_failed_and_an_upload_was_refused(server: Server, tmp_path: Path) -> None:
    """A refusal is now and carries the stable code; a failure is the job's."""
    (tmp_path / "notes.txt").write_text("no recording")
    (tmp_path / "broken.mp3").write_bytes(b"ID3" + bytes(2000))
    with Client(server.base_url) as client:
        with pytest.raises(ServerRefused) as refused:
            client.submit(tmp_path / "notes.txt")
        assert (refused.value.status, refused.value.server_code) == (400, "unsupported_media_format")
        name = client.submit(tmp_path / "broken.mp3").job_name
        with pytest.raises(JobFailed) as failed:
            client.wait(name, timeout_seconds=60)
    assert failed.value.job.failure_code in {"media_damaged", "media_empty", "media_not_recognised"}


def test_the_test_script_goes_from_upload_to_list(server: Server, clips: list[Clip]) -> None:
    """As the contract describes it: upload, poll, transcript, recent jobs."""
    clip = one_clip(clips)
    done = run_python(server, ROOT / "test_async_batch.py", clip.path, clip.language_code)
    assert done.returncode == 0, done.stderr
    assert words(clip.text) == words(done.stdout.partition("\nTranscript\n")[2].partition("\n\n")[0])
    assert "Recent jobs" in done.stdout


def test_the_test_script_ends_with_1_where_the_job_fails(server: Server, tmp_path: Path) -> None:
    """The reason is printed."""
    (tmp_path / "broken.mp3").write_bytes(b"ID3" + bytes(2000))
    done = run_python(server, ROOT / "test_async_batch.py", tmp_path / "broken.mp3")
    assert done.returncode == 1
    assert re.search(r"^Failed: [A-Z].+\.$", done.stdout, re.MULTILINE)


def test_the_doctor_finds_a_running_server_well(server: Server) -> None:
    """Its port is taken by our own server, its database opens, its model is verified."""
    port = server.base_url.rpartition(":")[2]
    done = run(server, "doctor", "--port", port)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^ok +port +a server answers", done.stdout, re.MULTILINE)
    assert re.search(r"^ok +model +base, \d+ files verified", done.stdout, re.MULTILINE)
    assert re.search(r"^ok +database .*batchscribe\.sqlite opens", done.stdout, re.MULTILINE)


def test_a_database_that_is_up_to_date_stays_so(server: Server) -> None:
    """``db upgrade`` is harmless beside a running server."""
    done = run(server, "db", "upgrade")
    assert (done.returncode, done.stdout) == (0, "The database is up to date.\n")
