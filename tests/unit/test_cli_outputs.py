"""Where the transcripts of several recordings go, and what stops them from going there."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from batchscribe.cli.outputs import plan_outputs, write_transcript


def plan(*files: Path, output: Path | str | None = None, overwrite: bool = False) -> dict[Path, Path | None]:
    """Plan for subtitles."""
    text = None if output is None else str(output)
    return plan_outputs(files, text, extension="srt", overwrite=overwrite)


def test_one_recording_goes_to_stdout() -> None:
    """Without --output nothing is written."""
    assert plan(Path("talk.mp3")) == {Path("talk.mp3"): None}


def test_the_same_recording_twice_is_one() -> None:
    """A shell may name a file twice."""
    assert plan(Path("talk.mp3"), Path("talk.mp3")) == {Path("talk.mp3"): None}


def test_one_recording_goes_to_the_named_file(tmp_path: Path) -> None:
    """The name is taken as it is."""
    assert plan(Path("talk.mp3"), output=tmp_path / "x.y") == {Path("talk.mp3"): tmp_path / "x.y"}


@pytest.mark.parametrize("slash", ["", "/"])
def test_one_recording_goes_into_a_folder_that_is_one(tmp_path: Path, slash: str) -> None:
    """A folder that exists, or a name that ends like one's."""
    assert plan(Path("talk.mp3"), output=f"{tmp_path}{slash}") == {Path("talk.mp3"): tmp_path / "talk.srt"}
    assert plan(Path("talk.mp3"), output=f"{tmp_path}/new/") == {Path("talk.mp3"): tmp_path / "new" / "talk.srt"}


def test_several_recordings_go_beside_themselves() -> None:
    """The way of video players, which look for film.srt beside film.mp4."""
    assert plan(Path("a/one.mp3"), Path("b/two.wav")) == {
        Path("a/one.mp3"): Path("a/one.srt"),
        Path("b/two.wav"): Path("b/two.srt"),
    }


def test_recordings_that_would_meet_keep_their_whole_names(tmp_path: Path) -> None:
    """Neither transcript is lost."""
    assert plan(Path("a.mp3"), Path("a.wav"), Path("b.wav"), output=tmp_path) == {
        Path("a.mp3"): tmp_path / "a.mp3.srt",
        Path("a.wav"): tmp_path / "a.wav.srt",
        Path("b.wav"): tmp_path / "b.srt",
    }


def test_recordings_that_still_meet_are_refused(tmp_path: Path) -> None:
    """The same name from two folders cannot go into one."""
    with pytest.raises(click.UsageError, match="Several recordings"):
        plan(Path("a/one.mp3"), Path("b/one.mp3"), output=tmp_path)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    """A reference transcript beside the recording is safe."""
    (tmp_path / "one.srt").touch()
    files = (tmp_path / "one.mp3", tmp_path / "two.mp3")
    with pytest.raises(click.UsageError, match="add --overwrite"):
        plan(*files)
    assert plan(*files, overwrite=True)[files[0]] == tmp_path / "one.srt"


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    """Not even with --overwrite."""
    recording = tmp_path / "one.mp3"
    recording.touch()
    with pytest.raises(click.UsageError, match="take the place of its recording"):
        plan(recording, output=recording, overwrite=True)


def test_several_recordings_need_a_folder(tmp_path: Path) -> None:
    """A file in the folder's place is refused before anything is sent."""
    (tmp_path / "out").touch()
    with pytest.raises(click.UsageError, match="need a folder"):
        plan(Path("a.mp3"), Path("b.mp3"), output=tmp_path / "out")


def test_a_transcript_is_written_as_utf_8_as_it_is(tmp_path: Path) -> None:
    """The folder is made."""
    write_transcript("Grüße\n".encode(), tmp_path / "new" / "talk.txt")
    assert (tmp_path / "new" / "talk.txt").read_bytes() == "Grüße\n".encode()
