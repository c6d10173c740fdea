"""What ``batchscribe doctor`` finds on well and on broken machines."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from batchscribe.cli import checkup, commands
from batchscribe.cli.checkup import State
from batchscribe.settings import EngineName, Settings


def test_the_port_is_free_or_somebody_elses() -> None:
    """Another program on the port is a finding that says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = Settings(port=other.getsockname()[1])
        [finding] = checkup.check_port(settings)
    assert finding.state is State.BROKEN
    assert "choose another with --port" in finding.sentence
    [finding] = checkup.check_port(settings)
    assert finding.state is State.OK


def test_an_address_that_is_not_this_machines_is_broken() -> None:
    """192.0.2.1 is kept for documentation: nobody has it."""
    [finding] = checkup.check_port(Settings(host="192.0.2.1"))
    assert finding.state is State.BROKEN


def test_a_data_folder_that_does_not_exist_yet_is_well_and_stays_absent(tmp_path: Path) -> None:
    """The doctor makes nothing."""
    settings = Settings(data_dir=tmp_path / "deep" / "data", min_free_bytes=0)
    assert [each.state for each in checkup.check_data_folder(settings)] == [State.OK]
    assert [each.state for each in checkup.check_database(settings)] == [State.OK]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_broken(tmp_path: Path) -> None:
    """Less room than an upload needs."""
    [finding] = checkup.check_data_folder(Settings(data_dir=tmp_path, min_free_bytes=10**18))
    assert (finding.state, "Make room" in finding.sentence) == (State.BROKEN, True)


def test_a_data_folder_under_a_file_is_broken(tmp_path: Path) -> None:
    """A file stands where a folder should."""
    (tmp_path / "file").touch()
    [finding] = checkup.check_data_folder(Settings(data_dir=tmp_path / "file" / "data"))
    assert finding.state is State.BROKEN


def test_a_file_that_is_no_database_is_broken(tmp_path: Path) -> None:
    """SQLite says so; the sentence passes it on."""
    (tmp_path / "batchscribe.sqlite").write_bytes(b"not a database at all" * 50)
    [finding] = checkup.check_database(Settings(data_dir=tmp_path))
    assert (finding.state, "not a database" in finding.sentence) == (State.BROKEN, True)


@pytest.mark.parametrize("url", ["nonsense", "nosuch://host/name", "sqlite:////proc/none/jobs.sqlite"])
def test_a_database_address_that_cannot_work_is_broken(url: str) -> None:
    """Whatever is wrong with it, it is one sentence."""
    [finding] = checkup.check_database(Settings(database_url=url))
    assert finding.state is State.BROKEN
    assert "\n" not in finding.sentence


def test_the_bundled_model_is_put_together_at_the_first_start(tmp_path: Path) -> None:
    """A fresh machine is not a broken one."""
    [finding] = checkup.check_model(Settings(data_dir=tmp_path))
    assert (finding.state, "first start" in finding.sentence) == (State.NOTE, True)


def test_an_unknown_model_is_broken(tmp_path: Path) -> None:
    """The catalogue's sentence says which there are."""
    [finding] = checkup.check_model(Settings(data_dir=tmp_path, model="enormous"))
    assert finding.state is State.BROKEN


def test_the_scripted_engine_needs_no_model(tmp_path: Path) -> None:
    """It is a fake and says so."""
    [finding] = checkup.check_model(Settings(data_dir=tmp_path, engine=EngineName.SCRIPTED))
    assert finding.state is State.NOTE


def test_the_bundled_ffmpeg_is_named_with_its_version() -> None:
    """Operators see which FFmpeg reads what strangers send."""
    [finding] = checkup.check_ffmpeg(Settings())
    assert re.search(r"FFmpeg \d+\.\d+|^\d+\.\d+", finding.sentence)
    assert finding.state in {State.OK, State.NOTE}


def test_a_missing_sandbox_is_broken_only_where_it_is_required() -> None:
    """What the kernel lacks is told either way."""
    [finding] = checkup.check_sandbox(Settings(require_sandbox=False))
    assert finding.state in {State.OK, State.NOTE}


def test_the_doctor_reports_every_check_and_ends_with_1_where_one_is_broken(tmp_path: Path) -> None:
    """Scripts can rely on the exit code."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        arguments = ["doctor", "--data-dir", str(tmp_path), "--port", str(other.getsockname()[1])]
        result = CliRunner().invoke(commands, [*arguments, "--engine", "scripted"])
    assert result.exit_code == 1
    assert re.search(r"^BROKEN +port ", result.stdout, re.MULTILINE)
    assert len(result.stdout.splitlines()) >= len(checkup.CHECKS)
    assert "what to do" in result.stderr
