"""Reading the settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchscribe.errors import ConfigurationError
from batchscribe.settings import PREFIX, EngineName, Settings, default_data_folder, load, to_environment


def test_every_setting_has_a_default_and_a_description() -> None:
    """A fresh machine needs none of them."""
    settings = load()
    assert settings.engine is EngineName.LOCAL
    assert settings.port == 5001
    assert all(field.description for field in Settings.model_fields.values())


def test_the_environment_is_read_and_what_is_given_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option of the command line goes before the environment; one that was not given does not."""
    monkeypatch.setenv("BATCHSCRIBE_PORT", "8080")
    monkeypatch.setenv("BATCHSCRIBE_HOST", "0.0.0.0")
    monkeypatch.setenv("BATCHSCRIBE_MODEL", "")
    settings = load(port=9090, host=None)
    assert (settings.port, settings.host, settings.model) == (9090, "0.0.0.0", "base")


def test_settings_survive_the_way_through_an_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the supervisor hands to its processes is what they read."""
    settings = load(
        data_dir=tmp_path / "with space",
        engine="scripted",
        require_sandbox=True,
        max_media_seconds=12.5,
        storage_url="file:///srv/media",
        supervisor_pid=4711,
    )
    for name, value in to_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load() == settings


def test_every_setting_reaches_the_environment() -> None:
    """None is forgotten on the way to the processes."""
    settings = load(delete_after_seconds=60, delete_media_after_seconds=0)
    assert set(to_environment(settings)) == {PREFIX + name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "http"),
        ("ENGINE", "cloud"),
        ("QUALITY", "best"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("MAX_MEDIA_SECONDS", "-1"),
        ("REQUIRE_SANDBOX", "perhaps"),
        ("LOG_LEVEL", "LOUD"),
        ("SCRIPTED_REAL_TIME_FACTOR", "-0.5"),
    ],
)
def test_a_wrong_value_is_named_in_a_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Whoever set it reads which setting it is and what stands there."""
    monkeypatch.setenv(f"BATCHSCRIBE_{name}", value)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert str(caught.value).startswith(f"BATCHSCRIBE_{name} is '{value}': ")


def test_settings_cannot_be_changed() -> None:
    """They are read once."""
    with pytest.raises(ValueError, match="frozen"):
        setattr(load(), "port", 1)  # noqa: B010 - the type checker refuses it too


def test_everything_is_kept_in_the_data_folder_by_default(tmp_path: Path) -> None:
    """One folder to back up, one folder to remove."""
    settings = load(data_dir=tmp_path)
    assert settings.effective_database_url == f"sqlite:///{tmp_path}/batchscribe.sqlite"
    assert settings.media_folder == tmp_path / "media"
    assert settings.model_folder == tmp_path / "models"


def test_the_data_folder_follows_the_desktop_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    """``XDG_DATA_HOME`` is honoured, and an empty one is none."""
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert default_data_folder() == Path("/somewhere/batchscribe")
    monkeypatch.setenv("XDG_DATA_HOME", "")
    assert default_data_folder() == Path.home() / ".local/share/batchscribe"


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:///srv/media", "/srv/media"),
        ("file://localhost/srv/media", "/srv/media"),
        ("file:///srv/my%20media", "/srv/my media"),
    ],
)
def test_a_storage_address_names_a_folder(url: str, folder: str) -> None:
    """As file addresses are written everywhere."""
    assert load(storage_url=url).media_folder == Path(folder)


@pytest.mark.parametrize("url", ["s3://bucket", "/srv/media", "file:media", "file://srv/media", "nonsense"])
def test_other_storage_addresses_are_refused(url: str) -> None:
    """Also one slash too few, which would name another machine."""
    with pytest.raises(ConfigurationError, match="BATCHSCRIBE_STORAGE_URL"):
        _ = load(storage_url=url).media_folder


def test_there_is_an_engine_process_a_core_unless_it_is_set() -> None:
    """Only the cores that this process may use count."""
    assert load(engine_processes=3).effective_engine_processes == 3
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert load().effective_engine_processes == cores
