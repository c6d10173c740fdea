"""The shapes of the answers, for the OpenAPI document. ``wire.py`` writes them; a test holds the two together."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_JOB_NAME = "transcribe-a1b2c3d4-5678-90ab-cdef-1234567890ab"
_MEDIA_URL = f"s3://your-bucket/audio/batch/2026-02-05/{_JOB_NAME}.mp3"
_CREATED, _STARTED, _COMPLETED = (f"2026-02-05T10:{end}+00:00" for end in ("30:00.1", "30:02.4", "31:15.7"))

JobName = Annotated[str, Field(description="The job's unique identifier.", examples=[_JOB_NAME])]
LanguageCode = Annotated[str, Field(description="BCP-47 language code.", examples=["en-US"])]
Moment = Annotated[datetime, Field(description="UTC, with its offset.", examples=[_CREATED])]
MediaUrl = Annotated[str, Field(description="Where the recording is kept.", examples=[_MEDIA_URL])]
Seconds = Annotated[float, Field(ge=0)]
Engine = Field(default=None, description="Only of a job at a remote engine: its name.", examples=["aws"])
Status = Literal["QUEUED", "IN_PROGRESS", "COMPLETED", "FAILED"]


class Problem(BaseModel):
    """Why a request was not granted. The header ``X-Error-Code`` carries a stable code for programs."""

    error: str = Field(description="A sentence for people.", examples=["No file provided"])


class JobMissing(BaseModel):
    """No job has this name."""

    error: str = Field(examples=["Job not found: transcribe-invalid-job-name"])
    message: str | None = Field(default=None, examples=["The transcription job does not exist or has been deleted."])


class SpokenSeconds(BaseModel):
    """A language that was identified, and how long it is spoken."""

    language_code: LanguageCode
    duration_in_seconds: Seconds


class _Identified(BaseModel):
    """What was identified, where that was asked for; ``language_code`` is the usual one until it is."""

    identify_language: bool | None = Field(default=None, description="Only where that was asked for.")
    identified_language_score: float | None = Field(
        default=None, ge=0, le=1, description="How probable the identified language is; absent until it is identified."
    )
    identify_multiple_languages: bool | None = Field(default=None, description="Only where that was asked for.")
    language_codes: list[SpokenSeconds] | None = Field(
        default=None, description="The languages of all stretches, the longest first; absent until they are identified."
    )


class SubmittedJob(BaseModel):
    """The job that a recording was taken in as."""

    job_name: JobName
    status: Status
    s3_url: MediaUrl
    upload_time_seconds: Seconds
    language_code: LanguageCode
    message: str
    status_endpoint: str = Field(description="The path to ask for the job's status.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job_name": _JOB_NAME,
                    "status": "QUEUED",
                    "s3_url": _MEDIA_URL,
                    "upload_time_seconds": 0.45,
                    "language_code": "en-US",
                    "message": "Transcription job started. Use /transcribe-job/<job_name> to check status.",
                    "status_endpoint": f"/transcribe-job/{_JOB_NAME}",
                }
            ]
        }
    )


class QueuedJob(_Identified):
    """A job that waits to start."""

    job_name: JobName
    status: Literal["QUEUED"]
    language_code: LanguageCode
    creation_time: Moment
    message: str = Field(examples=["Job status: QUEUED"])
    engine: str | None = Engine
    fetched_bytes: int | None = Field(default=None, ge=0, description="Only while the recording is yet to be fetched.")
    fetch_total_bytes: int | None = Field(default=None, ge=0, description="By its host's word, where it says so.")


class RunningJob(_Identified):
    """A job whose recording is being transcribed."""

    job_name: JobName
    status: Literal["IN_PROGRESS"]
    language_code: LanguageCode
    creation_time: Moment
    start_time: Moment | None
    progress: float = Field(ge=0, le=1, description="The share of the recording that is done.")
    media_duration_seconds: Seconds | None = Field(default=None, description="Absent until it is known.")
    message: str = Field(examples=["Transcription is still in progress. Check again in a few seconds."])
    engine: str | None = Engine


class CompletedJob(_Identified):
    """A job with its transcript."""

    job_name: JobName
    status: Literal["COMPLETED"]
    language_code: LanguageCode
    creation_time: Moment
    start_time: Moment | None
    completion_time: Moment | None
    transcript: str = Field(examples=["This is the transcribed text from your audio file..."])
    media_format: str = Field(examples=["mp3"])
    media_sample_rate_hz: int | None = Field(examples=[44100])
    media_duration_seconds: Seconds
    s3_url: MediaUrl
    warnings: list[str] | None = Field(default=None, description="What went less than well with the recording.")
    engine: str | None = Engine
    billed_seconds: Seconds | None = Field(default=None, description="Only of a job at a remote engine.")
    estimated_cost_usd: float | None = Field(default=None, description="By the engine's list price, in US dollars.")


class FailedJob(_Identified):
    """A job that will have no transcript."""

    job_name: JobName
    status: Literal["FAILED"]
    language_code: LanguageCode
    creation_time: Moment
    failure_reason: str = Field(description="A sentence for people.", examples=["The recording is damaged."])
    failure_code: str = Field(description="A stable code for programs.", examples=["media_damaged"])
    engine: str | None = Engine


JobAnswer = Annotated[QueuedJob | RunningJob | CompletedJob | FailedJob, Field(discriminator="status")]


class ListedJob(_Identified):
    """One line of a list of jobs."""

    job_name: JobName
    status: Status
    language_code: LanguageCode
    creation_time: Moment
    start_time: Moment | None
    completion_time: Moment | None
    failure_reason: str | None = Field(default=None, description="Only of a FAILED job.")


class ListFilters(BaseModel):
    """The filters that a list was made with, as they were sent."""

    status: str = Field(examples=["all"])
    max_results: int = Field(examples=[20])


class JobList(BaseModel):
    """One page of jobs, latest first."""

    jobs: list[ListedJob]
    count: int = Field(ge=0, le=100)
    filters: ListFilters
    next_token: str | None = Field(default=None, description="Where to read on; absent on the last page.")
    message: str | None = Field(default=None, description="Says that there is a next page.")


class SyncTranscript(BaseModel):
    """The answer of the synchronous route."""

    transcript: str
    mode: Literal["batch"]
    upload_time_seconds: Seconds
    total_processing_time_seconds: Seconds
    s3_url: MediaUrl


class SpeakerAnswer(BaseModel):
    """A speaker or a channel."""

    label: str = Field(examples=["spk_0"])
    name: str | None = Field(description="The name that it was given.", examples=["Ann"])
    display_name: str = Field(description="What the formats for people say.", examples=["Ann"])
    speech_seconds: Seconds


class SpeakersAnswer(BaseModel):
    """The speakers and channels of a transcript; none where nobody asked for them."""

    job_name: JobName
    speakers: list[SpeakerAnswer]


class _WordListLine(BaseModel):
    language_code: LanguageCode
    word_count: int = Field(ge=1)
    last_modified_time: Moment


class VocabularyLine(_WordListLine):
    """A vocabulary without its words."""

    vocabulary_name: str


class Vocabulary(VocabularyLine):
    """Words that the recogniser favours."""

    phrases: list[str]


class VocabularyPage(BaseModel):
    """Vocabularies in the order of their names."""

    vocabularies: list[VocabularyLine]
    count: int = Field(ge=0)


class DeletedVocabulary(BaseModel):
    """The confirmation that a vocabulary is gone."""

    vocabulary_name: str
    message: str


class VocabularyFilterLine(_WordListLine):
    """A vocabulary filter without its words."""

    vocabulary_filter_name: str


class VocabularyFilter(VocabularyFilterLine):
    """Words that are masked, removed or tagged."""

    words: list[str]


class VocabularyFilterPage(BaseModel):
    """Vocabulary filters in the order of their names."""

    vocabulary_filters: list[VocabularyFilterLine]
    count: int = Field(ge=0)


class DeletedVocabularyFilter(BaseModel):
    """The confirmation that a vocabulary filter is gone."""

    vocabulary_filter_name: str
    message: str


class DeletedJob(BaseModel):
    """The confirmation that a job is gone."""

    job_name: JobName
    message: str = Field(examples=["The transcription job has been deleted."])


class TakenNotification(BaseModel):
    """The confirmation that a message was taken."""

    message: str = Field(examples=["Taken."])


class Health(BaseModel):
    """The process lives."""

    status: Literal["healthy"]


class PartReadiness(BaseModel):
    """Whether one part can do its work."""

    ok: bool
    message: str


class ReadinessAnswer(BaseModel):
    """Whether every part can do its work."""

    status: Literal["ready", "not ready"]
    parts: dict[str, PartReadiness]
