"""What the client hands back: a job as the server tells it, and the errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batchscribe.domain.job import JobStatus
from batchscribe.errors import BatchScribeError


class ClientError(BatchScribeError):
    """The client could not do what was asked; ``str(error)`` is a sentence for a person."""

    code = "client_error"


class ServerUnreachable(ClientError):
    """No server answers: nothing listens, the name is unknown, the connection broke, or the answer took too long."""

    code = "server_unreachable"
    retryable = True


class ServerRefused(ClientError):
    """The server answered with an error status. Carries the status and, where the server says one, its stable code."""

    code = "server_refused"

    def __init__(self, sentence: str, *, status: int, server_code: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.server_code = server_code

    @property
    def is_passing(self) -> bool:
        """Whether the same question may well be answered a little later."""
        return self.status in {429, 502, 503, 504}


class UnexpectedAnswer(ClientError):
    """The answer is not one of the contract: something else listens at this address."""

    code = "unexpected_answer"


class JobFailed(ClientError):
    """The job that was waited for FAILED; the sentence is its ``failure_reason``."""

    code = "job_failed"

    def __init__(self, job: Job) -> None:
        super().__init__(job.failure_reason or "The transcription failed.")
        self.job = job


class WaitTimedOut(ClientError):
    """The job had not ended when the time was up. It goes on in the server."""

    code = "wait_timed_out"
    retryable = True

    def __init__(self, job_name: str, timeout_seconds: float) -> None:
        super().__init__(f"The job {job_name} has not ended within {timeout_seconds:g} seconds. It goes on.")
        self.job_name = job_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A transcription job as the server told it, under the contract's names. What was not told is None.

    Times are aware: one sent without an offset is taken as UTC.
    """

    job_name: str
    status: JobStatus
    language_code: str
    creation_time: datetime | None = None
    start_time: datetime | None = None
    completion_time: datetime | None = None
    #: The running text. Only a COMPLETED job asked for by name has it; jobs of a list never do.
    transcript: str | None = None
    media_format: str | None = None
    media_sample_rate_hz: int | None = None
    s3_url: str | None = None
    upload_time_seconds: float | None = None
    message: str | None = None
    failure_reason: str | None = None
    #: Stable; the codes stand in :mod:`batchscribe.errors`.
    failure_code: str | None = None
    #: The share of the audio that is done, 0 to 1.
    progress: float | None = None
    media_duration_seconds: float | None = None
    #: While the server fetches the recording from its address: how much has come, and how much there is.
    fetched_bytes: int | None = None
    fetch_total_bytes: int | None = None
    #: How probable the identified language is, 0 to 1, where it was to be identified.
    identified_language_score: float | None = None
    #: Where several languages were to be identified: each code with its seconds, the longest first.
    language_codes: tuple[tuple[str, float], ...] = ()
    #: What went less than well with the recording itself, in sentences.
    warnings: tuple[str, ...] = ()

    @property
    def done_seconds(self) -> float | None:
        """Seconds of audio transcribed so far; None while the length is unknown."""
        if self.media_duration_seconds is None or self.status is JobStatus.COMPLETED:
            return self.media_duration_seconds
        return None if self.progress is None else self.media_duration_seconds * self.progress


_WORDS = (
    "transcript",
    "media_format",
    "media_sample_rate_hz",
    "s3_url",
    "upload_time_seconds",
    "message",
    "failure_reason",
    "failure_code",
    "progress",
    "media_duration_seconds",
    "fetched_bytes",
    "fetch_total_bytes",
    "identified_language_score",
)


def job_from_json(data: Mapping[str, Any]) -> Job:
    """Read a job as the contract writes it. Fields that are unknown are left out. Raises UnexpectedAnswer."""
    try:
        return Job(
            job_name=data["job_name"],
            status=JobStatus(data["status"]),
            language_code=data["language_code"],
            creation_time=_time(data.get("creation_time")),
            start_time=_time(data.get("start_time")),
            completion_time=_time(data.get("completion_time")),
            language_codes=tuple(
                (each["language_code"], float(each["duration_in_seconds"])) for each in data.get("language_codes") or ()
            ),
            warnings=tuple(data.get("warnings") or ()),
            **{name: data.get(name) for name in _WORDS},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnexpectedAnswer(f"The server's answer is not a transcription job: {error!r}.") from error


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
