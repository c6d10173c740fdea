"""What the client says to a server and how it reads the answers, without a connection.

Each thing that a client does is a generator: it yields what to ask, is sent the answer (or thrown ServerUnreachable),
and returns the result. :class:`~batchscribe.client.Client` and :class:`~batchscribe.client.AsyncClient` only carry the
questions to the server, so there is one copy of every rule.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar
from urllib.parse import quote

import httpx2

from batchscribe.client.answers import (
    Job,
    JobFailed,
    ServerRefused,
    ServerUnreachable,
    UnexpectedAnswer,
    WaitTimedOut,
    job_from_json,
)
from batchscribe.domain.job import JobStatus

T = TypeVar("T")

#: How long one question of a wait stays open at the server.
LONG_POLL_SECONDS = 30.0
#: The same where somebody watches the progress.
WATCHED_POLL_SECONDS = 2.0
#: Pauses between the questions of a wait where the server answers at once: it does not know ``?wait=``.
POLL_PAUSES_SECONDS = (0.5, 1.0, 2.0, 3.0, 5.0)
#: Pauses after questions that were not answered.
RETRY_PAUSES_SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
#: The most jobs that a page of the contract may have.
PAGE_JOBS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question to the server."""

    method: str = "GET"
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    #: The recording to send with its file name, and the form's other fields.
    file: tuple[str, IO[bytes]] | None = None
    form: Mapping[str, str] | None = None
    #: What is sent as JSON.
    body: Mapping[str, Any] | None = None
    #: Called with the bytes of the recording that were sent so far.
    on_progress: Callable[[int], None] | None = None
    #: What is sent as it is, and headers of its own.
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: How long to pause before asking.
    pause_seconds: float = 0.0
    #: How long the server may keep silent.
    timeout_seconds: float = 30.0


Steps = Generator[Ask, httpx2.Response, T]


def job_path(name: str, *, part: str = "") -> str:
    """Return a job's path; ``part`` is what stands after its name."""
    return f"/transcribe-job/{quote(name, safe='')}{part}"


def submitting(
    file_name: str, media: IO[bytes], *, fields: Mapping[str, str], on_progress: Callable[[int], None] | None
) -> Steps[Job]:
    """Submit a recording in one request, with the form's other fields."""
    # The answer comes when the recording is safe on the server's disk, which a slow disk may take a while for.
    answer = yield Ask(
        method="POST",
        path="/transcribe-batch-async",
        file=(file_name, media),
        form=fields,
        on_progress=on_progress,
        timeout_seconds=300.0,
    )
    return job_from_json(checked_json(answer))


def submitting_address(address: str, *, language_code: str | None, fields: Mapping[str, str] | None) -> Steps[Job]:
    """Submit a recording that the server is to fetch, with the form's other fields."""
    language = {} if language_code is None else {"language_code": language_code}
    body = {**language, **(fields or {}), "media_url": address}
    return job_from_json((yield from calling("POST", "/transcribe-batch-async", body=body)))


def getting(name: str, *, wait_seconds: float | None, pause_seconds: float = 0.0) -> Steps[Job]:
    """Ask for one job."""
    params = {} if wait_seconds is None else {"wait": str(math.ceil(wait_seconds))}
    timeout_seconds = 30.0 + (wait_seconds or 0.0)
    answer = yield Ask(path=job_path(name), params=params, pause_seconds=pause_seconds, timeout_seconds=timeout_seconds)
    return job_from_json(checked_json(answer))


def waiting(
    name: str, *, timeout_seconds: float | None, patience_seconds: float, on_progress: Callable[[Job], None] | None
) -> Steps[Job]:
    """Wait until a job has ended, through restarts of the server."""
    give_up_at = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
    longest_seconds = LONG_POLL_SECONDS if on_progress is None else WATCHED_POLL_SECONDS
    last_answer_at = time.monotonic()
    last_status: JobStatus | None = None
    pause_seconds, quick_answers, silences = 0.0, 0, 0
    while True:
        now = time.monotonic()
        pause_seconds = max(0.0, min(pause_seconds, give_up_at - now))
        wait_seconds = max(0.0, min(longest_seconds, give_up_at - now - pause_seconds))
        try:
            job = yield from getting(name, wait_seconds=wait_seconds, pause_seconds=pause_seconds)
        except (ServerUnreachable, ServerRefused) as error:
            has_patience = time.monotonic() < min(last_answer_at + patience_seconds, give_up_at)
            if not has_patience or (isinstance(error, ServerRefused) and not error.is_passing):
                raise
            pause_seconds = nth(RETRY_PAUSES_SECONDS, silences)
            silences += 1
            continue
        silences, last_answer_at = 0, time.monotonic()
        if on_progress is not None:
            on_progress(job)
        if job.status is JobStatus.FAILED:
            raise JobFailed(job)
        if job.status is JobStatus.COMPLETED:
            return job
        if last_answer_at >= give_up_at:
            raise WaitTimedOut(name, timeout_seconds or 0.0)
        # A server that knows ?wait= answers early only with another status.
        answered_at_once = last_answer_at - now - pause_seconds < wait_seconds / 2
        pause_seconds = 0.0
        if answered_at_once and job.status is last_status:
            pause_seconds = nth(POLL_PAUSES_SECONDS, quick_answers)
            quick_answers += 1
        last_status = job.status


def exporting(name: str, *, export_format: str, options: Mapping[str, str]) -> Steps[bytes]:
    """Fetch a transcript in one of the server's formats."""
    answer = yield Ask(path=job_path(name, part="/transcript"), params={"format": export_format, **options})
    check(answer)
    return answer.content


def speaker_names(data: Mapping[str, Any]) -> dict[str, str]:
    """Return what people read for each label of an answer. Raises UnexpectedAnswer."""
    try:
        return {str(each["label"]): str(each["display_name"]) for each in data["speakers"]}
    except (KeyError, TypeError) as error:
        raise UnexpectedAnswer("The server's answer is not a list of speakers.") from error


def list_path(kind: str, name: str | None = None) -> str:
    """Return the path of a list of words, or of all lists of a kind: ``vocabularies`` or ``vocabulary-filters``."""
    return f"/{kind}" if name is None else f"/{kind}/{quote(name, safe='')}"


def calling(
    method: str, path: str, *, params: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
) -> Steps[dict[str, Any]]:
    """Ask any route of JSON, with an object where one is sent, and return the object that is answered."""
    return checked_json((yield Ask(method=method, path=path, params=params or {}, body=body)))


def telling(method: str, path: str) -> Steps[None]:
    """Tell the server to do something of which only the success matters."""
    check((yield Ask(method=method, path=path)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of the list of jobs."""

    jobs: tuple[Job, ...]
    next_token: str | None

    def leads_on_from(self, last: Page | None) -> bool:
        """Whether this page brings anything new: a server that knows no ``next_token`` sends its first page again."""
        return bool(self.jobs) and (last is None or self.jobs[0].job_name != last.jobs[0].job_name)


def listing(*, status: str | None, page_jobs: int, next_token: str | None) -> Steps[Page]:
    """Ask for one page of the list of jobs."""
    params = {"max_results": str(page_jobs)}
    if status is not None:
        params["status"] = status
    if next_token is not None:
        params["next_token"] = next_token
    data = checked_json((yield Ask(path="/transcribe-jobs", params=params)))
    jobs = data.get("jobs")
    if not isinstance(jobs, list):
        raise UnexpectedAnswer("The server's answer is not a list of transcription jobs.")
    return Page(jobs=tuple(job_from_json(job) for job in jobs), next_token=data.get("next_token") or None)


def check(answer: httpx2.Response) -> None:
    """Raise ServerRefused, with the server's own sentence, for any answer but a success."""
    if answer.is_success:
        return
    try:
        data = answer.json()
    except ValueError:
        data = None
    said = data if isinstance(data, dict) else {}
    sentences = [str(said[key]) for key in ("error", "message") if said.get(key)]
    sentence = " ".join(each if each.endswith((".", "!", "?")) else f"{each}." for each in sentences)
    raise ServerRefused(
        sentence or f"The server at {answer.url.host} answered {answer.status_code} {answer.reason_phrase}.",
        status=answer.status_code,
        server_code=answer.headers.get("X-Error-Code"),
    )


def checked_json(answer: httpx2.Response) -> dict[str, Any]:
    """Return the JSON object of a successful answer. Raises ServerRefused, UnexpectedAnswer."""
    check(answer)
    try:
        data = answer.json()
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise UnexpectedAnswer(f"What listens at {answer.url.host}:{answer.url.port} is not a BatchScribe server.")
    return data


def retry_pause_seconds(silences: int) -> float:
    """Return how long to pause after so many questions that were not answered."""
    return nth(RETRY_PAUSES_SECONDS, silences)


def nth(pauses: tuple[float, ...], index: int) -> float:
    """Return the pause after so many others; the last one stays."""
    return pauses[min(index, len(pauses) - 1)]
