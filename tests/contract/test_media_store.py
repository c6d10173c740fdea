"""What every media store promises, checked over each of them."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from batchscribe.domain.ports import MediaStore
from batchscribe.errors import MediaMissing, StorageFull
from batchscribe.storage.folder import FolderStore

KEY = "audio/batch/2026-02-05/transcribe-1.mp3"


def folder_store(folder: Path, *, min_free_bytes: int = 0) -> FolderStore:
    """Make a store over a folder."""
    return FolderStore(folder, bucket="recordings", min_free_bytes=min_free_bytes)


@pytest.fixture(params=[folder_store])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MediaStore:
    """Return each kind of store, empty."""
    made: MediaStore = request.param(tmp_path / "media")
    return made


def crash_in_upload(folder: Path) -> None:
    """Have another process begin an upload and die in it."""
    program = (
        "import os, sys; from pathlib import Path; from batchscribe.storage.folder import FolderStore\n"
        "upload = FolderStore(Path(sys.argv[1]), bucket='b', min_free_bytes=0).begin_upload()\n"
        "upload.write(b'cut off'); os._exit(9)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    crashed = subprocess.run([sys.executable, "-c", program, folder], check=False, env=environment)
    assert crashed.returncode == 9


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


class TestMediaStore:
    """The promises of ``domain.ports.MediaStore``."""

    def test_a_committed_upload_is_read_back_byte_for_byte(self, store: MediaStore) -> None:
        """What was written in several pieces is one recording under its key."""
        upload = store.begin_upload()
        upload.write(b"first ")
        upload.write(b"")
        upload.write(b"second")
        assert upload.commit(KEY) == 12
        assert store.get(KEY) == b"first second"
        assert store.size(KEY) == 12

    def test_a_recording_is_not_seen_before_it_is_committed(self, store: MediaStore) -> None:
        """An upload under way is no recording yet."""
        upload = store.begin_upload()
        upload.write(b"half")
        with pytest.raises(MediaMissing):
            store.get(KEY)
        upload.abort()

    def test_an_aborted_upload_leaves_nothing(self, store: MediaStore, tmp_path: Path) -> None:
        """Abort drops what was written, and may be called again."""
        upload = store.begin_upload()
        upload.write(b"never mind")
        upload.abort()
        upload.abort()
        assert files_below(tmp_path) == []

    def test_abort_after_commit_keeps_the_recording(self, store: MediaStore) -> None:
        """Whoever always aborts at the end does no harm."""
        upload = store.begin_upload()
        upload.write(b"kept")
        upload.commit(KEY)
        upload.abort()
        upload.abort()
        assert store.get(KEY) == b"kept"

    def test_put_replaces_what_was_there(self, store: MediaStore) -> None:
        """The last bytes count."""
        store.put(KEY, b"long before")
        store.put(KEY, b"now")
        assert store.get(KEY) == b"now"

    def test_a_reader_of_a_replaced_recording_keeps_the_old_bytes(self, store: MediaStore) -> None:
        """A replacement is whole: nobody reads half of one and half of the other."""
        store.put(KEY, b"a" * 100_000)
        with store.open(KEY) as media:
            first = media.read(10)
            store.put(KEY, b"b" * 100_000)
            assert first + media.read() == b"a" * 100_000

    def test_an_opened_recording_is_seekable_and_has_a_descriptor(self, store: MediaStore) -> None:
        """The decoder needs both."""
        store.put(KEY, b"0123456789")
        with store.open(KEY) as media:
            media.seek(4)
            assert media.read(2) == b"45"
            assert os.pread(media.fileno(), 3, 7) == b"789"

    @pytest.mark.parametrize("question", ["open", "get", "size"])
    def test_a_recording_that_is_not_there_is_missing(self, store: MediaStore, question: str) -> None:
        """Every question about it raises MediaMissing."""
        with pytest.raises(MediaMissing):
            getattr(store, question)(KEY)

    def test_deleting_is_harmless_twice(self, store: MediaStore) -> None:
        """A key that is not there can be deleted."""
        store.put(KEY, b"bytes")
        store.delete(KEY)
        store.delete(KEY)
        with pytest.raises(MediaMissing):
            store.get(KEY)

    def test_delete_prefix_removes_all_below_it_and_nothing_beside_it(self, store: MediaStore) -> None:
        """One job's working audio goes; a job whose name only begins the same stays."""
        for key in ("work/job-1/0.pcm", "work/job-1/1.pcm", "work/job-10/0.pcm", KEY):
            store.put(key, b"pcm")
        store.delete_prefix("work/job-1/")
        store.delete_prefix("work/job-1/")
        for gone in ("work/job-1/0.pcm", "work/job-1/1.pcm"):
            with pytest.raises(MediaMissing):
                store.get(gone)
        assert store.get("work/job-10/0.pcm") == store.get(KEY) == b"pcm"

    def test_keys_are_listed_by_age(self, store: MediaStore) -> None:
        """Keys come without extension, and only those that were written longer ago."""
        store.put("work/job-1/0.pcm", b"pcm")
        time.sleep(0.05)
        assert store.keys_older_than("work/", 0.01) == ["work/job-1/0"]
        assert store.keys_older_than("work/", 60.0) == []
        assert store.keys_older_than("nowhere/", 0.0) == []

    def test_what_a_crash_cut_off_is_reclaimed(self, store: MediaStore, tmp_path: Path) -> None:
        """An upload whose process is gone goes, once it is old enough; every recording stays."""
        store.put(KEY, b"recording")
        crash_in_upload(tmp_path / "media")
        assert store.reclaim(60.0) == 0
        time.sleep(0.05)
        assert store.reclaim(0.01) == 1
        assert store.reclaim(0.0) == 0
        assert store.get(KEY) == b"recording"

    def test_many_threads_may_store_at_once(self, store: MediaStore) -> None:
        """Even the folders that all of them need first are made without a clash."""
        keys = [f"audio/batch/2026-02-{day:02}/{number}.wav" for day in range(1, 4) for number in range(8)]
        threads = [threading.Thread(target=store.put, args=(key, key.encode())) for key in keys]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [store.get(key) for key in keys] == [key.encode() for key in keys]


class TestFolderStore:
    """What the store of one machine promises beyond that."""

    @pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/etc/passwd", "", ".", "a\0b"])
    def test_no_key_leaves_the_folder(self, tmp_path: Path, key: str) -> None:
        """A key that would is our bug, and nothing is touched."""
        (tmp_path / "outside").write_text("untouched")
        store = folder_store(tmp_path / "media")
        with pytest.raises(ValueError, match="not a key"):
            store.put(key, b"bytes")
        with pytest.raises(ValueError, match="not a key"):
            store.delete(key)
        assert files_below(tmp_path) == [tmp_path / "outside"]

    @pytest.mark.parametrize("prefix", ["../", "work/../../", "/", "/etc/", "", "work", "./"])
    def test_no_prefix_leaves_the_folder(self, tmp_path: Path, prefix: str) -> None:
        """Nor does one remove everything, nor one that does not end where a key's part ends."""
        store = folder_store(tmp_path / "media")
        store.put(KEY, b"bytes")
        with pytest.raises(ValueError, match="of the media store"):
            store.delete_prefix(prefix)
        with pytest.raises(ValueError, match="of the media store"):
            store.keys_older_than(prefix, 0.0)
        assert store.get(KEY) == b"bytes"

    def test_recordings_have_no_extension_and_are_their_owners_alone(self, tmp_path: Path) -> None:
        """No program takes a recording for what its name says, and no other user reads it."""
        store = folder_store(tmp_path / "media")
        store.put(KEY, b"bytes")
        upload = store.begin_upload()
        for path in files_below(tmp_path):
            assert not path.suffix
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        upload.abort()
        assert (tmp_path / "media/audio/batch/2026-02-05/transcribe-1").read_bytes() == b"bytes"
        assert stat.S_IMODE((tmp_path / "media/audio/batch/2026-02-05").stat().st_mode) == 0o700

    def test_a_link_in_place_of_a_recording_is_not_followed(self, tmp_path: Path) -> None:
        """Whoever can write into the folder still cannot have another file read."""
        store = folder_store(tmp_path / "media")
        store.put(KEY, b"bytes")
        path = store.path(KEY)
        path.unlink()
        path.symlink_to("/etc/passwd")
        with pytest.raises(OSError, match="symbolic link"):
            store.open(KEY)

    def test_an_upload_on_its_way_is_never_reclaimed(self, tmp_path: Path) -> None:
        """However slow it is, while its process lives it can be finished."""
        store = folder_store(tmp_path / "media")
        upload = store.begin_upload()
        upload.write(b"slow")
        time.sleep(0.02)
        assert folder_store(tmp_path / "media").reclaim(0.01) == 0
        upload.commit(KEY)
        assert store.get(KEY) == b"slow"

    def test_uploads_are_refused_below_the_reserve(self, tmp_path: Path) -> None:
        """A disk that is nearly full takes no recordings, but work under way can go on."""
        reserve = shutil.disk_usage(tmp_path).total * 2
        store = folder_store(tmp_path / "media", min_free_bytes=reserve)
        with pytest.raises(StorageFull):
            store.begin_upload()
        store.put("work/job-1/0.pcm", b"pcm")
        assert store.get("work/job-1/0.pcm") == b"pcm"

    def test_a_long_upload_is_stopped_at_the_reserve(self, tmp_path: Path) -> None:
        """Free space is looked at again while the upload goes on, not only at its beginning."""
        store = folder_store(tmp_path / "media")
        upload = store.begin_upload()
        store._min_free_bytes = shutil.disk_usage(tmp_path).total * 2
        upload.write(b"small")
        with pytest.raises(StorageFull):
            upload.write(bytes(64 << 20))
        upload.abort()
        assert files_below(tmp_path) == []

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
    def test_a_full_disk_is_storage_full(self, tmp_path: Path) -> None:
        """A real write that finds no space says so in our words."""
        upload = folder_store(tmp_path / "media").begin_upload()
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, upload._descriptor)
        os.close(full)
        with pytest.raises(StorageFull):
            upload.write(b"bytes")
        upload.abort()

    @pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
    def test_bytes_then_name_then_folder_reach_the_disk(self, tmp_path: Path) -> None:
        """The kernel is told to store the recording, then its name is made, then every new folder is stored."""
        program = (
            "import sys; from pathlib import Path; from batchscribe.storage.folder import FolderStore\n"
            "store = FolderStore(Path(sys.argv[1]), bucket='b', min_free_bytes=0)\n"
            f"store.put({KEY!r}, b'bytes')"
        )
        trace = tmp_path / "trace"
        wanted = "trace=openat,fsync,rename,renameat,renameat2,mkdir,mkdirat,write"
        options = ["-f", "-y", "-e", wanted, "-o", str(trace)]
        command = ["strace", *options, sys.executable, "-c", program, str(tmp_path / "media")]
        traced = subprocess.run(
            command, check=False, capture_output=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        )
        if b"PTRACE" in traced.stderr or b"ptrace" in traced.stderr:
            pytest.skip("this machine does not let strace look")
        assert traced.returncode == 0, traced.stderr
        calls = _calls_on(tmp_path / "media", trace.read_text())
        day = "audio/batch/2026-02-05"
        assert calls[-1] == f"fsync {day}"
        renamed = calls.index(f"rename uploads/* {day}/transcribe-1")
        assert "fsync uploads/*" in calls[:renamed]
        for made, above in (("audio", "."), ("audio/batch", "audio"), (day, "audio/batch")):
            assert calls.index(f"mkdir {made}") < _last_index(calls, f"fsync {above}") < renamed
        assert "fsync .." in calls


def _last_index(calls: list[str], call: str) -> int:
    return len(calls) - 1 - calls[::-1].index(call)


def _calls_on(folder: Path, trace: str) -> list[str]:
    """Return the successful calls that a trace has on a folder, with paths from there and uploads' names as ``*``."""
    found = []
    for line in trace.splitlines():
        call = re.search(r"(\w+)\((.*)\) += 0$", line)
        if call is None or str(folder.parent) not in line:
            continue
        paths = [os.path.relpath(path, folder) for path in re.findall(r"[<\"](/[^>\"]*)[>\"]", call[2])]
        name = {"renameat": "rename", "renameat2": "rename", "mkdirat": "mkdir"}.get(call[1], call[1])
        if name in {"fsync", "rename", "mkdir"} and paths:
            found.append(f"{name} {' '.join(re.sub('uploads/.*', 'uploads/*', path) for path in paths)}")
    return found
