"""Fetching recordings from real hosts on this machine that answer well, badly, slowly, or not at all."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy import Engine, text
from test_pipeline import wav

from batchscribe import parts
from batchscribe.database.connection import connect
from batchscribe.domain.job import JobStatus, TranscriptionJob, work_prefix
from batchscribe.domain.submission import Submission
from batchscribe.egress import Egress, EgressRules
from batchscribe.errors import AddressNotAllowed
from batchscribe.service import TranscriptionService
from batchscribe.settings import Settings, load
from batchscribe.storage.s3 import S3Store
from batchscribe.workflow.dispatch import Dispatcher
from batchscribe.workflow.fetch import Fetch
from batchscribe.workflow.in_flight import InFlight
from batchscribe.workflow.intake import FetchLimits
from hostile_addresses import CLOSED, REFUSED, SPELLINGS
from media_hosts import Answer, Asked, Host, dripping, hosting, in_turn, redirect, said, send, whole
from object_servers import ObjectServer, use_environment

LOOPBACK = EgressRules(allowed_networks=(ip_network("127.0.0.0/8"),))
DATA = wav(2)
SECRET = "planted-signature-7c1f"


@dataclass
class Works:
    """A data folder with what submits and fetches; the test runs each fetch itself."""

    settings: Settings
    database: Engine
    service: TranscriptionService
    fetch: Fetch

    def submit(self, address: str) -> str:
        """Submit a recording by its address; return the job's name."""
        return self.service.submit_address(address, submission=Submission()).name

    def fetched(self, answer: Answer, path: str = "/talk.wav", **changes: Any) -> tuple[TranscriptionJob, Host]:
        """Submit a recording at a host that answers so, and try once to fetch it."""
        with hosting(answer) as host:
            name = self.submit(host.url(path))
            replace(self.fetch, **changes).fetch(name, 0)
        return self.service.get(name), host

    def next_try(self, name: str) -> tuple[int, float] | None:
        """Return which try of a job waits, and for how many seconds; None where there is none."""
        query = text(
            "SELECT workflow_uuid, delay_until_epoch_ms FROM workflow_status"
            " WHERE workflow_uuid LIKE :like AND status = 'DELAYED'"
        )
        with self.database.connect() as connection:
            row = connection.execute(query, {"like": f"{name}:fetch:%"}).one_or_none()
        return None if row is None else (int(row[0].rpartition(":")[2]), row[1] / 1000 - time.time())

    def is_sent_on(self, name: str) -> bool:
        """Whether a job's recording waits to be transcribed."""
        query = text("SELECT count(*) FROM workflow_status WHERE workflow_uuid = :name")
        with self.database.connect() as connection:
            return bool(connection.execute(query, {"name": name}).scalar_one())

    def sources(self) -> int:
        """Count the addresses that are kept."""
        with self.database.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM media_sources")).scalar_one())

    def files(self) -> list[Path]:
        """Return every file in the media store."""
        return [path for path in self.settings.media_folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def module_works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    """Return a data folder that is ready."""
    folder = tmp_path_factory.mktemp("fetching") / "data"
    settings = load(data_dir=folder, engine="scripted", min_free_bytes=0, egress_allow="127.0.0.0/8")
    folder.mkdir()
    parts.upgrade_database(settings)
    database = connect(settings.effective_database_url)
    in_flight = InFlight(database)
    in_flight.start()
    seal = parts.media_seal(settings)
    assert seal is not None
    fetch = Fetch(
        database=database,
        store=parts.build_store(settings),
        dispatcher=Dispatcher(database),
        in_flight=in_flight,
        egress=Egress(LOOPBACK),
        buckets=parts.media_buckets(settings),
        seal=seal,
        limits=FetchLimits(max_bytes=1 << 20),
    )
    yield Works(settings=settings, database=database, service=parts.build_service(settings, database), fetch=fetch)
    in_flight.stop()
    database.dispose()


@pytest.fixture
def works(module_works: Works) -> Iterator[Works]:
    """Return the module's data folder without jobs; afterwards no address may be left of a job that has ended."""
    yield module_works
    kept = module_works.sources()
    jobs = module_works.service.list(status=None, max_results=100, next_token=None).jobs
    assert kept == sum(job.is_fetching and not job.status.is_final for job in jobs)
    for job in jobs:
        module_works.service.delete(job.name)
    assert module_works.sources() == 0
    assert module_works.files() == []


def test_a_recording_is_fetched_into_a_bucket_too(
    works: Works, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts where it is large, and nothing else is left there, also of one that was too large."""
    use_environment(monkeypatch, moto.environment())
    url = moto.new_url()
    store, data = S3Store(url, spool_folder=tmp_path), wav(700)
    assert len(data) > 8 << 20
    job, _ = works.fetched(whole(data), store=store, limits=FetchLimits(max_bytes=len(data)))
    assert works.is_sent_on(job.name)
    with store.open(job.media_key) as media:
        assert media.read() == data
    too_large, _ = works.fetched(whole(data), store=store, limits=FetchLimits(max_bytes=len(data) - 1))
    assert failure(too_large)[0] == "upload_too_large"
    assert moto.keys(url) == [job.media_key]
    assert moto.unfinished_uploads(url) == []


def failure(job: TranscriptionJob) -> tuple[str, str]:
    """Return the code and the sentence of a job that FAILED."""
    assert job.status is JobStatus.FAILED, job
    assert job.failure is not None
    assert SECRET not in job.failure.reason
    return job.failure.code, job.failure.reason


def test_a_recording_is_stored_under_its_own_name_and_sent_on(works: Works) -> None:
    """The row says how large it is; its address is forgotten."""
    job, host = works.fetched(whole(DATA), f"/a%20talk.wav?sig={SECRET}")
    assert (job.status, job.is_fetching) == (JobStatus.QUEUED, False)
    assert (job.media_format.value, job.media_size_bytes, job.declared_bytes) == ("wav", len(DATA), None)
    assert works.is_sent_on(job.name)
    with works.service.open_media(job.name)[1] as media:
        assert media.read() == DATA
    assert works.sources() == 0
    assert host.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("path", "headers", "media_format"),
    [
        ("/talk.mp3", (), "wav"),
        ("/download", (), "wav"),
        ("/download?id=1", ('Content-Disposition: attachment; filename="x.wav"',), "wav"),
        ("/", ("Content-Disposition: attachment; filename*=UTF-8''t%C3%A4lk.mp3",), "wav"),
    ],
)
def test_the_first_bytes_say_what_the_recording_is(
    works: Works, path: str, headers: tuple[str, ...], media_format: str
) -> None:
    """Whatever it is called."""
    job, _ = works.fetched(whole(DATA, *headers), path)
    assert job.media_format.value == media_format
    assert job.media_url.endswith(f".{media_format}")
    assert job.media_url.endswith(job.media_key)


def test_the_name_in_the_header_counts_where_the_bytes_say_nothing(works: Works) -> None:
    """As with an upload: whether it can be read is for the decoder to find."""
    header = 'Content-Disposition: attachment; filename="talk.amr"'
    job, _ = works.fetched(whole(b"\x00" * 2000, header), "/download")
    assert (job.status, job.media_format.value) == (JobStatus.QUEUED, "amr")


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        (whole(b"<html>Sign in</html>", "Content-Type: text/html; charset=utf-8"), "/talk.mp3"),
        (whole(b"just text", "Content-Type: text/plain"), "/notes.txt"),
        (whole(b"", "Content-Type: application/octet-stream"), "/nothing"),
    ],
)
def test_what_is_no_recording_ends_the_job(works: Works, answer: Answer, path: str) -> None:
    """With a code and a sentence, and nothing is kept of it."""
    job, _ = works.fetched(answer, path)
    assert failure(job)[0] == "media_not_recognised"
    assert works.files() == []


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("404 Not Found", "nothing at the address"),
        ("410 Gone", "any more"),
        ("401 Unauthorized", "who asks"),
        ("403 Forbidden", "expired"),
        ("418 I'm a Teapot", "418"),
        ("299 Odd", "299"),
        ("204 No Content", "204"),
        ("304 Not Modified", "304"),
    ],
)
def test_a_host_that_refuses_is_not_asked_again(works: Works, status: str, says: str) -> None:
    """The sentence names the host and the status, and no more of the address."""
    job, host = works.fetched(said(status), f"/talk.wav?sig={SECRET}")
    code, reason = failure(job)
    assert code == "media_refused"
    assert says in reason
    assert "localhost" in reason
    assert "talk" not in reason
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    ("status", "headers", "least_seconds"),
    [
        ("500 Internal Server Error", (), 1.0),
        ("503 Service Unavailable", ("Retry-After: 40",), 38.0),
        ("429 Too Many Requests", ("Retry-After: 90",), 88.0),
        ("408 Request Timeout", (), 1.0),
    ],
)
def test_a_host_in_trouble_is_asked_again_later(
    works: Works, status: str, headers: tuple[str, ...], least_seconds: float
) -> None:
    """Not before it wants to be, and without a place held meanwhile."""
    job, _ = works.fetched(said(status, *headers))
    assert job.status is JobStatus.QUEUED
    waiting = works.next_try(job.name)
    assert waiting is not None
    assert waiting[0] == 1
    assert least_seconds <= waiting[1] < least_seconds + 10


def test_the_second_try_may_succeed_and_the_first_is_not_repeated(works: Works) -> None:
    """A try that a dead worker had in hand finds that its turn is over."""
    answers = [said("503 Service Unavailable"), whole(DATA)]
    with hosting(in_turn(*answers)) as host:
        name = works.submit(host.url("/talk.wav"))
        works.fetch.fetch(name, 0)
        works.fetch.fetch(name, 0)
        assert len(host.asked) == 1
        works.fetch.fetch(name, 1)
    assert works.is_sent_on(name)


def test_a_host_whose_wait_is_longer_than_our_patience_is_given_up_at_once(works: Works) -> None:
    """Nobody is served by waiting for it."""
    job, _ = works.fetched(said("429 Too Many Requests", "Retry-After: 86400"))
    code, reason = failure(job)
    assert code == "media_unreachable"
    assert "429" in reason


def test_an_address_where_nobody_listens_is_given_up_within_two_minutes(works: Works) -> None:
    """A host that comes back in time is waited for; a typing error is not waited out for ever."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    name = works.submit(f"https://localhost:{port}/talk.wav")
    waits, attempt = 0.0, 0
    while works.service.get(name).status is JobStatus.QUEUED:
        works.fetch.fetch(name, attempt)
        waiting = works.next_try(name)
        if waiting is None:
            break
        waits, attempt = waits + waiting[1], waiting[0]
        _let_time_pass(works.database, name, waiting[1])
    assert failure(works.service.get(name))[0] == "media_unreachable"
    assert attempt >= 3
    assert 20 < waits < 120


def _let_time_pass(database: Engine, name: str, seconds: float) -> None:
    """Move the beginning of the tries back, and take the waiting one off the queue."""
    with database.begin() as connection:
        began_at = connection.execute(text("SELECT failing_since FROM media_sources")).scalar_one()
        earlier = datetime.fromisoformat(str(began_at)) - timedelta(seconds=seconds)
        connection.execute(text("UPDATE media_sources SET failing_since = :at"), {"at": earlier.strftime(_STORED)})
        connection.execute(text("DELETE FROM workflow_status WHERE workflow_uuid LIKE :like"), {"like": f"{name}:%"})


_STORED = "%Y-%m-%d %H:%M:%S.%f"


class TestRedirects:
    """At most three, and each is judged like the first address."""

    def test_three_are_followed_and_the_last_name_is_the_recordings(self, works: Works) -> None:
        """Relative ones and absolute ones."""
        steps = {"/a": redirect("/b"), "/b": redirect("c"), "/c": redirect("/talk.wav#t=5"), "/talk.wav": whole(DATA)}
        job, host = works.fetched(lambda asked, connection: steps[asked.path](asked, connection), "/a")
        assert works.is_sent_on(job.name)
        assert len(host.asked) == 4

    def test_a_fourth_is_not(self, works: Works) -> None:
        """Nor a circle."""
        job, host = works.fetched(redirect("/again"), "/talk.wav")
        assert failure(job)[0] == "media_refused"
        assert len(host.asked) == 4

    @pytest.mark.parametrize(
        "location",
        [
            "http://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "https://[::ffff:169.254.169.254]/",
            "file:///etc/passwd", "gopher://localhost/", "https://user@localhost/", "//192.168.0.1/", "https://[::1",
            "http://metadata.test/", "",
        ],
    )  # fmt: skip
    def test_none_leads_to_a_forbidden_place(self, works: Works, location: str) -> None:
        """The job ends and nothing was asked of that place."""
        resolve = lambda host, _port: ["127.0.0.1"] if host == "localhost" else ["169.254.169.254"]  # noqa: E731
        job, host = works.fetched(redirect(location), egress=Egress(LOOPBACK, resolve=resolve))
        assert failure(job)[0] in {"address_not_allowed", "media_refused"}
        assert len(host.asked) == 1

    def test_none_leads_from_encryption_to_none(self, works: Works) -> None:
        """Even where the network allows both."""
        authority = trustme.CA()
        with hosting(whole(DATA)) as plain, hosting(redirect(plain.url("/talk.wav")), authority=authority) as host:
            name = works.submit(host.url("/talk.wav"))
            replace(works.fetch, egress=Egress(LOOPBACK, trust=trusting(authority))).fetch(name, 0)
        assert failure(works.service.get(name))[0] == "address_not_allowed"
        assert plain.asked == []


def trusting(authority: trustme.CA) -> Any:
    """Return a context that trusts this authority."""
    import ssl

    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class TestWhatIsNeverReached:
    """Forbidden addresses, in every form."""

    @pytest.mark.parametrize("url", [*REFUSED, *(f"https://{each}/" for each in CLOSED if ":" not in each)])
    def test_an_address_that_cannot_be_is_refused_at_once(self, works: Works, url: str) -> None:
        """With the rules of a server that allows nothing private."""
        service = parts.build_service(works.settings.model_copy(update={"egress_allow": ""}), works.database)
        with pytest.raises(AddressNotAllowed):
            service.submit_address(url, submission=Submission())

    @pytest.mark.parametrize("host", SPELLINGS)
    def test_no_spelling_of_the_loopback_is_reached(self, works: Works, host: str) -> None:
        """The job ends, or the submission is refused; the listener hears nothing."""
        rules = EgressRules.read(allow="10.0.0.0/8", ports="443")
        with hosting(whole(DATA)) as listener:
            for scheme in ("http", "https"):
                try:
                    name = works.submit(f"{scheme}://{host}:{listener.port}/talk.wav")
                except AddressNotAllowed:
                    continue
                strict = FetchLimits(max_bytes=1 << 20, patience_unreached=timedelta(0))
                replace(works.fetch, egress=Egress(rules), limits=strict).fetch(name, 0)
                assert failure(works.service.get(name))[0] in {"address_not_allowed", "media_unreachable"}
        assert listener.asked == []

    def test_a_name_that_leads_elsewhere_at_the_connection_is_not_followed(self, works: Works) -> None:
        """Each connection is judged by itself: a name that was public a moment ago may be the loopback now."""
        answers = iter([["93.184.215.14"], ["127.0.0.1"]])
        with hosting(whole(DATA)) as listener:
            rules = EgressRules(ports=frozenset({listener.port}))
            egress = Egress(rules, resolve=lambda _host, _port: next(answers))
            look = egress.addresses("rebind.test", listener.port, is_encrypted=True)
            assert asyncio.run(look) == ["93.184.215.14"]
            name = works.submit(f"https://rebind.test:{listener.port}/talk.wav")
            replace(works.fetch, egress=egress).fetch(name, 0)
        assert failure(works.service.get(name))[0] == "address_not_allowed"
        assert listener.asked == []


class TestBadBodies:
    """Endless, short, slow, silent, compressed."""

    def test_a_body_over_the_limit_is_cut_while_it_comes(self, works: Works) -> None:
        """Whether its length was told or not, and nothing is kept."""

        def endless(_asked: Asked, connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

        assert failure(works.fetched(endless)[0])[0] == "upload_too_large"
        told = works.fetched(said("200 OK", f"Content-Length: {1 << 40}"))[0]
        assert failure(told)[0] == "upload_too_large"
        assert works.files() == []

    def test_a_body_that_ends_too_soon_is_no_recording(self, works: Works) -> None:
        """It is tried again."""
        job, _ = works.fetched(said("200 OK", f"Content-Length: {len(DATA) + 1}", body=DATA))
        assert job.is_fetching
        assert works.next_try(job.name) is not None
        assert works.files() == []

    @pytest.mark.parametrize("tag", ['"v1"', '"other"', 'W/"v1"', ""])
    def test_a_broken_download_goes_on_where_it_ended_if_the_recording_is_the_same(
        self, works: Works, tag: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By its strong entity tag; otherwise it begins again, later."""
        monkeypatch.setattr("batchscribe.workflow.download.RESUME_SECONDS", 0.01)
        half = len(DATA) // 2

        def breaking(asked: Asked, connection: socket.socket) -> None:
            first = "range" not in asked.headers
            etag = 'W/"v1"' if tag.startswith("W/") else '"v1"' if tag else ""
            headers = ("Accept-Ranges: bytes", f"ETag: {etag if first else tag}") if tag else ("X-None: 1",)
            if first:
                send(connection, "200 OK", DATA[:half], f"Content-Length: {len(DATA)}", *headers)
            else:
                whole(DATA, *headers)(asked, connection)

        job, host = works.fetched(breaking)
        if tag != '"v1"':
            assert job.is_fetching
            assert works.next_try(job.name) is not None
            return
        assert [each.headers.get("range") for each in host.asked] == [None, f"bytes={half}-"]
        assert host.asked[1].headers["if-range"] == '"v1"'
        with works.service.open_media(job.name)[1] as media:
            assert media.read() == DATA

    def test_a_host_that_drips_is_given_up(self, works: Works) -> None:
        """However long it would go on."""
        limits = FetchLimits(max_bytes=1 << 20, least_bytes_a_second=1000, window_seconds=1.0)
        ended = threading.Event()
        job, _ = works.fetched(dripping(DATA, seconds=0.05, ended=ended), limits=limits)
        ended.set()
        assert job.is_fetching
        assert works.next_try(job.name) is not None

    def test_a_try_has_an_end(self, works: Works) -> None:
        """Also where it is not slow enough to be given up for that."""
        limits = FetchLimits(max_bytes=1 << 20, seconds=1.0)
        ended = threading.Event()
        job, _ = works.fetched(dripping(DATA, seconds=0.01, ended=ended), limits=limits)
        ended.set()
        assert works.next_try(job.name) is not None

    def test_a_compressed_body_is_not_unpacked(self, works: Works) -> None:
        """A bomb stays one."""
        job, _ = works.fetched(whole(b"\x1f\x8b" + b"x" * 100, "Content-Encoding: gzip"))
        assert failure(job)[0] == "media_refused"

    @pytest.mark.parametrize("how", ["cancel", "delete"])
    def test_a_fetch_that_nobody_wants_any_more_stops_soon(self, works: Works, how: str) -> None:
        """A silent host does not hold it, and nothing is left."""
        ended = threading.Event()
        with hosting(dripping(DATA, seconds=600, ended=ended)) as host:
            name = works.submit(host.url("/talk.wav"))
            fetching = threading.Thread(target=works.fetch.fetch, args=(name, 0))
            fetching.start()
            until(lambda: bool(host.asked))
            until(lambda: works.files() != [])
            getattr(works.service, how)(name)
            fetching.join(20)
            ended.set()
            assert not fetching.is_alive()
        assert works.files() == []
        assert works.sources() == 0


def test_a_signed_address_stands_nowhere_in_the_database(works: Works) -> None:
    """Not while the job waits, nor when it has failed, nor in the files beside the database."""
    job, _ = works.fetched(said("503 Service Unavailable"), f"/talk.wav?X-Amz-Signature={SECRET}")
    works.fetched(said("404 Not Found"), f"/talk.wav?X-Amz-Signature={SECRET}")
    assert works.sources() == 1
    files = [path for path in works.settings.data_dir.iterdir() if path.name.startswith("batchscribe.sqlite")]
    assert len(files) >= 2
    for path in files:
        assert SECRET.encode() not in path.read_bytes()
    assert job.is_fetching


class TestOwnRecordings:
    """The ``s3://`` address that a submission was answered with is taken back."""

    def test_a_recording_that_is_kept_here_is_taken_once_more(self, works: Works) -> None:
        """The new job has a copy of its own, which outlives the first."""
        first, _ = works.fetched(whole(DATA))
        name = works.submit(first.media_url)
        works.fetch.fetch(name, 0)
        works.service.delete(first.name)
        with works.service.open_media(name)[1] as media:
            assert media.read() == DATA

    def test_one_that_is_gone_by_then_ends_the_job(self, works: Works) -> None:
        """With a sentence."""
        first, _ = works.fetched(whole(DATA))
        name = works.submit(first.media_url)
        works.service.delete(first.name)
        works.fetch.fetch(name, 0)
        assert failure(works.service.get(name))[0] == "media_missing"

    @pytest.mark.parametrize(
        "address",
        [
            "s3://batchscribe/audio/batch/2026-01-01/transcribe-nobody.wav", "s3://batchscribe/uploads/x",
            "s3://batchscribe/../secret", f"s3://batchscribe/{work_prefix('x')}0.pcm", "s3://another-bucket/talk.wav", "s3://b/",
            "s3://batchscribe", "s3:///x", "s3://UPPER/x", "s3://bucket/a//b",
        ],
    )  # fmt: skip
    def test_no_other_address_of_a_bucket_is_taken(self, works: Works, address: str) -> None:
        """Neither of what is not a recording, nor of a bucket that is not listed."""
        with pytest.raises(AddressNotAllowed):
            works.submit(address)


def until(is_so: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come so"
        time.sleep(0.02)


def test_progress_is_told_while_a_recording_is_fetched(works: Works) -> None:
    """How much has come, and how much there is."""
    ended = threading.Event()
    with hosting(dripping(DATA, seconds=0.05, ended=ended)) as host:
        name = works.submit(host.url("/talk.wav"))
        fetching = threading.Thread(target=works.fetch.fetch, args=(name, 0))
        fetching.start()
        until(lambda: works.service.get(name).media_size_bytes > 0)
        job = works.service.get(name)
        works.service.cancel(name)
        fetching.join(20)
        ended.set()
    assert (job.status, job.is_fetching, job.declared_bytes) == (JobStatus.QUEUED, True, len(DATA))
    assert datetime.now(UTC) >= job.created_at
