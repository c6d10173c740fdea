"""What a remote engine's account allows and costs, how patient we are, and what its failures are called."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from batchscribe.database import remote_slots
from batchscribe.database.remote import RemoteRow
from batchscribe.domain.job import Cost, Failure
from batchscribe.domain.remote_ports import RemoteJob
from batchscribe.errors import (
    EngineAccessDenied,
    EngineFailed,
    EngineUnavailable,
    MediaNotRecognised,
    MediaTooLong,
    RecordingFailed,
)

#: The shortest recording that is billed, in seconds: https://aws.amazon.com/transcribe/pricing/
LEAST_BILLED_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTerms:
    """What the account allows, what it costs, and how patient we are."""

    max_running: int = 250
    starts_per_second: int = 25
    looks_per_second: int = 30
    lists_per_second: int = 5
    deletes_per_second: int = 5
    poll_seconds: float = 30.0
    #: How long a job waits for credentials or permissions to be mended.
    patience_seconds: float = 3600.0
    usd_per_minute: float = 0.024

    @property
    def quotas(self) -> dict[str, int]:
        """Calls a second, by operation."""
        return {
            remote_slots.START: self.starts_per_second,
            remote_slots.LOOK: self.looks_per_second,
            remote_slots.LIST: self.lists_per_second,
            remote_slots.DELETE: self.deletes_per_second,
            remote_slots.POLL: 1,
        }

    def cost(self, duration: float) -> Cost:
        """Return what a recording of so many seconds costs, by the second and the list price."""
        billed_seconds = max(LEAST_BILLED_SECONDS, float(math.ceil(duration)))
        return Cost(billed_seconds=billed_seconds, estimated_usd=billed_seconds / 60 * self.usd_per_minute)

    def denial(self, row: RemoteRow, error: EngineUnavailable) -> Failure | None:
        """Return why a job ends that has waited too long for somebody to let us in; None where it goes on waiting."""
        if not error.is_access_denied or row.denied_since is None:
            return None
        if (datetime.now(UTC) - row.denied_since).total_seconds() < self.patience_seconds:
            return None
        return Failure(code=EngineAccessDenied.code, reason=str(error))


def denied_since(row: RemoteRow, error: EngineUnavailable, now: datetime) -> datetime | None:
    """Return since when a row waits for somebody to let us in; None where it waits for something else."""
    return (row.denied_since or now) if error.is_access_denied else None


def failure_of(seen: RemoteJob) -> RecordingFailed:
    """Return the failure of a job that the engine gave up, in the engine's own words."""
    reason = seen.failure_reason or "The engine gives no reason."
    folded = reason.casefold()
    if "media format" in folded:
        return MediaNotRecognised(reason)
    if "file size too large" in folded or "too long" in folded:
        return MediaTooLong(reason)
    return EngineFailed(reason)
