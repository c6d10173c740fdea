"""A transcription job, its four statuses, and which status may follow which."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from batchscribe.domain.chunks import DEFAULT_CHUNK_SECONDS
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.submission import REMOTE_ENGINES, Priority, Submission, Terms, first_given
from batchscribe.domain.transcript import SpokenLanguage
from batchscribe.errors import Cancelled

if TYPE_CHECKING:
    from batchscribe.domain.webhooks import Subscription

_NAME = re.compile(r"[0-9A-Za-z._-]{1,200}")


class JobStatus(Enum):
    """Where a job is on its way. These four are all there are: clients poll until one of the last two."""

    #: Accepted and durable; no worker has begun.
    QUEUED = "QUEUED"
    #: A worker decodes or recognises the recording.
    IN_PROGRESS = "IN_PROGRESS"
    #: The transcript is there. Never changes again.
    COMPLETED = "COMPLETED"
    #: There will be no transcript; ``failure_reason`` says why. Never changes again.
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        """Whether a job with this status has ended."""
        return self in {JobStatus.COMPLETED, JobStatus.FAILED}


#: The transition table: every arrow there is, with the event that records it.
TRANSITIONS: dict[tuple[JobStatus | None, JobStatus], str] = {
    (None, JobStatus.QUEUED): "job.queued",
    (JobStatus.QUEUED, JobStatus.IN_PROGRESS): "job.started",
    (JobStatus.QUEUED, JobStatus.FAILED): "job.failed",
    (JobStatus.IN_PROGRESS, JobStatus.COMPLETED): "job.completed",
    (JobStatus.IN_PROGRESS, JobStatus.FAILED): "job.failed",
}

#: The event that a deletion leaves behind.
DELETED_EVENT = "job.deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job FAILED: a stable code for programs and a sentence for people."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a job's engine charges for it, by its list price: an estimate."""

    billed_seconds: float
    estimated_usd: float


CANCELLED = Failure(code=Cancelled.code, reason="Cancelled by request.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionJob:
    """One request to turn one recording into a transcript. All times are aware and in UTC."""

    name: str
    status: JobStatus
    options: TranscriptionOptions
    media_key: str
    media_format: MediaFormat
    media_size_bytes: int
    #: The bucket and key as an ``s3://`` address.
    media_url: str
    upload_seconds: float
    created_at: datetime
    priority: Priority = Priority.NORMAL
    #: The remote engine that the job was given to; None where a worker's own recognises it.
    engine: str | None = None
    #: Seconds from the job's end until it, or its recording alone, is deleted; None means that it is kept.
    delete_after_seconds: int | None = None
    delete_media_after_seconds: int | None = None
    #: About how long its chunks are, in seconds: kept with the job, so that an interrupted plan is made again the same.
    chunk_seconds: float = DEFAULT_CHUNK_SECONDS
    started_at: datetime | None = None
    completed_at: datetime | None = None
    #: Of the recording itself; None until it has been probed.
    media_sample_rate_hertz: int | None = None
    #: Seconds of decoded audio; None until the recording has been decoded to its end.
    media_duration: float | None = None
    #: Seconds of audio recognised so far.
    done_duration: float = 0.0
    failure: Failure | None = None
    #: The running text; None unless COMPLETED, and None in lists.
    text: str | None = None
    #: What went less than well with the recording itself, in sentences.
    warnings: tuple[str, ...] = ()
    #: None where nobody charges anything, and until it is known.
    cost: Cost | None = None
    #: The id of the key that it was submitted with; empty where none was.
    owner: str = ""
    #: What was identified, the surest or longest first; None until it is, and where nobody asked.
    languages: tuple[SpokenLanguage, ...] | None = None
    #: The job's own webhook, its address sealed.
    webhook: Subscription | None = None
    #: Whether the recording is yet to come from the address that the caller gave. Until then ``media_format`` is a
    #: guess, ``media_size_bytes`` is what has come, and ``declared_bytes`` what is to come by the host's word.
    is_fetching: bool = False
    declared_bytes: int | None = None

    @property
    def progress(self) -> float:
        """The share of the audio that is done, 0 to 1; 0 while the recording's length is unknown."""
        if self.status is JobStatus.COMPLETED:
            return 1.0
        if not self.media_duration:
            return 0.0
        return min(1.0, self.done_duration / self.media_duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """One page of a list of jobs, latest first."""

    jobs: tuple[TranscriptionJob, ...]
    #: Hand this back to read on; None on the last page.
    next_token: str | None


def new_job_name() -> str:
    """Make a name that no other job has and that nobody can guess."""
    return f"transcribe-{uuid.uuid4()}"


def media_key(job_name: str, extension: str, created_at: datetime) -> str:
    """Return the key of the contract: ``audio/batch/<date>/<job>.<ext>``."""
    return f"audio/batch/{created_at:%Y-%m-%d}/{job_name}.{extension}"


def work_prefix(job_name: str) -> str:
    """Return the prefix under which a job's working audio is kept until the job ends."""
    return f"work/{job_name}/"


def accepted_job(submission: Submission, terms: Terms, *, engine: str, **facts: Any) -> TranscriptionJob:  # noqa: ANN401
    """Return the QUEUED job that a submission becomes under the operator's terms.

    ``engine`` is the chosen one's name; ``facts`` are further fields of :class:`TranscriptionJob`.
    """
    return TranscriptionJob(
        status=JobStatus.QUEUED,
        options=submission.options,
        priority=submission.priority,
        engine=engine if engine in REMOTE_ENGINES else None,
        chunk_seconds=terms.chunk_seconds,
        delete_after_seconds=first_given(submission.delete_after_seconds, terms.delete_after_seconds),
        delete_media_after_seconds=first_given(submission.delete_media_after_seconds, terms.delete_media_after_seconds),
        webhook=submission.webhook,
        **facts,
    )


def is_job_name(name: str) -> bool:
    """Whether this may be a job's name; anything else is none, and need not be looked for."""
    return _NAME.fullmatch(name) is not None
