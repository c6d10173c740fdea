"""Transcript files as AWS Transcribe writes them: every time and confidence is a string."""

from __future__ import annotations

from typing import Any

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]


def transcript_file(job: dict[str, Any], *, words: list[str] | None = None, seconds: float = 4.0) -> dict[str, Any]:
    """Return the file of a job, as its request asked for it: two speakers or channels, languages, a filter's mask."""
    said = words or [*WORDS, "says", job["TranscriptionJobName"].rpartition("-")[2][:4]]
    settings = job.get("Settings", {})
    step = seconds / len(said)
    items: list[dict[str, Any]] = []
    for index, word in enumerate(said):
        item = {
            "id": index,
            "type": "pronunciation",
            "alternatives": [{"confidence": "0.987", "content": word}],
            "start_time": str(round(index * step, 3)),
            "end_time": str(round((index + 0.9) * step, 3)),
        }
        items.append(item | _labels(settings, job, index >= len(said) // 2))
    mark = {"id": len(said), "type": "punctuation", "alternatives": [{"confidence": "0.0", "content": "."}]}
    items.append(mark | _labels(settings, job, True))
    text = " ".join(said) + "."
    results: dict[str, Any] = {
        "transcripts": [{"transcript": text}],
        "items": items,
        "audio_segments": [
            {"id": 0, "transcript": text, "start_time": "0.0", "end_time": f"{seconds}", "items": [*range(len(items))]}
        ],
    }
    if settings.get("ShowSpeakerLabels"):
        results["speaker_labels"] = _speakers(items)
    if settings.get("ChannelIdentification"):
        channels = [
            {"channel_label": label, "items": [each for each in items if each["channel_label"] == label]}
            for label in ("ch_0", "ch_1")
        ]
        results["channel_labels"] = {"channels": channels, "number_of_channels": 2}
    if settings.get("ShowAlternatives"):
        results["segments"] = [_alternatives(said, items, settings["MaxAlternatives"], seconds)]
    if job.get("IdentifyLanguage"):
        results["language_code"] = job["LanguageCode"]
        results["language_identification"] = [{"score": "0.93", "code": job["LanguageCode"]}]
    if job.get("IdentifyMultipleLanguages"):
        results["language_codes"] = [
            {"language_code": each["LanguageCode"], "duration_in_seconds": each["DurationInSeconds"]}
            for each in job["LanguageCodes"]
        ]
    return {
        "jobName": job["TranscriptionJobName"],
        "accountId": "123456789012",
        "status": "COMPLETED",
        "results": results,
    }


def _alternatives(said: list[str], items: list[dict[str, Any]], count: int, seconds: float) -> dict[str, Any]:
    """Return a stretch with so many readings, which differ in their last word; items hold their content themselves."""
    readings = []
    for number in range(count):
        words = said if number == 0 else [*said[:-1], f"{said[-1]}{number}"]
        contents = [*words, "."]
        flat = [
            {key: value for key, value in item.items() if key in {"start_time", "end_time", "type"}}
            | {"confidence": item["alternatives"][0]["confidence"], "content": content}
            for item, content in zip(items, contents, strict=True)
        ]
        readings.append({"transcript": f"{' '.join(words)}.", "items": flat})
    return {"start_time": "0.0", "end_time": f"{seconds}", "alternatives": readings}


def _labels(settings: dict[str, Any], job: dict[str, Any], is_second: bool) -> dict[str, str]:
    labels = {}
    if settings.get("ShowSpeakerLabels"):
        labels["speaker_label"] = f"spk_{int(is_second)}"
    if settings.get("ChannelIdentification"):
        labels["channel_label"] = f"ch_{int(is_second)}"
    if job.get("IdentifyMultipleLanguages"):
        labels["language_code"] = job["LanguageCodes"][int(is_second)]["LanguageCode"]
    return labels


def _speakers(items: list[dict[str, Any]]) -> dict[str, Any]:
    turns = []
    for speaker in ("spk_0", "spk_1"):
        said = [
            {name: each[name] for name in ("start_time", "end_time", "speaker_label")}
            for each in items
            if each.get("speaker_label") == speaker and "start_time" in each
        ]
        turns.append(
            {
                "start_time": said[0]["start_time"],
                "end_time": said[-1]["end_time"],
                "speaker_label": speaker,
                "items": said,
            }
        )
    return {"channel_label": "ch_0", "speakers": 2, "segments": turns}
