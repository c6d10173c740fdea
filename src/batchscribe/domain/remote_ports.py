"""The replaceable parts that recognise recordings elsewhere, and what they promise; the others are in ``ports.py``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import BinaryIO, Protocol

from batchscribe.domain.options import Capabilities, TranscriptionOptions
from batchscribe.domain.transcript import Transcript


class RemoteStatus(Enum):
    """How far a job is at a remote engine."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteJob:
    """A job as a remote engine describes it."""

    remote_name: str
    status: RemoteStatus
    media_uri: str = ""
    #: The engine's own sentence about a FAILED one.
    failure_reason: str = ""
    #: Where the transcript is, of a COMPLETED one.
    transcript_uri: str = ""
    #: Of the recording; None until the engine has told it.
    media_format: str | None = None
    media_sample_rate_hertz: int | None = None
    #: As the caller gave it, or as the engine has identified it.
    language_code: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteStart:
    """What a remote engine is to begin."""

    remote_name: str
    media_uri: str
    options: TranscriptionOptions


class RemoteEngine(Protocol):
    """Recognises whole recordings elsewhere. Nothing waits for it: it is started, looked at now and then, fetched from.

    Every method is one short exchange, may be called from many threads at once, and raises EngineUnavailable where the
    engine does not answer or asks us to wait: then nothing is known to have happened.
    """

    #: The word for it in a submission's ``engine`` field.
    name: str
    capabilities: Capabilities
    #: Whether recordings must be copied to where the engine reads them; otherwise it reads the media store itself.
    copies_media: bool

    def media_uri(self, media_key: str) -> str:
        """Return where the engine reads the recording that the media store keeps under this key."""

    def copy_media(self, media_key: str, media: BinaryIO, content_type: str) -> None:
        """Copy a recording to its :meth:`media_uri`, whole or not at all, replacing what is there."""

    def start(self, wanted: RemoteStart) -> bool:
        """Begin a job; False where one of this name is there already. Raises EngineRefused with the engine's sentence.

        So it is harmless to start a job again of which one does not know whether it was started.
        """

    def look(self, remote_name: str) -> RemoteJob:
        """Return a job as it is now. Raises EngineJobMissing."""

    def unfinished(self) -> Iterator[frozenset[str]]:
        """Yield, page by page, the names of all jobs that have not ended; one that has just begun may be missing.

        Each page is an exchange of its own, made when it is asked for.
        """

    def fetch(self, job: RemoteJob) -> Transcript:
        """Return the transcript of a COMPLETED job. Raises EngineJobMissing where it is gone."""

    def delete(self, remote_name: str) -> bool:
        """Remove a job at the engine with everything it wrote; False where it has not ended, and cannot be removed yet.

        One that is not there is removed already.
        """

    def delete_media(self, media_key: str) -> None:
        """Remove the copy of a recording, where :attr:`copies_media`. Harmless when it is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteEnding:
    """A remote engine's word that one of its jobs has ended."""

    remote_name: str
    #: What :meth:`RemoteEvents.acknowledge` wants.
    receipt: str


class RemoteEvents(Protocol):
    """Hears from a remote engine which jobs have ended: each once, often, or never. To be used by one thread."""

    def receive(self) -> list[RemoteEnding]:
        """Wait for news, some twenty seconds at most, and return it. Raises EngineUnavailable.

        What is not acknowledged is told again, to this worker or another.
        """

    def acknowledge(self, endings: list[RemoteEnding]) -> None:
        """Have this news not told again. Raises EngineUnavailable."""
