"""What the command line takes for a recording."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from batchscribe.cli.recordings import Recording, RecordingType, by_path
from batchscribe.cli.transcribe import transcribe


def read(value: str) -> Recording:
    """Read one argument."""
    return RecordingType().convert(value, None, None)


def test_a_file_must_be_there(tmp_path: Path) -> None:
    """A typing error is said before anything is sent."""
    path = tmp_path / "talk.mp3"
    with pytest.raises(click.BadParameter):
        read(str(path))
    path.write_bytes(b"x")
    assert read(str(path)) == Recording(path)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://example.com/a/first%20talk.mp3?sig=1", "first talk.mp3"),
        ("s3://calls/2026/talk.wav", "talk.wav"),
        ("https://example.com", "recording"),
        ("https://example.com/..%2f..%2fetc%2fpasswd", "passwd"),
    ],
)
def test_an_address_is_called_what_its_path_ends_with(address: str, name: str) -> None:
    """Never more than a name: the transcript is written into the current folder."""
    assert read(address) == Recording(Path(name), address)


def test_two_addresses_of_one_name_are_too_many() -> None:
    """Neither transcript is lost; the same address twice is one."""
    one, other = read("https://a.test/talk.mp3"), read("https://b.test/talk.mp3")
    assert by_path((one, one)) == {Path("talk.mp3"): one}
    with pytest.raises(click.UsageError, match="one by one"):
        by_path((one, other))


def test_without_a_server_no_address_is_fetched() -> None:
    """The sentence says so."""
    result = CliRunner().invoke(transcribe, ["https://example.com/talk.mp3", "--local"])
    assert result.exit_code == 2
    assert "--local takes files" in result.output
