"""Resumable uploads over each database and each store: several apis, keys, cuts, expiry, room."""

from __future__ import annotations

import hashlib
import http.client
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import select, update

from batchscribe import parts
from batchscribe.database.schema import jobs as jobs_table
from batchscribe.database.schema import resumable_uploads, upload_slices
from batchscribe.domain.keys import DEFAULT_SCOPES, Quotas
from batchscribe.domain.ports import MediaStore
from batchscribe.domain.resumable import SLICE_BYTES
from batchscribe.errors import UploadOffsetConflict
from batchscribe.settings import load
from batchscribe.web.gate import Access
from batchscribe.workflow.dispatch import Dispatcher
from batchscribe.workflow.housekeeping import SLICE_AGE, Housekeeper
from object_servers import ObjectServer, use_environment
from running_api import WAV, RunningApi, running_api
from tus_requests import BODY_TYPE, VERSION, TusRequests

CHANCE = random.Random(11)  # noqa: S311 - to be repeated
#: What may have arrived at the machine when a connection breaks, and not yet at whoever reads it.
IN_FLIGHT_BYTES = 1 << 20
RECORDING = WAV + CHANCE.randbytes(11 << 20)
SHORT = WAV + bytes(3000)


@dataclass(frozen=True)
class Fleet:
    """Two apis over one database and one store."""

    apis: tuple[RunningApi, RunningApi]
    store: MediaStore
    housekeeper: Housekeeper
    data_dir: Path

    @property
    def tus(self) -> tuple[TusRequests, TusRequests]:
        """What speaks with each api."""
        first, second = self.apis
        return TusRequests(first.base_url), TusRequests(second.base_url)

    def at_other(self, url: str) -> str:
        """Return the same upload's address at the second api."""
        return self.apis[1].base_url + urlsplit(url).path

    def stored(self) -> list[str]:
        """Return the keys of all slices that lie in the store."""
        return self.store.keys_older_than("incoming/", -60.0)

    def job_names(self) -> list[str]:
        """Return the names of all jobs."""
        with self.apis[0].database.connect() as connection:
            return list(connection.execute(select(jobs_table.c.name)).scalars())


@pytest.fixture(
    params=[
        "sqlite and a folder",
        pytest.param("postgresql and S3", marks=pytest.mark.xdist_group("postgres")),
    ]
)
def fleet(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Return two apis over each pair of a database and a store."""
    settings: dict[str, Any] = {"database_url": "", "storage_url": ""}
    if request.param != "sqlite and a folder":
        server: ObjectServer = request.getfixturevalue("seaweedfs")
        use_environment(monkeypatch, server.environment())
        settings = {"database_url": request.getfixturevalue("postgres_url"), "storage_url": server.new_url()}
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(running_api(tmp_path / "data", max_upload_bytes=64 << 20, **settings)) for _ in range(2)
        )
        store = parts.build_store(load(data_dir=tmp_path / "data", min_free_bytes=0, **settings))
        dispatcher = Dispatcher(first.database)
        stack.callback(dispatcher.close)
        housekeeper = Housekeeper(first.database, store, dispatcher)
        yield Fleet(apis=(first, second), store=store, housekeeper=housekeeper, data_dir=tmp_path / "data")


def recording_of(api: RunningApi, name: str) -> bytes:
    """Return a job's recording."""
    return api.get(f"/transcribe-job/{name}/media").content


def cut_patch(url: str, data: bytes, *, at: int, total: int) -> None:
    """Announce so many bytes, send some of them, and hang up."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.putrequest("PATCH", parts.path)
    for name, value in {**VERSION, "Content-Type": BODY_TYPE, "Upload-Offset": at, "Content-Length": total}.items():
        connection.putheader(name, str(value))
    connection.endheaders()
    connection.send(data)
    connection.close()


def settled_offset(tus: TusRequests, url: str, least: int) -> int:
    """Return the offset once it is at least so much."""
    until = time.monotonic() + 60
    while (offset := tus.offset(url)) < least:
        assert time.monotonic() < until, f"{offset} of {least} bytes"
        time.sleep(0.05)
    return offset


def settle(tus: TusRequests, url: str) -> None:
    """Wait until nothing is added any more of what had arrived."""
    before = -1
    while (now := tus.offset(url)) != before:
        before = now
        time.sleep(0.5)


def test_cuts_and_changes_of_the_api_leave_the_recording_byte_for_byte(fleet: Fleet) -> None:
    """After each cut, at any byte, what the api had read is there; any api may go on; in the end there is one job."""
    first, second = fleet.tus
    url = first.begin(len(RECORDING))
    for turn, size in enumerate((SLICE_BYTES + 1, 2 << 20, 3 << 20, 70_000, 511, 1)):
        before = second.offset(fleet.at_other(url))
        target = (url, fleet.at_other(url))[turn % 2]
        cut_patch(target, RECORDING[before : before + size], at=before, total=len(RECORDING) - before)
        if size > IN_FLIGHT_BYTES:
            settled_offset(second, fleet.at_other(url), before + size - IN_FLIGHT_BYTES)
            settle(second, fleet.at_other(url))
    at = second.offset(fleet.at_other(url))
    # A request that broke before it had begun may yet overtake this one.
    until = time.monotonic() + 60
    while (answer := second.patch(fleet.at_other(url), RECORDING[at:], at=at)).status_code == 409:
        assert time.monotonic() < until
        at = second.offset(fleet.at_other(url))
    assert answer.status_code == 204, answer.text
    name = answer.headers["X-Job-Name"]
    assert fleet.job_names() == [name]
    assert first.head(url).headers["X-Job-Name"] == name
    digest = hashlib.sha256(recording_of(fleet.apis[0], name)).hexdigest()
    assert digest == hashlib.sha256(RECORDING).hexdigest()
    assert fleet.stored() == []


def test_many_who_finish_at_once_make_one_job(fleet: Fleet) -> None:
    """All of them are told its name, by either api."""
    first, _ = fleet.tus
    url = first.begin(len(SHORT))
    writer = fleet.apis[0].service.resumable.take_over(url.rpartition("/")[2], offset_bytes=0, owner="")
    writer.write(SHORT)
    writer.commit()

    def finish(number: int) -> str:
        tus, address = fleet.tus[number % 2], (url, fleet.at_other(url))[number % 2]
        answer = tus.head(address) if number % 3 else tus.patch(address, b"", at=len(SHORT))
        return str(answer.headers.get("X-Job-Name"))

    with ThreadPoolExecutor(12) as clients:
        names = set(clients.map(finish, range(12)))
    assert len(names) == 1
    assert fleet.job_names() == list(names)


def test_one_who_dies_while_the_job_is_made_is_followed_by_another(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether before the job was stored or just after: there is one job, and everybody is told its name."""
    api, other = fleet.apis
    tus, other_tus = fleet.tus
    for moment in ("before", "after"):
        url = tus.begin(len(SHORT))
        upload_id = url.rpartition("/")[2]
        uploads = api.service.resumable
        writer = uploads.take_over(upload_id, offset_bytes=0, owner="")
        writer.write(SHORT)
        writer.commit()
        before = set(fleet.job_names())
        accept = uploads._acceptance.accept

        def dies(
            *given: object, _accept: Callable[..., object] = accept, _moment: str = moment, **named: object
        ) -> None:
            if _moment == "after":
                _accept(*given, **named)
            raise KeyboardInterrupt

        monkeypatch.setattr(uploads._acceptance, "accept", dies)
        with pytest.raises(KeyboardInterrupt):
            uploads.finish(upload_id, owner="", key=None)
        monkeypatch.undo()
        name = other_tus.head(fleet.at_other(url)).headers["X-Job-Name"]
        assert set(fleet.job_names()) - before == {name}
        assert recording_of(other, name) == SHORT
        assert tus.head(url).headers["X-Job-Name"] == name


def test_a_request_that_was_overtaken_in_any_moment_adds_nothing(fleet: Fleet) -> None:
    """Also one that has stored its bytes already, and one that sleeps until everything is over."""
    api, other = fleet.apis
    tus, other_tus = fleet.tus
    url = tus.begin(len(SHORT))
    upload_id = url.rpartition("/")[2]
    stored, asleep = (api.service.resumable.take_over(upload_id, offset_bytes=0, owner="") for _ in range(2))
    stored.write(bytes(len(SHORT)))
    name = other_tus.patch(fleet.at_other(url), SHORT, at=0).headers["X-Job-Name"]
    asleep.write(bytes(len(SHORT)))
    for writer in (stored, asleep):
        with pytest.raises(UploadOffsetConflict):
            writer.commit()
    assert recording_of(other, name) == SHORT
    assert fleet.job_names() == [name]
    assert fleet.stored() == []


def test_abandoned_uploads_go_with_their_bytes_when_their_time_is_over(fleet: Fleet) -> None:
    """Others stay, and go on."""
    tus, _ = fleet.tus
    old, young = tus.begin(len(SHORT)), tus.begin(len(SHORT))
    for url in (old, young):
        tus.patch(url, SHORT[:100], at=0)
    with fleet.apis[0].database.begin() as connection:
        mine = resumable_uploads.c.id == old.rpartition("/")[2]
        over = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(resumable_uploads).where(mine).values(expires_at=over))
    assert fleet.housekeeper.delete_expired_uploads() == 1
    assert len(fleet.stored()) == 1
    with fleet.apis[0].database.connect() as connection:
        rows = connection.execute(select(upload_slices.c.upload_id)).scalars()
        assert set(rows) == {young.rpartition("/")[2]}
    assert tus.head(old).status_code == 404
    assert tus.patch(young, SHORT[100:], at=100).headers["X-Job-Name"]


def test_slices_that_no_upload_knows_are_reclaimed_and_their_writers_shut_out(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that slept for an hour between storing and adding a slice adds it no more: its bytes may be gone."""
    tus, _ = fleet.tus
    url = tus.begin(len(SHORT))
    tus.patch(url, SHORT[:100], at=0)
    sleeper = fleet.apis[0].service.resumable.take_over(url.rpartition("/")[2], offset_bytes=100, owner="")
    sleeper.write(SHORT[100:1000])
    fleet.store.put("incoming/0123/4567", b"of an upload that is gone")
    fleet.housekeeper.tidy()
    assert len(fleet.stored()) == 3
    look = type(fleet.store).keys_older_than
    later = SLICE_AGE.total_seconds()
    monkeypatch.setattr(
        type(fleet.store), "keys_older_than", lambda store, prefix, age: look(store, prefix, age - later - 60.0)
    )
    fleet.housekeeper._reclaim_slices()
    monkeypatch.undo()
    assert len(fleet.stored()) == 1
    with pytest.raises(UploadOffsetConflict):
        sleeper.commit()
    assert tus.offset(url) == 100
    name = tus.patch(url, SHORT[100:], at=100).headers["X-Job-Name"]
    assert recording_of(fleet.apis[0], name) == SHORT


def test_a_key_sees_its_own_uploads_only(tmp_path: Path) -> None:
    """Another's is a 404 by every method, and so is its idempotency key; its jobs are its own."""
    with running_api(tmp_path, access=Access(is_open_without_keys=True)) as api:
        mine, others = (
            TusRequests(api.base_url, {"X-API-Key": api.service.ring.create(
                "test", scopes=DEFAULT_SCOPES, quotas=Quotas(jobs=1), expires_at=None)[1]})
            for _ in range(2)
        )  # fmt: skip
        named = {"Idempotency-Key": "same"}
        url = api.base_url + mine.create(len(SHORT), headers=named).headers["Location"]
        assert api.base_url + others.create(len(SHORT), headers=named).headers["Location"] != url
        for answer in (others.head(url), others.patch(url, SHORT, at=0), others.delete(url)):
            assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "upload_not_found")
        nobody = requests.head(url, headers=VERSION, timeout=10)
        assert nobody.status_code == 401
        name = mine.patch(url, SHORT, at=0).headers["X-Job-Name"]
        path = f"{api.base_url}/transcribe-job/{name}"
        assert requests.get(path, headers=mine.headers, timeout=10).status_code == 200
        assert requests.get(path, headers=others.headers, timeout=10).status_code == 404
        # Its one job waits.
        assert mine.create(len(SHORT)).headers["X-Error-Code"] == "quota_used_up"


def test_a_quota_that_is_used_up_meanwhile_is_told_and_the_upload_stays(tmp_path: Path) -> None:
    """HEAD tells what is there; a PATCH without bytes tells why there is no job, and later makes it."""
    with running_api(tmp_path, access=Access(is_open_without_keys=True)) as api:
        _, text = api.service.ring.create("test", scopes=DEFAULT_SCOPES, quotas=Quotas(jobs=1), expires_at=None)
        tus = TusRequests(api.base_url, {"X-API-Key": text})
        first, second = tus.begin(len(SHORT)), tus.begin(len(SHORT))
        name = tus.patch(first, SHORT, at=0).headers["X-Job-Name"]
        refused = tus.patch(second, SHORT, at=0)
        assert (refused.status_code, refused.headers["X-Error-Code"]) == (429, "quota_used_up")
        assert tus.offset(second) == len(SHORT)
        assert "X-Job-Name" not in tus.head(second).headers
        api.start(name)
        api.complete(name)
        assert tus.patch(second, b"", at=len(SHORT)).headers["X-Job-Name"]


def test_uploads_under_way_have_their_room_kept_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is announced counts from its creation on, twice, for its slices are joined: one too many is a 507."""
    with running_api(tmp_path, max_upload_bytes=1 << 30, min_free_bytes=1000) as api:
        monkeypatch.setattr(api.service._store, "free_bytes", lambda: 100_000)
        tus = TusRequests(api.base_url)
        refused = tus.create(50_000)
        assert (refused.status_code, refused.headers["X-Error-Code"]) == (507, "storage_full")
        url = tus.begin(30_000)
        assert tus.create(30_000).status_code == 507
        assert tus.patch(url, WAV, at=0).status_code == 204
        assert tus.delete(url).status_code == 204
        assert tus.create(30_000).status_code == 201


def test_what_a_slow_line_brings_is_kept_every_two_seconds(tmp_path: Path) -> None:
    """An api that is killed then loses no more of it; nothing waits for a whole slice."""
    with running_api(tmp_path) as api:
        tus = TusRequests(api.base_url)
        url = tus.begin(len(SHORT))
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        connection.putrequest("PATCH", parts.path)
        sent = {**VERSION, "Content-Type": BODY_TYPE, "Upload-Offset": 0, "Content-Length": len(SHORT)}
        for name, value in sent.items():
            connection.putheader(name, str(value))
        connection.endheaders()
        connection.send(SHORT[:300])
        assert settled_offset(tus, url, 300) == 300
        connection.send(SHORT[300:])
        assert connection.getresponse().getheader("X-Job-Name")
        connection.close()


def test_a_line_that_falls_silent_is_given_up_and_what_it_brought_is_kept(tmp_path: Path) -> None:
    """408 after the silence."""
    with running_api(tmp_path, upload_stall_seconds=0.5) as api, api.connection() as connection:
        tus = TusRequests(api.base_url)
        url = tus.begin(len(SHORT))
        head = f"PATCH {urlsplit(url).path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n"
        head += f"Content-Type: {BODY_TYPE}\r\nUpload-Offset: 0\r\nContent-Length: {len(SHORT)}\r\n\r\n"
        connection.sendall(head.encode() + SHORT[:40])
        assert b" 408 " in connection.recv(100)
        assert tus.offset(url) == 40
