"""Why a recording cannot be transcribed: the job ends FAILED with the code and the sentence."""

from __future__ import annotations

from batchscribe.errors.root import BatchScribeError


class RecordingFailed(BatchScribeError):
    """A recording that cannot be transcribed."""

    code = "recording_failed"


class MediaEmpty(RecordingFailed):
    """The recording has no bytes, or no sound in it."""

    code = "media_empty"


class MediaNotRecognised(RecordingFailed):
    """The bytes are none of the supported formats, or use a codec that is not allowed."""

    code = "media_not_recognised"


class MediaDamaged(RecordingFailed):
    """The recording is of a supported format but cannot be decoded."""

    code = "media_damaged"


class NoAudioTrack(RecordingFailed):
    """The recording has no audio track."""

    code = "no_audio_track"


class MediaTooLong(RecordingFailed):
    """The recording is longer than the limit, by its header or by its decoded samples."""

    code = "media_too_long"


class DecoderLimit(RecordingFailed):
    """Decoding used more memory or time than it may."""

    code = "decoder_limit"


class DecoderCrashed(RecordingFailed):
    """The decoder process died while it read the recording."""

    code = "decoder_crashed"


class MediaMissing(RecordingFailed):
    """The recording is no longer in the media store."""

    code = "media_missing"


class MediaRefused(RecordingFailed):
    """The host of a recording's address does not give it out, and would not a second time."""

    code = "media_refused"


class MediaUnreachable(RecordingFailed):
    """The host of a recording's address does not answer, or not with the whole recording."""

    code = "media_unreachable"
    retryable = True
    #: Whether it has taken a connection at all, and in how many seconds it wants to be asked again.
    was_reached: bool = True
    retry_after_seconds: float = 0.0


class LanguageUnclear(RecordingFailed):
    """The language was to be identified, and no language reaches the score that is asked for."""

    code = "language_unclear"


class EngineCrashed(RecordingFailed):
    """The engine process died each time it was given this recording."""

    code = "engine_crashed"
    retryable = True


class EngineRefused(RecordingFailed):
    """The remote engine does not take the job; the sentence is its own."""

    code = "engine_refused"


class EngineFailed(RecordingFailed):
    """The remote engine began the job and gave it up; the sentence is its own."""

    code = "engine_failed"


class EngineJobMissing(RecordingFailed):
    """The remote engine no longer has the job."""

    code = "engine_job_missing"


class EngineAccessDenied(RecordingFailed):
    """The remote engine refuses the server's credentials or permissions, and has for longer than is waited for."""

    code = "engine_access_denied"


class Cancelled(RecordingFailed):
    """The job was cancelled by request."""

    code = "cancelled"
