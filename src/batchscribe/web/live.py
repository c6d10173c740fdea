"""Live events as Server-Sent Events (WHATWG HTML, section 9.2), and a transcript as far as there is one.

A stream of one job tells its transitions, its progress, and segments of its transcript as chunks are recognised; it
ends with the job. A stream of all jobs tells transitions and never ends. Both tell in each event's id where to go on
after a break: clients send it back as ``Last-Event-ID``.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from batchscribe.database.chunks import CHUNK_EVENT
from batchscribe.domain.job import DELETED_EVENT, JobStatus
from batchscribe.errors import InvalidRequest, JobNotFound
from batchscribe.web.caller import owner_of
from batchscribe.web.later import connection_of, leave_to_later
from batchscribe.wire import job_to_json, segment_to_json

if TYPE_CHECKING:
    from batchscribe.database.jobs import JobEvent
    from batchscribe.domain.job import TranscriptionJob
    from batchscribe.domain.transcript import Segment
    from batchscribe.live import Progress
    from batchscribe.service import TranscriptionService
    from batchscribe.web.later import Connection
    from batchscribe.web.waiting import Follower, JobWatch

#: Sent where there is nothing else to send.
_HEARTBEAT = b": \n\n"
#: The events after which a job's stream ends.
_LAST_EVENTS = frozenset({"job.completed", "job.failed", DELETED_EVENT})

_EVENT_ID = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9})\.([0-9]{1,9}))?")
_NUMBER = re.compile(r"[0-9]{1,9}")


class LiveRoutes:
    """The handlers of those who follow jobs while they run."""

    def __init__(self, service: TranscriptionService, watch: JobWatch) -> None:
        self._service = service
        self._watch = watch

    async def job_events(self, request: Request) -> Response:
        """Stream a job's events; 204 tells a client that comes back after the end to stop."""
        job_name, asked = request.path_params["job_name"], request.headers.get("last-event-id")
        place = _JobPlace(*_read_event_id(asked))
        owner = owner_of(request)
        try:
            job = await self._watch.read(self._service.get, job_name, owner=owner)
        except JobNotFound:
            # Whoever has followed the job before its deletion has its end coming.
            events = await self._watch.read(self._service.live.events_of_job, job_name, place.event_id)
            if asked is None or {each.owner for each in events} != {owner}:
                raise
        else:
            events = await self._watch.read(self._service.live.events_of_job, job_name, place.event_id)
            if asked is not None and job.status.is_final and not events:
                return Response(status_code=HTTPStatus.NO_CONTENT)
        return EventStream(self._of_job(job_name, place, connection_of(request.scope), is_new=asked is None))

    async def all_events(self, request: Request) -> Response:
        """Stream the transitions of all jobs, from now on or from a break on."""
        asked = request.headers.get("last-event-id")
        last_id = None if asked is None else _read_event_id(asked)[0]
        return EventStream(self._of_all(owner_of(request), last_id, connection_of(request.scope)))

    async def segments(self, request: Request) -> Response:
        """Answer with the transcript as far as there is one, from a segment on."""
        value = request.query_params["since_segment"]
        if not _NUMBER.fullmatch(value):
            raise InvalidRequest("Invalid since_segment. Must be a whole number of at least 0")
        first = int(value)
        job = await self._watch.read(self._service.get, request.path_params["job_name"], owner=owner_of(request))
        found = await self._watch.read(self._service.live.transcript_from, job.name, chunk=0, segment=0)
        shown = found.segments[first:]
        content = {
            "job_name": job.name,
            "status": job.status.value,
            "first_segment": min(first, len(found.segments)),
            "segments": [_segment(each) for each in shown],
            "next_segment": len(found.segments),
            "is_whole": found.is_whole,
        }
        return JSONResponse(content)

    async def _of_job(
        self, job_name: str, place: _JobPlace, connection: Connection | None, *, is_new: bool
    ) -> AsyncGenerator[bytes]:
        """Yield what happens to a job until it ends, or the client has gone."""
        async with self._watch.following(job_name=job_name) as follower:
            _let_go_with(connection, follower)
            events = await self._watch.read(self._service.live.events_of_job, job_name, place.event_id)
            follower.is_running = any(each.type != "job.queued" for each in events) or not is_new
            if is_new:
                job = await self._watch.read(self._service.get, job_name)
                async for piece in self._present(job, place, events):
                    yield piece
                if job.status.is_final:
                    return
            told: Progress | None = None
            while True:
                for event in events:
                    if event.id <= place.event_id:
                        continue
                    async for piece in self._told(event, place):
                        yield piece
                    follower.is_running = True
                    if event.type in _LAST_EVENTS:
                        return
                if follower.progress is not told:
                    told = follower.progress
                    if told is not None and told.audio_seconds:
                        yield _progress(told)
                if follower.is_let_go:
                    return
                if not await follower.wait():
                    yield _HEARTBEAT
                events = [each.event for each in follower.take()]

    async def _present(self, job: TranscriptionJob, place: _JobPlace, events: list[JobEvent]) -> AsyncGenerator[bytes]:
        """Yield a job as it is, and what there is of its transcript; its events so far lie behind it."""
        shown = {name: value for name, value in job_to_json(job).items() if name != "transcript"}
        is_known = {JobStatus.QUEUED: {"job.queued"}, JobStatus.IN_PROGRESS: {"job.queued", "job.started", CHUNK_EVENT}}
        # The job was read after its events: of what has come between, it shows no more than they say.
        seen = [each.id for each in events if job.status.is_final or each.type in is_known[job.status]]
        place.event_id = max(seen, default=0)
        yield _message("job", str(place), shown)
        async for piece in self._new_segments(job.name, place):
            yield piece

    async def _told(self, event: JobEvent, place: _JobPlace) -> AsyncGenerator[bytes]:
        """Yield what an event says, before the end of a job the rest of its transcript."""
        if event.type in {CHUNK_EVENT, "job.completed"}:
            async for piece in self._new_segments(event.job_name, place):
                yield piece
        place.event_id = event.id
        if event.type != CHUNK_EVENT:
            yield _transition(event, str(place))

    async def _new_segments(self, job_name: str, place: _JobPlace) -> AsyncGenerator[bytes]:
        """Yield the segments that there are beyond those sent."""
        found = await self._watch.read(
            self._service.live.transcript_from, job_name, chunk=place.chunk, segment=place.segment
        )
        first = place.segment
        place.chunk, place.segment = found.next_chunk, first + len(found.segments)
        if found.segments:
            shown = [_segment(each) for each in found.segments]
            yield _message("segments", str(place), {"first_segment": first, "segments": shown})

    async def _of_all(self, owner: str, last_id: int | None, connection: Connection | None) -> AsyncGenerator[bytes]:
        """Yield the transitions of an owner's jobs; those of before a break are read page by page."""
        sent: set[int] = set()
        async with self._watch.following(owner=owner) as follower:
            _let_go_with(connection, follower)
            yield _HEARTBEAT
            while last_id is not None and (page := await self._watch.read(self._service.live.events_after, last_id)):
                last_id = page[-1].id
                for event in page:
                    sent.add(event.id)
                    if event.owner == owner and event.type != CHUNK_EVENT:
                        yield _transition(event, str(event.id))
            while not follower.is_let_go:
                if not await follower.wait():
                    # What came late has come by now.
                    sent.clear()
                    yield _HEARTBEAT
                for each in follower.take():
                    if each.event.type != CHUNK_EVENT and each.event.id not in sent:
                        yield each.message(_transition)


class _JobPlace:
    """Where a reader of one job's stream is: the last event, and how many chunks and segments were sent."""

    __slots__ = ("chunk", "event_id", "segment")

    def __init__(self, event_id: int, chunk: int, segment: int) -> None:
        self.event_id, self.chunk, self.segment = event_id, chunk, segment

    def __str__(self) -> str:
        return f"{self.event_id}.{self.chunk}.{self.segment}"


class EventStream(Response):
    """Sends pieces as they come, until there are no more; what makes them must end when the client has gone.

    A client that reads too slowly is held back here, and cut by the connection's own limit.
    """

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncGenerator[bytes]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Begin to answer; the rest follows outside of the application."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            leave_to_later(scope, partial(_send_pieces, self._pieces))


async def _send_pieces(pieces: AsyncGenerator[bytes], send: Send) -> None:
    async with aclosing(pieces):
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _let_go_with(connection: Connection | None, follower: Follower) -> None:
    """End a stream when the client has gone."""
    if connection is not None:
        connection.when_lost(follower.let_go)


def _transition(event: JobEvent, event_id: str) -> bytes:
    data = {"event_id": event.id, "job_name": event.job_name, "at": event.at.isoformat(), **event.data}
    return _message(event.type, event_id, data)


def _progress(progress: Progress) -> bytes:
    """Tell how far the job is; without an id, for nobody goes on from here."""
    share = min(1.0, progress.done_seconds / progress.audio_seconds) if progress.audio_seconds else 0.0
    data = {"progress": round(share, 4), "done_seconds": round(progress.done_seconds, 2)}
    return f"event: progress\ndata: {json.dumps(data)}\n\n".encode()


def _message(name: str, event_id: str, data: dict[str, Any]) -> bytes:
    """Write one event; its data is one line, whatever words are in it."""
    return f"id: {event_id}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _segment(segment: Segment) -> dict[str, Any]:
    return {**segment_to_json(segment), "text": segment.text}


def _read_event_id(value: str | None) -> tuple[int, int, int]:
    """Read where a client was: event, chunk, segment. Raises InvalidRequest."""
    if value is None:
        return 0, 0, 0
    match = _EVENT_ID.fullmatch(value.strip())
    if match is None:
        raise InvalidRequest("Invalid Last-Event-ID. Send the id of an event of this stream, unchanged")
    event_id, chunk, segment = (int(part or 0) for part in match.groups())
    return event_id, chunk, segment
