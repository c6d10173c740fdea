"""What the store does when the bucket is slow, busy, cut off, closed to us, or not the one that was meant."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise, repeat
from pathlib import Path

import pytest
import requests

from batchscribe.errors import ConfigurationError, MediaMissing, StoreUnavailable, UploadTooLarge
from batchscribe.storage import s3_upload
from batchscribe.storage.s3 import S3Store
from fault_proxy import FaultProxy, Kind, fault_proxy
from object_servers import ACCESS_KEY, BUCKET, SECRET_KEY, ObjectServer, use_environment
from running_api import WAV, RunningApi, running_api

KEY = "audio/batch/2026-02-05/transcribe-1.mp3"
LARGE = random.Random(1).randbytes((20 << 20) + 3)  # noqa: S311 - bytes that are no pattern
#: The requests of an upload in parts, as the proxy sees them.
CREATE, PART, COMPLETE, ABORT = (
    r"^POST \S+\?uploads",
    r"^PUT \S+partNumber=",
    r"^POST \S+\?uploadId=",
    r"^DELETE \S+\?uploadId=",
)
#: A look at all that lies in a store.
Left = Callable[[], list[str]]
COPY = rf"^PUT \S+/{KEY}"


@pytest.fixture
def proxy(moto: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Return a way to moto's server that AWS's variables point to."""
    with fault_proxy(moto.endpoint) as running:
        use_environment(monkeypatch, moto.environment(running.endpoint))
        yield running


@pytest.fixture
def url(moto: ObjectServer) -> str:
    """Return the address of an empty store."""
    return moto.new_url()


@pytest.fixture
def left(moto: ObjectServer, url: str) -> Left:
    """Return a look at all that lies in the store, also of uploads that are not finished."""
    return lambda: moto.keys(url) + moto.unfinished_uploads(url)


@pytest.fixture
def store(proxy: FaultProxy, url: str, tmp_path: Path) -> S3Store:
    """Return a store behind the proxy that gives up soon."""
    assert proxy.endpoint
    return hasty_store(url, tmp_path)


def hasty_store(url: str, tmp_path: Path, **limits: float) -> S3Store:
    """Make a store that gives up soon."""
    hasty = {"retry_seconds": 1.0, "silence_seconds": 10.0} | limits
    return S3Store(url, spool_folder=tmp_path / "spool", **hasty)


def upload(store: S3Store, recording: bytes) -> None:
    """Store a recording as the api does, which aborts whatever happens."""
    begun = store.begin_upload()
    try:
        for start in range(0, len(recording), 1 << 20):
            begun.write(recording[start : start + (1 << 20)])
        assert begun.commit(KEY) == len(recording)
    finally:
        begun.abort()


def transfers() -> list[threading.Thread]:
    """Return the threads of uploads that are under way."""
    return [thread for thread in threading.enumerate() if thread.name == s3_upload.THREAD_NAME]


def test_a_busy_bucket_is_asked_again(store: S3Store, proxy: FaultProxy) -> None:
    """SlowDown, errors and resets that pass by are nobody's business."""
    for kind, how in (
        (Kind.ANSWER, {"status": 503, "code": "SlowDown"}),
        (Kind.ANSWER, {"status": 500, "code": "InternalError"}),
        (Kind.ANSWER, {"status": 429, "code": "TooManyRequests"}),
        (Kind.RESET_BEFORE_ANSWER, {}),
    ):
        for request in ("^PUT", "^GET", "^DELETE"):
            proxy.fail(kind, request, times=1, **how)
    upload(store, b"recording")
    assert store.get(KEY) == b"recording"
    store.delete(KEY)
    assert proxy.count() > 12


@pytest.mark.parametrize("request_", [PART, COMPLETE, COPY])
@pytest.mark.parametrize("kind", [Kind.ANSWER, Kind.RESET_BEFORE_ANSWER])
def test_an_upload_in_parts_survives_what_passes_by(
    store: S3Store, proxy: FaultProxy, left: Left, kind: Kind, request_: str
) -> None:
    """A request of it that failed, or whose answer was lost, is sent again, and the recording is whole."""
    proxy.fail(kind, request_, times=1)
    upload(store, LARGE)
    assert store.get(KEY) == LARGE
    assert left() == [KEY]


@pytest.mark.parametrize("kind", [Kind.ANSWER, Kind.RESET_BEFORE_ANSWER])
def test_an_upload_in_parts_survives_that_its_beginning_fails(
    store: S3Store, proxy: FaultProxy, moto: ObjectServer, url: str, kind: Kind
) -> None:
    """It is begun again; an upload whose name never reached us has no parts."""
    proxy.fail(kind, CREATE, times=1)
    upload(store, LARGE)
    assert store.get(KEY) == LARGE
    assert moto.keys(url) == [KEY]
    assert proxy.count(CREATE) == 2


def test_a_bucket_that_stays_busy_is_unavailable_in_bounded_time(store: S3Store, proxy: FaultProxy) -> None:
    """The tries come after waits that grow and are no metronome's, and end."""
    proxy.fail(Kind.ANSWER)
    began_at = time.monotonic()
    with pytest.raises(StoreUnavailable, match="cannot be used at present"):
        store.put(KEY, b"bytes")
    assert 0.5 < time.monotonic() - began_at < 25
    waits = [later - earlier for (earlier, _), (later, _) in pairwise(proxy.requests)]
    assert 3 <= len(waits) <= 20
    assert len({round(wait, 2) for wait in waits}) > 1


def test_silence_is_given_up(url: str, proxy: FaultProxy, tmp_path: Path) -> None:
    """A request that gets no answer in time is sent again; if that helps, nobody notices."""
    store = hasty_store(url, tmp_path, silence_seconds=1.0, retry_seconds=3.0)
    store.put(KEY, b"bytes")
    proxy.fail(Kind.SILENCE, "^GET", times=1, seconds=30)
    assert store.get(KEY) == b"bytes"
    proxy.fail(Kind.SILENCE, seconds=30)
    began_at = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.get(KEY)
    assert time.monotonic() - began_at < 25


@pytest.mark.parametrize("kind", [Kind.RESET_IN_BODY, Kind.CUT_BODY])
def test_a_download_that_breaks_off_goes_on_where_it_was(store: S3Store, proxy: FaultProxy, kind: Kind) -> None:
    """The recording is whole, byte for byte."""
    upload(store, LARGE)
    proxy.fail(kind, "^GET", times=2)
    with store.open(KEY) as media:
        assert media.read() == LARGE
    proxy.fail(kind, "^GET", times=1)
    assert store.get(KEY) == LARGE


@pytest.mark.parametrize("kind", [Kind.RESET_IN_BODY, Kind.CUT_BODY])
def test_a_download_that_never_comes_whole_is_no_recording(
    store: S3Store, proxy: FaultProxy, tmp_path: Path, kind: Kind
) -> None:
    """Half a recording is never taken for one, and its bytes do not stay on disk."""
    upload(store, LARGE)
    proxy.fail(kind, "^GET")
    for read in (store.open, store.get):
        with pytest.raises(StoreUnavailable):
            read(KEY)
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("request_", [CREATE, PART, COMPLETE])
def test_a_failed_upload_in_parts_is_dropped(store: S3Store, proxy: FaultProxy, left: Left, request_: str) -> None:
    """Whichever request of it fails for good: no part is left that would be paid for and never seen."""
    proxy.fail(Kind.ANSWER, request_)
    with pytest.raises(StoreUnavailable):
        upload(store, LARGE)
    assert left() == []
    assert transfers() == []


def test_an_upload_that_cannot_get_its_name_is_dropped(store: S3Store, proxy: FaultProxy, left: Left) -> None:
    """All parts were stored and joined, but the copy fails: nothing is left."""
    proxy.fail(Kind.ANSWER, COPY)
    with pytest.raises(StoreUnavailable):
        upload(store, LARGE)
    assert left() == []


def test_a_recording_is_safe_although_its_upload_cannot_be_removed(
    store: S3Store, proxy: FaultProxy, left: Left, url: str, tmp_path: Path
) -> None:
    """What is left is reclaimed later: the client need not know."""
    proxy.fail(Kind.ANSWER, "^DELETE")
    upload(store, LARGE)
    proxy.faults.clear()
    assert len(left()) == 2
    assert store.get(KEY) == LARGE
    assert store.reclaim(0.0) == 0, "an upload of today may still be on its way"
    assert hasty_store(url, tmp_path, upload_grace_seconds=-2.0).reclaim(-2.0) == 1
    assert left() == [KEY]


def test_a_part_that_was_stored_wrongly_is_noticed(store: S3Store, proxy: FaultProxy, left: Left) -> None:
    """The parts' ETags are what an upload is completed with: a wrong one makes no recording."""
    proxy.fail(Kind.WRONG_ETAG, PART, times=1)
    with pytest.raises(StoreUnavailable):
        upload(store, LARGE)
    assert left() == []


@pytest.mark.xdist_group("seaweedfs")
@pytest.mark.parametrize("recording", [b"recording", LARGE], ids=["at once", "in parts"])
def test_bytes_that_were_bent_on_their_way_are_not_taken(
    seaweedfs: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: bytes
) -> None:
    """Every request is signed with the digest of its body, and the server compares it."""
    url = seaweedfs.new_url()
    with fault_proxy(seaweedfs.endpoint) as proxy:
        use_environment(monkeypatch, seaweedfs.environment(proxy.endpoint))
        store = hasty_store(url, tmp_path)
        proxy.fail(Kind.BENT_REQUEST, "^PUT", times=1)
        with pytest.raises(StoreUnavailable):
            upload(store, recording)
        assert seaweedfs.keys(url) == seaweedfs.unfinished_uploads(url) == []
        upload(store, recording)
        assert store.get(KEY) == recording


def test_an_upload_that_is_dropped_under_way_leaves_no_parts(store: S3Store, left: Left) -> None:
    """The client hung up: the parts that were stored go, and so does the thread."""
    begun = store.begin_upload()
    begun.write(LARGE)
    until = time.monotonic() + 30
    while not left():
        assert time.monotonic() < until
        time.sleep(0.01)
    begun.abort()
    assert left() == []
    assert transfers() == []
    begun.abort()


def test_writing_goes_on_no_further_than_the_bucket_fails(store: S3Store, proxy: FaultProxy) -> None:
    """A client learns while it uploads that it is in vain, and is not kept waiting for ever."""
    proxy.fail(Kind.ANSWER, PART)
    begun = store.begin_upload()
    with pytest.raises(StoreUnavailable):
        deque(map(begun.write, repeat(bytes(1 << 20), 1000)))
    with pytest.raises(StoreUnavailable):
        begun.write(b"more")
    with pytest.raises(StoreUnavailable):
        begun.commit(KEY)
    begun.abort()
    assert proxy.count(ABORT) == 1


def test_a_recording_that_could_not_be_copied_is_refused(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 copies no more than 5 GiB at once; whoever uploads more learns it before the end."""
    monkeypatch.setattr(s3_upload, "LARGEST_BYTES", 10)
    begun = store.begin_upload()
    begun.write(b"0123456789")
    with pytest.raises(UploadTooLarge, match="up to 10 bytes"):
        begun.write(b"0")
    begun.abort()


def test_a_bucket_that_is_closed_to_us_is_asked_once(
    store: S3Store, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """Credentials do not become right by asking again; the log says why, and has no secret."""
    proxy.fail(Kind.ANSWER, status=403, code="AccessDenied")
    with caplog.at_level(logging.WARNING), pytest.raises(StoreUnavailable, match="refuses our credentials"):
        store.get(KEY)
    assert proxy.count() == 1
    assert "AccessDenied" in caplog.text
    assert SECRET_KEY not in caplog.text


def test_only_the_buckets_own_word_says_that_a_recording_is_gone(store: S3Store, proxy: FaultProxy) -> None:
    """A gateway that answers 404 for a moment must end no job."""
    with pytest.raises(MediaMissing):
        store.open(KEY)
    for code in ("NotFound", "NoSuchBucket"):
        proxy.fail(Kind.ANSWER, "^GET", status=404, code=code, times=1)
        with pytest.raises(StoreUnavailable):
            store.open(KEY)


def test_a_full_spool_folder_is_waited_out(store: S3Store, tmp_path: Path) -> None:
    """It is not the recording's fault."""
    store.put(KEY, b"bytes")
    (tmp_path / "spool").rmdir()
    with pytest.raises(StoreUnavailable):
        store.open(KEY)


def test_a_store_that_works_passes_its_check(store: S3Store, left: Left) -> None:
    """And the check leaves nothing behind."""
    store.check()
    assert left() == []


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        ((403, "InvalidAccessKeyId", ""), "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION"),
        ((403, "AccessDenied", "^GET .*list-type"), "that they may list the bucket"),
        ((403, "AccessDenied", "^DELETE"), "and read, write and delete its objects"),
        ((401, "Unauthorized", ""), "check AWS_ACCESS_KEY_ID"),
        ((400, "AuthorizationHeaderMalformed", ""), "AWS_ENDPOINT_URL and AWS_REGION"),
        ((404, "NotFound", ""), "What answers is not usable"),
        ((503, "SlowDown", ""), "AWS_ENDPOINT_URL"),
    ],
)
def test_a_store_that_cannot_be_used_says_what_to_change(
    store: S3Store, proxy: FaultProxy, answer: tuple[int, str, str], advice: str
) -> None:
    """In one sentence, with the address and without a secret."""
    status, code, request = answer
    proxy.fail(Kind.ANSWER, request, status=status, code=code)
    with pytest.raises(ConfigurationError, match=advice) as caught:
        store.check()
    assert proxy.endpoint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET_KEY not in str(caught.value)
    assert ACCESS_KEY not in str(caught.value)


def test_a_bucket_that_is_not_there_is_named(proxy: FaultProxy, tmp_path: Path) -> None:
    """Whether its name or its server is wrong, the sentence shows both."""
    store = hasty_store("s3://recodrings/prefix", tmp_path)
    with pytest.raises(ConfigurationError, match="no such bucket as the bucket recodrings at http://") as caught:
        store.check()
    assert proxy.endpoint in str(caught.value)


def test_a_server_that_is_not_there_is_named(
    tmp_path: Path, moto: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens: the store says so soon."""
    use_environment(monkeypatch, moto.environment("http://127.0.0.1:9"))
    began_at = time.monotonic()
    with pytest.raises(ConfigurationError, match=r"Nothing answers for the bucket recordings at http://127.0.0.1:9"):
        hasty_store(moto.new_url(), tmp_path).check()
    assert time.monotonic() - began_at < 25


def test_missing_credentials_are_missed(tmp_path: Path, moto: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AWS's variables and off AWS's machines there are none."""
    without = {name: value for name, value in moto.environment().items() if "KEY" not in name}
    use_environment(monkeypatch, without | {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:9"})
    with pytest.raises(ConfigurationError, match="There are no credentials for the bucket recordings: set AWS_ACCESS"):
        hasty_store(moto.new_url(), tmp_path).check()


def test_the_endpoint_of_s3_alone_wins(tmp_path: Path, moto: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As AWS's own clients have it."""
    use_environment(monkeypatch, moto.environment("http://127.0.0.1:9") | {"AWS_ENDPOINT_URL_S3": moto.endpoint})
    hasty_store(moto.new_url(), tmp_path).check()


@pytest.mark.parametrize(
    "address",
    [
        "s3://", "s3:///prefix", "s3://ab", "s3://Recordings", "s3://recordings/../other", "s3://recordings//prefix//x",
        "s3://recordings?versionId=1", "s3://key:secret@recordings", "https://recordings/prefix", "recordings", "",
    ],
)  # fmt: skip
def test_an_address_that_is_no_buckets_is_refused(tmp_path: Path, address: str) -> None:
    """The sentence says how it must look, and does not repeat what may hold a secret."""
    with pytest.raises(ConfigurationError, match="s3://bucket/prefix") as caught:
        S3Store(address, spool_folder=tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["s3://recordings", "s3://recordings/", "s3://recordings/a/b/"])
def test_an_address_may_have_a_prefix(
    moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """The recordings lie below it, in the bucket that the store names."""
    use_environment(monkeypatch, moto.environment())
    store = S3Store(address, spool_folder=tmp_path)
    store.put(KEY, b"bytes")
    assert store.bucket == BUCKET
    prefix = address.removeprefix("s3://recordings").strip("/")
    found = moto.client().get_object(Bucket=BUCKET, Key=f"{prefix}/{KEY}".lstrip("/"))
    assert found["Body"].read() == b"bytes"
    store.delete(KEY)


@pytest.mark.parametrize("size_bytes", [len(WAV), 12 << 20])
def test_a_submission_is_answered_503_until_the_bucket_is_back(
    store: S3Store, proxy: FaultProxy, left: Left, tmp_path: Path, size_bytes: int
) -> None:
    """With the time after which to try again; no job and no bytes are left, and then it works by itself."""
    recording = WAV.ljust(size_bytes, b"\0")
    with running_api(tmp_path / "data", max_upload_bytes=16 << 20) as api:
        api.service._store = store
        proxy.fail(Kind.ANSWER)
        answer = submitted(api, recording)
        assert answer.status_code == 503
        assert answer.headers["X-Error-Code"] == "service_unavailable"
        assert int(answer.headers["Retry-After"]) > 0
        proxy.faults.clear()
        assert api.job_count() == 0
        assert left() == []
        assert submitted(api, recording).status_code == 201
        assert api.job_count() == 1
        assert len(left()) == 1


def submitted(api: RunningApi, recording: bytes) -> requests.Response:
    """Submit a recording and return the answer."""
    return requests.post(f"{api.base_url}/transcribe-batch-async", files={"file": ("a.wav", recording)}, timeout=60)
