"""What every media store promises, checked over each of them."""

from __future__ import annotations

import os
import random
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from batchscribe.domain.ports import MediaStore
from batchscribe.errors import MediaMissing, StorageFull, UploadTooLarge
from batchscribe.storage.folder import FolderStore
from batchscribe.storage.s3 import S3Store
from object_servers import ObjectServer, use_environment

KEY = "audio/batch/2026-02-05/transcribe-1.mp3"


@dataclass(frozen=True)
class Laid:
    """A store that is empty, and a look behind it."""

    store: MediaStore
    #: Everything that lies there, also of uploads that are not finished.
    contents: Callable[[], list[str]]
    #: Has another process begin an upload and die in it, where that leaves something for us to reclaim.
    crash: Callable[[], None]


def folder_store(folder: Path, *, min_free_bytes: int = 0) -> FolderStore:
    """Make a store over a folder."""
    return FolderStore(folder, bucket="recordings", min_free_bytes=min_free_bytes)


def laid_in_folder(folder: Path) -> Laid:
    """Make a store over a folder."""
    program = (
        "from batchscribe.storage.folder import FolderStore\n"
        f"upload = FolderStore(Path({str(folder)!r}), bucket='b', min_free_bytes=0).begin_upload()\n"
        "upload.write(b'cut off')"
    )
    return Laid(
        store=folder_store(folder),
        contents=lambda: [path.relative_to(folder).as_posix() for path in files_below(folder)],
        crash=lambda: crash_after(program),
    )


def laid_in_bucket(server: ObjectServer, spool_folder: Path) -> Laid:
    """Make a store over an unused prefix of a server's bucket; AWS's variables must be set."""
    url = server.new_url()
    program = (
        "from batchscribe.storage.s3 import S3Store\n"
        f"upload = S3Store({url!r}, spool_folder=Path({str(spool_folder)!r})).begin_upload()\n"
        # Later than that is a commit's only moment between the parts and the recording.
        "upload.write(bytes(9 << 20)); upload._transfer.finish()"
    )
    return Laid(
        store=S3Store(url, spool_folder=spool_folder, upload_grace_seconds=0.0),
        contents=lambda: server.keys(url) + server.unfinished_uploads(url),
        crash=lambda: crash_after(program),
    )


@pytest.fixture(params=["folder", "moto", pytest.param("seaweedfs", marks=pytest.mark.xdist_group("seaweedfs"))])
def laid(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laid:
    """Return each kind of store, empty."""
    if request.param == "folder":
        return laid_in_folder(tmp_path / "media")
    server: ObjectServer = request.getfixturevalue(request.param)
    use_environment(monkeypatch, server.environment())
    return laid_in_bucket(server, tmp_path / "spool")


@pytest.fixture
def store(laid: Laid) -> MediaStore:
    """Return each kind of store, empty."""
    return laid.store


def crash_after(program: str) -> None:
    """Run a program in another process that dies at its end without a word."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    program = f"import os; from pathlib import Path\n{program}\nos._exit(9)"
    crashed = subprocess.run([sys.executable, "-c", program], check=False, env=environment)
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

    @pytest.mark.parametrize("size_bytes", [0, 1, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, (24 << 20) + 5])
    def test_a_recording_of_any_size_is_kept_whole(self, laid: Laid, size_bytes: int) -> None:
        """Whether it is sent at once or in parts, and however it is sliced on its way."""
        recording = random.Random(size_bytes).randbytes(size_bytes)  # noqa: S311 - bytes that are no pattern
        upload = laid.store.begin_upload()
        for start in range(0, size_bytes, 1_234_567):
            upload.write(recording[start : start + 1_234_567])
        assert upload.commit(KEY) == size_bytes
        with laid.store.open(KEY) as media:
            assert media.read() == recording
        assert laid.store.get(KEY) == recording
        assert len(laid.contents()) == 1

    def test_an_upload_may_pass_from_thread_to_thread(self, store: MediaStore) -> None:
        """Slices are written by whichever thread is free; only never by two at once."""
        upload = store.begin_upload()
        for _ in range(12):
            thread = threading.Thread(target=upload.write, args=(bytes(1 << 20),))
            thread.start()
            thread.join()
        assert upload.commit(KEY) == store.size(KEY) == 12 << 20

    @pytest.mark.parametrize("size_bytes", [0, 10, 30 << 20])
    def test_an_aborted_upload_leaves_nothing(self, laid: Laid, size_bytes: int) -> None:
        """Abort drops what was written, and may be called again."""
        upload = laid.store.begin_upload()
        upload.write(bytes(size_bytes))
        upload.abort()
        upload.abort()
        assert laid.contents() == []

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

    @pytest.mark.parametrize("sizes", [[], [0], [5], [1, 0, 2], [(4 << 20), (4 << 20), (4 << 20) + 7, 1], [9 << 20, 3]])
    def test_what_lies_under_many_keys_is_joined_in_order(self, laid: Laid, sizes: list[int]) -> None:
        """Into one recording, of any sizes; the pieces stay, and their keys are drawn one by one."""
        chance = random.Random(len(sizes))  # noqa: S311 - bytes that are no pattern
        pieces = {f"incoming/1/{number}": chance.randbytes(size) for number, size in enumerate(sizes)}
        for key, data in pieces.items():
            laid.store.put(key, data)
        assert laid.store.join(iter(pieces), KEY) == sum(sizes)
        assert laid.store.get(KEY) == b"".join(pieces.values())
        assert all(laid.store.get(key) == data for key, data in pieces.items())
        assert len(laid.contents()) == len(pieces) + 1

    def test_what_cannot_be_joined_whole_is_not_joined(self, laid: Laid) -> None:
        """A piece that is missing, or keys that break off, leave nothing."""
        laid.store.put("incoming/1/0", bytes(9 << 20))
        with pytest.raises(MediaMissing):
            laid.store.join(iter(["incoming/1/0", "incoming/1/1"]), KEY)

        def broken() -> Iterator[str]:
            yield "incoming/1/0"
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            laid.store.join(broken(), KEY)
        with pytest.raises(MediaMissing):
            laid.store.get(KEY)
        assert len(laid.contents()) == 1

    def test_there_is_room_for_a_recording_of_some_bytes_and_not_of_all_bytes(self, store: MediaStore) -> None:
        """A folder's disk has an end; a bucket has a largest recording."""
        store.check_room(1000)
        with pytest.raises((StorageFull, UploadTooLarge)):
            store.check_room(1 << 60)

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
        """Only those come that were written longer ago; a store that keeps no extension leaves it out."""
        store.put("work/job-1/0.pcm", b"pcm")
        time.sleep(0.05)
        assert [key.removesuffix(".pcm") for key in store.keys_older_than("work/", 0.01)] == ["work/job-1/0"]
        assert store.keys_older_than("work/", 60.0) == []
        assert store.keys_older_than("nowhere/", 0.0) == []

    def test_what_is_listed_by_age_can_be_deleted(self, laid: Laid) -> None:
        """Whatever form the keys have in which a store lists them."""
        laid.store.put(KEY, b"recording")
        time.sleep(0.05)
        for key in laid.store.keys_older_than("audio/", 0.01):
            laid.store.delete(key)
        assert laid.contents() == []

    def test_what_a_crash_cut_off_is_reclaimed(self, laid: Laid) -> None:
        """An upload whose process is gone goes, once it is old enough; every recording stays."""
        store = laid.store
        store.put(KEY, b"recording")
        laid.crash()
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

    def test_a_prefix_of_many_keys_is_listed_and_removed_whole(self, laid: Laid) -> None:
        """More than a server tells in one answer."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: laid.store.put(f"work/job-1/{number}.pcm", b""), range(1_010)))
        laid.store.put("work/job-2/0.pcm", b"")
        time.sleep(0.05)
        assert len(laid.store.keys_older_than("work/job-1/", 0.01)) == 1_010
        laid.store.delete_prefix("work/job-1/")
        assert len(laid.contents()) == 1

    @pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/etc/passwd", "", ".", "a\0b"])
    def test_a_key_that_is_none_is_refused(self, laid: Laid, key: str) -> None:
        """It would be our bug, and nothing is touched."""
        with pytest.raises(ValueError, match="not a key"):
            laid.store.put(key, b"bytes")
        with pytest.raises(ValueError, match="not a key"):
            laid.store.delete(key)
        assert laid.contents() == []

    @pytest.mark.parametrize("prefix", ["../", "work/../../", "/", "/etc/", "", "work", "./"])
    def test_a_prefix_that_is_none_is_refused(self, store: MediaStore, prefix: str) -> None:
        """Nor does one remove everything, nor one that does not end where a key's part ends."""
        store.put(KEY, b"bytes")
        with pytest.raises(ValueError, match="of the media store"):
            store.delete_prefix(prefix)
        with pytest.raises(ValueError, match="of the media store"):
            store.keys_older_than(prefix, 0.0)
        assert store.get(KEY) == b"bytes"


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
