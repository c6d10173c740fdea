"""Every error that BatchScribe raises, in one tree, whose leaves are the classes below.

BatchScribeError
├── RequestRefused              a request cannot be granted; answered now with a 4xx or 5xx of ``web/errors.py``
│   └── ServiceUnavailable          StoreUnavailable: a request is refused, work waits until the store is back
├── RecordingFailed             a recording cannot be transcribed; the job ends FAILED with the code and the sentence
├── EngineUnavailable           the remote engine does not answer for the moment; work waits
├── ReceiverUnreachable         a host that a caller named does not answer
├── EngineClosed                the engine was closed while a chunk waited; not the recording's fault
├── KeyUnknown                  a command names an API key that is not there
└── ConfigurationError          the process refuses to start, with a sentence that says what to change

A class's ``code`` is stable: clients, logs and the database carry it. ``str(error)`` is a sentence for a person.
"""

from __future__ import annotations

from batchscribe.errors.recordings import (
    Cancelled,
    DecoderCrashed,
    DecoderLimit,
    EngineAccessDenied,
    EngineCrashed,
    EngineFailed,
    EngineJobMissing,
    EngineRefused,
    LanguageUnclear,
    MediaDamaged,
    MediaEmpty,
    MediaMissing,
    MediaNotRecognised,
    MediaRefused,
    MediaTooLong,
    MediaUnreachable,
    NoAudioTrack,
    RecordingFailed,
)
from batchscribe.errors.root import BatchScribeError, RequestRefused
from batchscribe.errors.uploads import (
    ChecksumMismatch,
    TusVersionMissing,
    UnsupportedContentType,
    UploadNotFound,
    UploadOffsetConflict,
)

__all__ = [
    "AddressNotAllowed",
    "BatchScribeError",
    "Cancelled",
    "ChecksumMismatch",
    "ConfigurationError",
    "DecoderCrashed",
    "DecoderLimit",
    "EngineAccessDenied",
    "EngineClosed",
    "EngineCrashed",
    "EngineFailed",
    "EngineJobMissing",
    "EngineRefused",
    "EngineUnavailable",
    "IdempotencyConflict",
    "InvalidRequest",
    "JobAlreadyEnded",
    "JobNotFinished",
    "JobNotFound",
    "KeyUnknown",
    "LanguageUnclear",
    "MediaDamaged",
    "MediaEmpty",
    "MediaMissing",
    "MediaNotFound",
    "MediaNotRecognised",
    "MediaRefused",
    "MediaTooLong",
    "MediaUnreachable",
    "ModelUnavailable",
    "NoAudioTrack",
    "NotSetUp",
    "QueueFull",
    "QuotaUsedUp",
    "ReceiverUnreachable",
    "RecordingFailed",
    "RequestRefused",
    "SandboxUnavailable",
    "ServiceUnavailable",
    "StorageFull",
    "StoreUnavailable",
    "TusVersionMissing",
    "UnsupportedContentType",
    "UnsupportedLanguage",
    "UnsupportedMediaFormat",
    "UploadNotFound",
    "UploadOffsetConflict",
    "UploadTooLarge",
    "UploadTooSlow",
    "VocabularyNotFound",
    "WebhookNotFound",
    "WebhooksNotSetUp",
]


class InvalidRequest(RequestRefused):
    """A parameter, header or body that does not fit the contract."""

    code = "invalid_request"


class UnsupportedMediaFormat(RequestRefused):
    """An upload that is none of the supported formats."""

    code = "unsupported_media_format"


class UnsupportedLanguage(RequestRefused):
    """A language code that is unknown, or that the chosen engine cannot recognise."""

    code = "unsupported_language"


class UploadTooLarge(RequestRefused):
    """An upload over the size limit."""

    code = "upload_too_large"


class UploadTooSlow(RequestRefused):
    """An upload that stalled for longer than the limit."""

    code = "upload_too_slow"


class JobNotFound(RequestRefused):
    """No job has this name, or it has been deleted."""

    code = "job_not_found"


class JobNotFinished(RequestRefused):
    """The transcript was asked for before the job ended, or the job FAILED and has none."""

    code = "job_not_finished"


class JobAlreadyEnded(RequestRefused):
    """The job has ended, so it can no longer be cancelled."""

    code = "job_already_ended"


class MediaNotFound(RequestRefused):
    """The job's recording is no longer kept."""

    code = "media_not_found"


class VocabularyNotFound(RequestRefused):
    """No vocabulary, or no vocabulary filter, has this name."""

    code = "vocabulary_not_found"


class StorageFull(RequestRefused):
    """Too little free space to accept an upload."""

    code = "storage_full"
    retryable = True


class QueueFull(RequestRefused):
    """So many jobs wait that one more is not accepted."""

    code = "queue_full"
    retryable = True


class IdempotencyConflict(RequestRefused):
    """The idempotency key was used for another recording or other fields."""

    code = "idempotency_conflict"


class AddressNotAllowed(RequestRefused):
    """An address that a caller named and that the server does not connect to."""

    code = "address_not_allowed"


class QuotaUsedUp(RequestRefused):
    """The key's share of jobs or of audio is used up."""

    code = "quota_used_up"
    retryable = True


class WebhookNotFound(RequestRefused):
    """No webhook endpoint, or no delivery, has this identifier."""

    code = "webhook_not_found"


class WebhooksNotSetUp(RequestRefused):
    """The server has no key to sign webhooks with."""

    code = "webhooks_not_set_up"


class NotSetUp(RequestRefused):
    """The server, as it is set up, cannot do this at all."""

    code = "not_set_up"


class ServiceUnavailable(RequestRefused):
    """The database or the store does not answer at present."""

    code = "service_unavailable"
    retryable = True


class StoreUnavailable(ServiceUnavailable):
    """The media store does not take or give bytes at present; work that needs it waits, whatever job it is for."""


class EngineUnavailable(BatchScribeError):
    """The remote engine does not answer, asks us to wait, or refuses our credentials; no job's fault."""

    code = "engine_unavailable"
    retryable = True
    #: True where waiting helps only once somebody has mended credentials or permissions.
    is_access_denied: bool = False

    def __init__(self, sentence: str, *, is_access_denied: bool = False) -> None:
        """Say what is the matter."""
        super().__init__(sentence)
        self.is_access_denied = is_access_denied


class ReceiverUnreachable(BatchScribeError):
    """A host that a caller named does not answer, or not as it must."""

    code = "receiver_unreachable"
    retryable = True
    #: Whether it has taken a connection at all.
    was_reached: bool = True


class EngineClosed(BatchScribeError):
    """The engine was closed before the chunk was recognised; whoever takes the job over recognises it again."""

    code = "engine_closed"
    retryable = True


class KeyUnknown(BatchScribeError):
    """No API key has this id, or it was revoked."""

    code = "key_unknown"


class ConfigurationError(BatchScribeError):
    """The process cannot start as it is configured."""

    code = "configuration_error"


class SandboxUnavailable(ConfigurationError):
    """The sandbox is required but the kernel lacks Landlock or seccomp."""

    code = "sandbox_unavailable"


class ModelUnavailable(ConfigurationError):
    """The model's files are missing, incomplete or not the expected ones."""

    code = "model_unavailable"
