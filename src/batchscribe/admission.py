"""What is checked of a submission before anything of it is stored."""

from __future__ import annotations

from collections.abc import Mapping

from batchscribe.domain.keys import ApiKey
from batchscribe.domain.media import checked_format
from batchscribe.domain.option_fields import check_whole
from batchscribe.domain.options import Capabilities
from batchscribe.domain.submission import (
    REMOTE_ENGINES,
    Submission,
    check_possible,
    choose_engine,
    read_submission,
)
from batchscribe.domain.word_lists import WordList
from batchscribe.errors import QueueFull
from batchscribe.key_ring import KeyRing
from batchscribe.monitor import Monitor
from batchscribe.vocabularies import Vocabularies
from batchscribe.webhook_service import WebhookService


class Admission:
    """Refuses what could not become a job. Every method may be called from any thread."""

    def __init__(
        self,
        *,
        engines: Mapping[str, Capabilities],
        webhooks: WebhookService,
        vocabularies: Vocabularies,
        ring: KeyRing,
        monitor: Monitor,
    ) -> None:
        self._engines = engines
        self._webhooks = webhooks
        self._vocabularies = vocabularies
        self._ring = ring
        self._monitor = monitor

    def check_admission(self, key: ApiKey | None) -> None:
        """Raise QuotaUsedUp or QueueFull where no job would be accepted; ServiceUnavailable."""
        if key is not None:
            self._ring.check_quotas(key)
        if self._monitor.is_queue_full():
            raise QueueFull(f"{self._monitor.max_queued_jobs} jobs wait already. Try again later.")

    def check_submission(self, *, file_name: str | None, head: bytes, fields: Mapping[str, str]) -> Submission:
        """Return what a submission asks for, of whose fields some may come yet.

        Raises UnsupportedMediaFormat, UnsupportedLanguage or InvalidRequest; for its webhook also AddressNotAllowed,
        WebhooksNotSetUp. ``head`` is the recording's first bytes (:data:`~batchscribe.domain.media.SNIFF_BYTES` are
        enough), ``fields`` the form's other fields. A recording that does not come with the form has no name.
        """
        if file_name is not None:
            checked_format(file_name, head)
        submission = read_submission(fields)
        check_possible(submission, self._engines)
        if submission.webhook is not None:
            self._webhooks.check(submission.webhook)
        return submission

    def check_fields(self, fields: Mapping[str, str], *, owner: str) -> Submission:
        """Return what a submission with these fields, and no more, asks for. Raises as :meth:`check_submission`."""
        submission = read_submission(fields)
        check_whole(submission.options)
        self.named_lists(submission, owner=owner)
        if submission.webhook is not None:
            self._webhooks.check(submission.webhook)
        return submission

    def named_lists(self, submission: Submission, *, owner: str) -> tuple[WordList, ...]:
        """Return the lists of words that a submission names. Raises InvalidRequest, UnsupportedLanguage."""
        # A remote engine keeps lists of its own, under names that only it can check.
        is_remote = choose_engine(submission, self._engines) in REMOTE_ENGINES
        return () if is_remote else self._vocabularies.named_by(submission.options, owner=owner)
