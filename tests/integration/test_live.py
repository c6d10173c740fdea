"""Live events over real connections: transitions, progress, segments, and going on after a break."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import requests

from batchscribe.database import chunks, jobs
from batchscribe.database.chunks import Chunk
from batchscribe.domain.transcript import Item, ItemKind, Segment
from batchscribe.domain.word_lists import WordListKind
from batchscribe.web import waiting
from running_api import RunningApi, is_received, running_api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    """Run a server."""
    with running_api(tmp_path) as running:
        yield running


class Stream:
    """What a client hears on a stream: name, id and data of each event."""

    def __init__(self, answer: HTTPResponse) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.heartbeats = 0
        self._answer = answer
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        # The test ends in the middle of an answer.
        with suppress(HTTPException, OSError):
            while raw := self._answer.readline():
                line = raw.decode().rstrip("\n")
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                    self.heartbeats += line.startswith(":")
                elif "event" in fields:
                    self.events.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
                    fields = {}

    def wait(self, *names: str, seconds: float = 30.0) -> None:
        """Wait until these events have been heard, in this order and with nothing between but progress."""
        until = time.monotonic() + seconds
        while [name for name, _, _ in self.events if name != "progress"] != list(names):
            assert time.monotonic() < until, self.events
            time.sleep(0.005)

    def wait_for_end(self) -> None:
        """Wait until the server ends the stream."""
        self._thread.join(30)
        assert not self._thread.is_alive()


@contextmanager
def following(api: RunningApi, path: str, last_id: str | None = None) -> Iterator[Stream]:
    """Follow a stream until the context ends."""
    connection = HTTPConnection("127.0.0.1", api.port, timeout=20)
    connection.request("GET", path, headers={} if last_id is None else {"Last-Event-ID": last_id})
    sock = connection.sock
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    stream = Stream(answer)
    try:
        yield stream
    finally:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        stream.wait_for_end()
        answer.close()
        connection.close()


def segment(index: int) -> Segment:
    """Make a segment that says which chunk it is of."""
    item = Item(kind=ItemKind.PRONUNCIATION, content=f"chunk{index}", start=10.0 * index, end=10.0 * index + 1)
    return Segment(start=10.0 * index, end=10.0 * index + 1, items=(item,))


def plan(api: RunningApi, name: str, count: int) -> None:
    """Cut a job's recording into chunks."""
    with api.database.begin() as connection:
        for index in range(count):
            chunks.add_chunk(
                connection,
                Chunk(
                    job_name=name, index=index, start=10.0 * index, duration=10.0, audio_key="x", is_recognised=False
                ),
            )
        jobs.describe_media(connection, name, chunk_count=count, media_duration=10.0 * count)


def recognise(api: RunningApi, name: str, index: int) -> None:
    """Recognise one chunk, as a worker does."""
    with api.database.begin() as connection:
        assert chunks.save_fragment(connection, name, index, (segment(index),), at=datetime.now(UTC))


def test_a_stream_tells_what_happens_and_ends_with_the_job(api: RunningApi) -> None:
    """First the job as it is, then each transition."""
    name = api.submit()
    with following(api, f"/transcribe-job/{name}/events") as stream:
        stream.wait("job")
        assert stream.events[0][2]["status"] == "QUEUED"
        api.start(name)
        stream.wait("job", "job.started")
        api.complete(name)
        stream.wait("job", "job.started", "segments", "job.completed")
        stream.wait_for_end()
    assert stream.events[2][2]["segments"][0]["text"] == "Hello there."
    assert stream.events[3][2]["audio_seconds"] == 2.5


def test_segments_come_in_order_as_chunks_are_recognised(api: RunningApi) -> None:
    """A chunk that is recognised before its turn waits for those before it."""
    name = api.submit()
    api.start(name)
    plan(api, name, 3)
    with following(api, f"/transcribe-job/{name}/events") as stream:
        stream.wait("job")
        recognise(api, name, 1)
        recognise(api, name, 0)
        stream.wait("job", "segments")
        recognise(api, name, 2)
        stream.wait("job", "segments", "segments")
    told = [data for kind, _, data in stream.events if kind == "segments"]
    assert [each["first_segment"] for each in told] == [0, 2]
    assert [each["text"] for data in told for each in data["segments"]] == ["chunk0", "chunk1", "chunk2"]


@pytest.mark.parametrize("asked", ["redact_types", "vocabulary_filter_name", "show_speaker_labels"])
def test_what_the_end_may_change_is_not_told_before_it(api: RunningApi, asked: str) -> None:
    """Neither on a stream nor to who reads on: all segments come at the end, as they are stored."""
    fields = {"redact_types": "EMAIL"} if asked == "redact_types" else {asked: "true"}
    if asked == "vocabulary_filter_name":
        api.service.vocabularies.put(WordListKind.VOCABULARY_FILTER, "rude", language_code="en-US", words=["chunk0"])
        fields = {"vocabulary_filter_name": "rude", "vocabulary_filter_method": "mask"}
    name = api.submit(**fields)
    api.start(name)
    plan(api, name, 2)
    path = f"/transcribe-job/{name}"
    recognise(api, name, 0)
    with following(api, f"{path}/events") as stream:
        stream.wait("job")
        recognise(api, name, 1)
        partial = api.get(f"{path}/transcript?since_segment=0").json()
        assert (partial["segments"], partial["next_segment"], partial["is_whole"]) == ([], 0, False)
        api.complete(name)
        stream.wait("job", "segments", "job.completed")
        stream.wait_for_end()
    assert "chunk" not in str(stream.events)
    (told,) = [data for name, _, data in stream.events if name == "segments"]
    assert [each["text"] for each in told["segments"]] == ["Hello there."]
    assert told["first_segment"] == 0


def test_partial_segments_are_as_they_will_be_stored(api: RunningApi) -> None:
    """Chinese in the script of its code, for one."""
    name = api.submit(language_code="zh-TW")
    api.start(name)
    plan(api, name, 2)
    simplified = replace(segment(0), items=(replace(segment(0).items[0], content="汉语"),))
    with api.database.begin() as connection:
        assert chunks.save_fragment(connection, name, 0, (simplified,), at=datetime.now(UTC))
    [shown] = api.get(f"/transcribe-job/{name}/transcript?since_segment=0").json()["segments"]
    assert shown["text"] == "漢語"


def test_who_comes_back_hears_what_was_missed_and_nothing_twice(api: RunningApi) -> None:
    """Whatever the event after which the connection broke."""
    name = api.submit()
    with following(api, f"/transcribe-job/{name}/events") as whole:
        whole.wait("job")
        api.start(name)
        plan(api, name, 2)
        whole.wait("job", "job.started")
        recognise(api, name, 0)
        whole.wait("job", "job.started", "segments")
        recognise(api, name, 1)
        whole.wait("job", "job.started", "segments", "segments")
        api.fail(name, "Damaged.")
        whole.wait_for_end()
    heard = [each for each in whole.events if each[0] != "progress"]
    assert [kind for kind, _, _ in heard] == ["job", "job.started", "segments", "segments", "job.failed"]
    said = [each["text"] for _, _, data in heard for each in data.get("segments", ())]
    for index, (_, event_id, _) in enumerate(heard[:-1]):
        with following(api, f"/transcribe-job/{name}/events", event_id) as stream:
            stream.wait_for_end()
        rest = [each for each in stream.events if each[0] != "progress"]
        assert [kind for kind, _, _ in rest if kind != "segments"] == [
            kind for kind, _, _ in heard[index + 1 :] if kind != "segments"
        ]
        before = [each["text"] for _, _, data in heard[: index + 1] for each in data.get("segments", ())]
        after = [each["text"] for _, _, data in rest for each in data.get("segments", ())]
        assert before + after == said
    last_id = heard[-1][1]
    answer = api.get(f"/transcribe-job/{name}/events", headers={"Last-Event-ID": last_id})
    assert (answer.status_code, answer.content) == (204, b"")


def test_progress_is_told_while_a_job_runs(api: RunningApi) -> None:
    """Once a second, where there is any."""
    name = api.submit()
    api.start(name)
    plan(api, name, 2)
    with following(api, f"/transcribe-job/{name}/events") as stream:
        stream.wait("job")
        with api.database.begin() as connection:
            chunks.note_progress(connection, {(name, 0): 5.0})
        until = time.monotonic() + 30
        while ("progress", "", {"progress": 0.25, "done_seconds": 5.0}) not in [
            (kind, "", data) for kind, _, data in stream.events
        ]:
            assert time.monotonic() < until, stream.events
            time.sleep(0.01)


def test_a_deletion_ends_the_stream(api: RunningApi) -> None:
    """And who was away hears of it, although there is no job any more."""
    name = api.submit()
    with following(api, f"/transcribe-job/{name}/events") as stream:
        stream.wait("job")
        requests.delete(f"{api.base_url}/transcribe-job/{name}", timeout=30)
        stream.wait("job", "job.deleted")
        stream.wait_for_end()
    with following(api, f"/transcribe-job/{name}/events", stream.events[0][1]) as again:
        again.wait_for_end()
    assert [kind for kind, _, _ in again.events] == ["job.deleted"]
    assert api.get(f"/transcribe-job/{name}/events").status_code == 404


def test_all_jobs_can_be_followed_through_a_break(api: RunningApi) -> None:
    """Every transition is heard, none twice."""
    with following(api, "/transcribe-jobs/events") as stream:
        until = time.monotonic() + 30
        while not stream.heartbeats:
            assert time.monotonic() < until
            time.sleep(0.005)
        first = api.submit()
        stream.wait("job.queued")
        api.start(first)
        stream.wait("job.queued", "job.started")
    second = api.submit()
    with following(api, "/transcribe-jobs/events", stream.events[0][1]) as again:
        again.wait("job.started", "job.queued")
        api.start(second)
        again.wait("job.started", "job.queued", "job.started")
    assert [data["job_name"] for _, _, data in again.events] == [first, second, second]


@pytest.mark.parametrize("last_id", ["x", "-1", "1.2", "1.2.3.4", "9" * 30, ""])
def test_an_id_that_is_none_of_ours_is_refused(api: RunningApi, last_id: str) -> None:
    """With 400, on both streams."""
    name = api.submit()
    for path in (f"/transcribe-job/{name}/events", "/transcribe-jobs/events"):
        assert api.get(path, headers={"Last-Event-ID": last_id}).status_code == 400


def test_a_head_request_ends_at_once(api: RunningApi) -> None:
    """It has no stream."""
    assert requests.head(f"{api.base_url}/transcribe-jobs/events", timeout=30).status_code == 200


def test_a_quiet_stream_beats(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing on the way takes it for dead; and a client that has gone is noticed."""
    monkeypatch.setattr(waiting, "HEARTBEAT_SECONDS", 0.05)
    name = api.submit()
    with following(api, f"/transcribe-job/{name}/events") as stream:
        until = time.monotonic() + 30
        while stream.heartbeats < 3:
            assert time.monotonic() < until
            time.sleep(0.01)
    watch = api.server.config.app.state.job_watch  # type: ignore[union-attr]
    until = time.monotonic() + 30
    while watch._following:
        assert time.monotonic() < until, "a client that has gone is still followed"
        time.sleep(0.01)


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
def test_a_client_that_stops_to_wait_is_forgotten(api: RunningApi, is_reset: bool) -> None:
    """Long before its wait is over; the others go on."""
    name = api.submit()
    watch = api.server.config.app.state.job_watch  # type: ignore[union-attr]
    question = f"GET /transcribe-job/{name}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with api.connection() as leaving, api.connection() as staying:
        for connection in (leaving, staying):
            connection.sendall(question)
        until = time.monotonic() + 30
        while len(watch._waiting.get(name, ())) < 2:
            assert time.monotonic() < until, "nobody waits"
            time.sleep(0.01)
        if is_reset:
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaving.close()
        while len(watch._waiting.get(name, ())) > 1:
            assert time.monotonic() < until, "a client that has gone is still waited for"
            time.sleep(0.01)
        api.start(name)
        assert is_received(b'"IN_PROGRESS"', staying)


def test_streams_end_when_the_server_stops(tmp_path: Path) -> None:
    """Clients come back to the next one."""
    with running_api(tmp_path) as api, following(api, f"/transcribe-job/{api.submit()}/events") as stream:
        stream.wait("job")
        api.server.should_exit = True
        stream.wait_for_end()


def test_a_transcript_can_be_read_while_the_job_runs(api: RunningApi) -> None:
    """From a segment on, for those who do not read streams."""
    name = api.submit()
    path = f"/transcribe-job/{name}/transcript?since_segment="
    assert api.get(f"{path}0").json()["segments"] == []
    api.start(name)
    plan(api, name, 2)
    recognise(api, name, 0)
    first = api.get(f"{path}0").json()
    assert [each["text"] for each in first["segments"]] == ["chunk0"]
    assert (first["next_segment"], first["is_whole"], first["status"]) == (1, False, "IN_PROGRESS")
    recognise(api, name, 1)
    second = api.get(f"{path}{first['next_segment']}").json()
    assert [each["text"] for each in second["segments"]] == ["chunk1"]
    api.complete(name)
    assert api.get(f"{path}7").json()["is_whole"]
    for bad in ("", "-1", "x", "1.5"):
        assert api.get(path + bad).status_code == 400


def test_the_last_chunk_of_one_tells_nothing(api: RunningApi) -> None:
    """Of a recording of one chunk the end is told in a moment; most recordings are such."""
    name = api.submit()
    api.start(name)
    plan(api, name, 1)
    recognise(api, name, 0)
    assert [each.type for each in api.service.monitor.events_after(0)] == ["job.queued", "job.started"]
