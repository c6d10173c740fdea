"""The JSON shapes that BatchScribe stores and sends.

A transcript::

    {"language_code": "en-US", "duration": 7.25, "segments": [SEGMENT, ...],
     "speakers": [{"label": "spk_0", "name": "Ann"}], "languages": [{"language_code": "en-US", "score": 0.98}],
     "is_redacted": true, "alternatives": [ALTERNATIVES, ...]}

A segment (``quality`` only where the engine gives it; ``speaker_label``, ``channel_label``, ``language_code`` and
``suspect`` only where there is one)::

    {"start": 0.31, "end": 2.08, "items": [ITEM, ...],
     "quality": {"average_log_probability": -0.21, "compression_ratio": 1.1, "no_speech_probability": 0.02}}

What ITEM is, and the readings of ``alternatives``, :mod:`batchscribe.wire_items` says.

Times are seconds from the recording's start, to the millisecond; an item's confidence has four digits after the point
(AWS gives as many), any other figure three. A value of that precision comes back exactly. Readers ignore keys they do
not know.

A job is written as ``docs/contract.md`` shows it, with ``progress``, ``failure_code``, ``media_duration_seconds`` and
``warnings`` beside the contract's own fields; ``identify_language`` with ``identified_language_score``, or
``identify_multiple_languages`` with ``language_codes``, where that was asked for; ``fetched_bytes`` and
``fetch_total_bytes`` while the server fetches the recording; ``engine``, ``billed_seconds`` and ``estimated_cost_usd``
where a remote engine works on it. Times of day are UTC with their offset.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from batchscribe.domain.identification import languages_from_json, languages_to_json
from batchscribe.domain.job import JobPage, JobStatus, TranscriptionJob
from batchscribe.domain.transcript import Quality, Segment, Speaker, Transcript
from batchscribe.domain.word_lists import WordList
from batchscribe.wire_items import alternatives_from_json, alternatives_to_json, given, item_from_json, item_to_json

_DIGITS = 3


def transcript_to_json(transcript: Transcript) -> dict[str, Any]:
    """Return the transcript as values that :mod:`json` can write."""
    data: dict[str, Any] = {
        "language_code": transcript.language_code,
        "duration": round(transcript.duration, _DIGITS),
        "segments": [segment_to_json(segment) for segment in transcript.segments],
    }
    if transcript.speakers:
        data["speakers"] = [given(label=each.label, name=each.name) for each in transcript.speakers]
    if transcript.languages:
        data["languages"] = languages_to_json(transcript.languages)
    if transcript.is_redacted:
        data["is_redacted"] = True
    if transcript.alternatives:
        data["alternatives"] = [alternatives_to_json(each) for each in transcript.alternatives]
    return data


def transcript_from_json(data: Mapping[str, Any]) -> Transcript:
    """Return the transcript that :func:`transcript_to_json` wrote. Raises KeyError where a field is missing."""
    return Transcript(
        language_code=data["language_code"],
        duration=float(data["duration"]),
        segments=tuple(segment_from_json(segment) for segment in data["segments"]),
        speakers=tuple(Speaker(label=each["label"], name=each.get("name")) for each in data.get("speakers", ())),
        languages=languages_from_json(data.get("languages", ())),
        is_redacted=bool(data.get("is_redacted", False)),
        alternatives=tuple(alternatives_from_json(each) for each in data.get("alternatives", ())),
    )


def segment_to_json(segment: Segment) -> dict[str, Any]:
    """Return the segment as values that :mod:`json` can write."""
    data: dict[str, Any] = {
        "start": round(segment.start, _DIGITS),
        "end": round(segment.end, _DIGITS),
        **given(
            speaker_label=segment.speaker_label,
            channel_label=segment.channel_label,
            language_code=segment.language_code,
            suspect=segment.suspect,
        ),
        "items": [item_to_json(item) for item in segment.items],
    }
    if segment.quality is not None:
        data["quality"] = {
            "average_log_probability": round(segment.quality.average_log_probability, _DIGITS),
            "compression_ratio": round(segment.quality.compression_ratio, _DIGITS),
            "no_speech_probability": round(segment.quality.no_speech_probability, _DIGITS),
        }
    return data


def segment_from_json(data: Mapping[str, Any]) -> Segment:
    """Return the segment that :func:`segment_to_json` wrote. Raises KeyError where a field is missing."""
    quality = data.get("quality")
    return Segment(
        start=float(data["start"]),
        end=float(data["end"]),
        items=tuple(item_from_json(item) for item in data["items"]),
        quality=None
        if quality is None
        else Quality(
            average_log_probability=float(quality["average_log_probability"]),
            compression_ratio=float(quality["compression_ratio"]),
            no_speech_probability=float(quality["no_speech_probability"]),
        ),
        speaker_label=data.get("speaker_label"),
        channel_label=data.get("channel_label"),
        language_code=data.get("language_code"),
        suspect=data.get("suspect"),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def submitted_to_json(job: TranscriptionJob) -> dict[str, Any]:
    """Return the answer to a submission."""
    return {
        "job_name": job.name,
        "status": job.status.value,
        "s3_url": job.media_url,
        "upload_time_seconds": round(job.upload_seconds, 2),
        "language_code": job.options.language_code,
        "message": "Transcription job started. Use /transcribe-job/<job_name> to check status.",
        "status_endpoint": f"/transcribe-job/{job.name}",
    }


def job_to_json(job: TranscriptionJob) -> dict[str, Any]:
    """Return the answer to a question for one job's status."""
    data: dict[str, Any] = {
        "job_name": job.name,
        "status": job.status.value,
        "language_code": job.options.language_code,
        "creation_time": _time(job.created_at),
    }
    data |= _identified(job)
    if job.engine is not None:
        data["engine"] = job.engine
    match job.status:
        case JobStatus.QUEUED:
            data["message"] = "Job status: QUEUED"
            if job.is_fetching:
                data["message"] = "The recording is yet to be fetched from its address."
                data["fetched_bytes"] = job.media_size_bytes
                if job.declared_bytes is not None:
                    data["fetch_total_bytes"] = job.declared_bytes
        case JobStatus.IN_PROGRESS:
            data["start_time"] = _time(job.started_at)
            data["progress"] = round(job.progress, 4)
            if job.media_duration is not None:
                data["media_duration_seconds"] = round(job.media_duration, _DIGITS)
            data["message"] = "Transcription is still in progress. Check again in a few seconds."
        case JobStatus.COMPLETED:
            data |= {
                "start_time": _time(job.started_at),
                "completion_time": _time(job.completed_at),
                "transcript": job.text or "",
                "media_format": job.media_format.value,
                "media_sample_rate_hz": job.media_sample_rate_hertz,
                "media_duration_seconds": round(job.media_duration or 0.0, _DIGITS),
                "s3_url": job.media_url,
            }
            if job.warnings:
                data["warnings"] = list(job.warnings)
            if job.cost is not None:
                data["billed_seconds"] = round(job.cost.billed_seconds, _DIGITS)
                data["estimated_cost_usd"] = round(job.cost.estimated_usd, 6)
        case JobStatus.FAILED if job.failure is not None:
            data |= {"failure_reason": job.failure.reason, "failure_code": job.failure.code}
    return data


def listed_to_json(job: TranscriptionJob) -> dict[str, Any]:
    """Return one line of a list of jobs."""
    data: dict[str, Any] = {
        "job_name": job.name,
        "status": job.status.value,
        "language_code": job.options.language_code,
        "creation_time": _time(job.created_at),
        "start_time": _time(job.started_at),
        "completion_time": _time(job.completed_at),
    }
    data |= _identified(job)
    if job.failure is not None:
        data["failure_reason"] = job.failure.reason
    return data


def _identified(job: TranscriptionJob) -> dict[str, Any]:
    """Return what was identified so far, under AWS's names, where that was asked for."""
    languages = job.languages or ()
    if job.options.identify_language:
        score = languages[0].score if languages else None
        return {"identify_language": True} | ({} if score is None else {"identified_language_score": _rounded(score)})
    if not job.options.identify_multiple_languages:
        return {}
    codes = [
        {"language_code": each.language_code, "duration_in_seconds": _rounded(each.duration or 0.0)}
        for each in languages
    ]
    return {"identify_multiple_languages": True} | ({"language_codes": codes} if codes else {})


def page_to_json(page: JobPage, *, status_filter: str | None, max_results: int) -> dict[str, Any]:
    """Return a page of jobs; the filters are echoed as they were sent."""
    data: dict[str, Any] = {
        "jobs": [listed_to_json(job) for job in page.jobs],
        "count": len(page.jobs),
        "filters": {"status": status_filter or "all", "max_results": max_results},
    }
    if page.next_token is not None:
        data["next_token"] = page.next_token
        data["message"] = "More results available. Use next_token to fetch the next page."
    return data


def speakers_to_json(job_name: str, transcript: Transcript) -> dict[str, Any]:
    """Return the speakers and channels of a transcript, each with what it said and the name that people read."""
    spoken: dict[str, float] = {}
    for segment in transcript.segments:
        for label in (segment.speaker_label, segment.channel_label):
            if label is not None:
                spoken[label] = spoken.get(label, 0.0) + segment.end - segment.start
    speakers = [
        {
            "label": each.label,
            "name": each.name,
            "display_name": each.display_name,
            "speech_seconds": round(spoken.get(each.label, 0.0), _DIGITS),
        }
        for each in transcript.speakers
    ]
    return {"job_name": job_name, "speakers": speakers}


def word_list_to_json(words: WordList, name_field: str, words_field: str | None) -> dict[str, Any]:
    """Return a vocabulary or a vocabulary filter under AWS's names; without its words where their field is None."""
    data: dict[str, Any] = {name_field: words.name, "language_code": words.language_code}
    if words_field is not None:
        data[words_field] = list(words.words)
    return data | {"word_count": len(words.words), "last_modified_time": _time(words.updated_at)}


def _time(moment: datetime | None) -> str | None:
    """Write a time of day in UTC with its offset."""
    return None if moment is None else moment.isoformat()
