"""Live events as a client reads them (Server-Sent Events, WHATWG HTML section 9.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchscribe.client.answers import UnexpectedAnswer
from batchscribe.client.steps import Ask, job_path

#: The server says something every 15 seconds.
SILENCE_SECONDS = 60.0
#: After these events a job's stream has nothing more to tell.
LAST_EVENTS = frozenset({"job.completed", "job.failed", "job.deleted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened: ``job``, ``segments``, ``progress``, or a transition such as ``job.completed``."""

    name: str
    data: Mapping[str, Any]
    #: Where to go on behind it; empty for progress.
    id: str = ""


class EventReader:
    """Reads the lines of a stream, and remembers where to go on after a break."""

    def __init__(self, job_name: str | None) -> None:
        """Read a job's stream, or that of all jobs."""
        self._path = "/transcribe-jobs/events" if job_name is None else job_path(job_name, part="/events")
        self._has_end = job_name is not None
        self._fields: dict[str, str] = {}
        self._last_id = ""
        #: Whether the job's last event was read.
        self.is_over = False

    def question(self) -> tuple[Ask, dict[str, str]]:
        """Return what to ask, and with which headers, to go on from here."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self._last_id} if self._last_id else {})
        return Ask(path=self._path, timeout_seconds=SILENCE_SECONDS), headers

    def begin(self) -> None:
        """Forget what a broken connection left half said."""
        self._fields.clear()

    def read(self, line: str) -> Event | None:
        """Take the next line; return the event that it ends, if any. Raises UnexpectedAnswer."""
        if line:
            name, _, value = line.partition(":")
            if name:
                self._fields[name] = value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        if "event" not in fields:
            return None
        try:
            data = json.loads(fields.get("data", ""))
        except ValueError as error:
            raise UnexpectedAnswer("The server's stream has an event that is no JSON.") from error
        self._last_id = fields.get("id", self._last_id)
        self.is_over |= self._has_end and (fields["event"] in LAST_EVENTS or _has_ended(fields["event"], data))
        return Event(name=fields["event"], data=data, id=fields.get("id", ""))


def _has_ended(name: str, data: Any) -> bool:  # noqa: ANN401 - as JSON has it
    """Whether a stream that begins with a job that has ended says no more than what it has."""
    return name == "job" and isinstance(data, dict) and data.get("status") == "FAILED"
