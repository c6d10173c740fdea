"""What a caller sends beside a recording: options for the engine, and terms for the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from batchscribe.domain.chunks import DEFAULT_CHUNK_SECONDS
from batchscribe.domain.option_fields import OPTION_FIELDS, check_options, read_options
from batchscribe.domain.options import Capabilities, TranscriptionOptions
from batchscribe.errors import InvalidRequest, RequestRefused

if TYPE_CHECKING:
    from batchscribe.domain.webhooks import Subscription

#: The fields of a submission's form that mean something, beside the recording.
FIELDS = (
    *OPTION_FIELDS,
    "engine",
    "priority",
    "delete_after_seconds",
    "delete_media_after_seconds",
    "webhook_url",
    "webhook_events",
    "webhook_payload",
)

#: The fields that say where the recording is, where it does not come with the form; one of them at most.
SOURCE_FIELDS = ("media_url", "upload_id")

#: The engines that work elsewhere, on whole recordings; every other is a worker's own.
REMOTE_ENGINES = frozenset({"aws"})

#: The longest time that anything can be asked to be kept: ten years.
LONGEST_SECONDS = 10 * 366 * 86400


class Priority(Enum):
    """How soon a job's turn comes: every waiting job of a higher priority goes before it."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 is first."""
        return list(Priority).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Everything that a caller asks for, checked."""

    options: TranscriptionOptions = field(default_factory=TranscriptionOptions)
    priority: Priority = Priority.NORMAL
    #: The engine's name; None means the server's default.
    engine: str | None = None
    #: Seconds from the job's end until the job is deleted with all it has; None means the server's default.
    delete_after_seconds: int | None = None
    #: Seconds from the job's end until its recording is deleted; None means the server's default.
    delete_media_after_seconds: int | None = None
    #: Who is told of the job's events. Not part of the text that fingerprints are made of where there is none.
    webhook: Subscription | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the operator grants every job."""

    #: As many jobs may wait; one more is refused.
    max_queued_jobs: int = 100_000
    #: Seconds from a job's end until it, or its recording alone, is deleted, unless the caller says; None means never.
    delete_after_seconds: int | None = None
    delete_media_after_seconds: int | None = None
    #: About how long chunks are.
    chunk_seconds: float = DEFAULT_CHUNK_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """A caller's own name for a submission: the same twice makes one job."""

    key: str
    #: Says what was sent: equal for equal recordings and fields alone.
    fingerprint: str


def name_of_owner(owner: str, name: str) -> str:
    """Return a caller's own name for a submission so that it is no other caller's."""
    return f"{owner} {name}" if owner else name


def read_submission(fields: Mapping[str, str]) -> Submission:
    """Read a form's fields; what is missing has its default. Raises InvalidRequest and UnsupportedLanguage."""
    try:
        priority = Priority(fields.get("priority", "").strip().lower() or "normal")
    except ValueError:
        raise InvalidRequest(
            f"Invalid priority. Must be one of: {', '.join(each.value for each in Priority)}"
        ) from None
    return Submission(
        options=read_options(fields),
        priority=priority,
        engine=fields.get("engine", "").strip().lower() or None,
        delete_after_seconds=_seconds(fields, "delete_after_seconds"),
        delete_media_after_seconds=_seconds(fields, "delete_media_after_seconds"),
        webhook=_webhook(fields),
    )


def choose_engine(submission: Submission, engines: Mapping[str, Capabilities]) -> str:
    """Return the name of a submission's engine: the one asked for, or the first of these.

    Raises InvalidRequest and UnsupportedLanguage where that is not there or cannot do what is asked for.
    """
    engine = submission.engine or next(iter(engines))
    if engine not in engines:
        raise InvalidRequest(f"Invalid engine. Must be one of: {', '.join(engines)}")
    check_options(submission.options, engines[engine], engine)
    return engine


def check_possible(submission: Submission, engines: Mapping[str, Capabilities]) -> None:
    """Raise what :func:`choose_engine` raises, unless the field ``engine`` could come yet and name one that can."""
    try:
        choose_engine(submission, engines)
    except RequestRefused:
        if submission.engine is not None or not any(_can(submission, each) for each in engines.values()):
            raise


def _can(submission: Submission, capabilities: Capabilities) -> bool:
    try:
        check_options(submission.options, capabilities, "")
    except RequestRefused:
        return False
    return True


def _webhook(fields: Mapping[str, str]) -> Subscription | None:
    from batchscribe.domain.webhooks import read_subscription

    if not fields.get("webhook_url", "").strip():
        return None
    events = tuple(fields.get("webhook_events", "").split(","))
    return read_subscription(fields["webhook_url"], events, fields.get("webhook_payload", ""))


def _seconds(fields: Mapping[str, str], name: str) -> int | None:
    value = fields.get(name, "").strip()
    if not value:
        return None
    if not (value.isascii() and value.isdecimal()) or len(value) > 9 or int(value) > LONGEST_SECONDS:
        raise InvalidRequest(f"Invalid {name}. Must be a whole number of seconds from 0 to {LONGEST_SECONDS}")
    return int(value)


def first_given(asked: int | None, granted: int | None) -> int | None:
    """Return what the caller asks for, or else what the operator grants."""
    return granted if asked is None else asked
