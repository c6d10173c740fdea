"""The command line itself: help, speed, exit codes, sentences."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from batchscribe import __version__
from batchscribe.cli import commands, main
from batchscribe.cli.options import TRANSCRIPT_FORMATS
from batchscribe.exports import FORMATS


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the whole command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["batchscribe", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def every_command(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that lead to it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from every_command(each, (*path, name))


def test_help_loads_nothing_heavy() -> None:
    """The command line answers at once because a command's libraries wait until it runs."""
    heavy = "{'httpx2', 'rich', 'pydantic', 'sqlalchemy', 'dbos', 'fastapi', 'numpy', 'av'}"
    code = f"import sys, batchscribe.cli; print(*({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.strip() == ""


@pytest.mark.parametrize("path", [path for path, _ in every_command(commands)], ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    """Each says what it does and describes each of its options."""
    result = CliRunner().invoke(commands, [*path, "--help"])
    assert result.exit_code == 0
    command = dict(every_command(commands))[path]
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option)), path


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "No such file"), (b"\xff\xfe\xfa", "not UTF-8"), (b"\n\n", "at least one word"), (b"...", "a letter")],
)
def test_without_a_server_a_file_of_words_that_cannot_be_used_is_refused_with_its_reason(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    """Before anything is loaded or recognised."""
    recording, words = tmp_path / "talk.wav", tmp_path / "words.txt"
    recording.write_bytes(b"RIFF")
    if content is not None:
        words.write_bytes(content)
    for option in ("--vocabulary", "--filter"):
        result = CliRunner().invoke(commands, ["transcribe", str(recording), "--local", option, str(words)])
        assert result.exit_code == 2
        assert option in result.stderr
        assert sentence in " ".join(result.stderr.split())


def test_the_version_is_told() -> None:
    """One line, for bug reports."""
    result = CliRunner().invoke(commands, ["--version"])
    assert result.stdout == f"batchscribe, version {__version__}\n"


def test_the_formats_offered_are_those_there_are() -> None:
    """The list stands in the command line so that help need not load the exports."""
    assert set(TRANSCRIPT_FORMATS) == set(FORMATS)


def test_wrong_settings_end_with_2_and_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, and the setting's name."""
    monkeypatch.setenv("BATCHSCRIBE_PORT", "many")
    assert run_main(monkeypatch, "doctor") == 2
    printed = capsys.readouterr().err
    assert printed.startswith("batchscribe: BATCHSCRIBE_PORT is 'many'")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("command", [["jobs", "list"], ["transcribe", __file__], ["jobs", "show", "transcribe-1"]])
def test_without_a_server_one_sentence_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """Port 1 answers nobody."""
    monkeypatch.setenv("BATCHSCRIBE_URL", "http://127.0.0.1:1")
    assert run_main(monkeypatch, *command) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(
        "batchscribe: No server answers at http://127.0.0.1:1; start one with `batchscribe serve`"
    )
    assert ("--local" in printed) is (command[0] == "transcribe")
    assert printed.count("\n") == 1


def test_a_file_that_is_not_there_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Found before anything else is done."""
    assert run_main(monkeypatch, "transcribe", str(tmp_path / "none.mp3")) == 2


def test_a_servers_model_cannot_be_chosen_from_afar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options that only --local heeds are refused rather than ignored."""
    assert run_main(monkeypatch, "transcribe", __file__, "--model", "small") == 2


@pytest.mark.parametrize("way", [["--identify-language"], ["--language-options", "en-US,de-DE"]])
def test_a_language_is_given_or_found_out(monkeypatch: pytest.MonkeyPatch, way: list[str]) -> None:
    """Not both, and that is known before anything is sent."""
    assert run_main(monkeypatch, "transcribe", __file__, "--language", "de-DE", *way) == 2


def test_models_are_listed_as_lines_for_scripts(tmp_path: Path) -> None:
    """Off a terminal, tabs stand between the cells."""
    result = CliRunner().invoke(commands, ["models", "list", "--data-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split("\t")[::2] == ["base", "-"]


def test_a_model_that_is_not_here_cannot_be_verified(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The sentence says how to fetch it."""
    assert run_main(monkeypatch, "models", "verify", "tiny", "--data-dir", str(tmp_path)) == 2
    assert "batchscribe models pull tiny" in capsys.readouterr().err
