"""The format ``aws`` beside files that AWS Transcribe itself has written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.transcript import Item, ItemKind, Segment, SpokenLanguage, Transcript, with_speakers
from batchscribe.engines.aws_transcript import read_transcript
from batchscribe.exports import FORMATS, RenderOptions
from batchscribe.finishing import finished
from batchscribe.wire import transcript_from_json, transcript_to_json
from fake_transcribe.transcripts import transcript_file


def spoken() -> Transcript:
    """Return a transcript of two speakers on two channels, who talk at once."""
    segments = []
    for number, words in enumerate((("Hello", "there"), ("Good", "morning"))):
        items = [
            Item(
                kind=ItemKind.PRONUNCIATION,
                content=word,
                start=0.5 + number * 0.1 + place,
                end=0.9 + number * 0.1 + place,
                confidence=0.98,
            )
            for place, word in enumerate(words)
        ]
        end = items[-1].end
        items.append(Item(kind=ItemKind.PUNCTUATION, content=".", start=end, end=end, space_before=False))
        segments.append(Segment(start=items[0].start, end=end, items=tuple(items)))
    return Transcript(language_code="en-US", duration=3.0, segments=tuple(segments))


def labelled(*, speaker_label: str | None = None, channel_label: str | None = None) -> Transcript:
    """Return the transcript with labels that end in the segment's number."""
    segments = tuple(
        replace(
            segment,
            speaker_label=speaker_label and f"{speaker_label}{number}",
            channel_label=channel_label and f"{channel_label}{number}",
        )
        for number, segment in enumerate(spoken().segments)
    )
    return with_speakers(replace(spoken(), segments=segments))


def document(transcript: Transcript) -> Any:
    """Return the file."""
    return json.loads(b"".join(FORMATS["aws"].render(transcript, RenderOptions(job_name="a-job"))))


def shape(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path of every value within with its type."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield f"{path}/{key}", type(each).__name__
            yield from shape(each, f"{path}/{key}")
    elif isinstance(value, list):
        for each in value:
            yield from shape(each, f"{path}[]")


@pytest.mark.shared
def test_every_field_that_aws_writes_is_there_with_its_type(shared_folder: Path) -> None:
    """Plain, with speakers, with channels, redacted and masked: a program that reads AWS's files reads ours."""
    redacted = finished(spoken(), TranscriptionOptions(redact_types=("EMAIL",)))
    ours = set()
    for transcript in (spoken(), labelled(speaker_label="spk_"), labelled(channel_label="ch_"), redacted):
        ours |= set(shape(document(transcript)))
    samples = sorted((shared_folder / "aws_json").glob("*.json"))
    assert len(samples) >= 5
    for sample in samples:
        missing = set(shape(json.loads(sample.read_text()))) - ours
        assert not missing, sample.name


@pytest.mark.shared
def test_files_of_aws_come_back_field_for_field(shared_folder: Path) -> None:
    """Read into the master transcript and written again, every field has its value; newer fields stand beside them."""
    for sample in sorted((shared_folder / "aws_json").glob("*.json")):
        theirs = json.loads(sample.read_text())
        transcript = read_transcript(theirs, language_code="en-US")
        stored = transcript_from_json(json.loads(json.dumps(transcript_to_json(transcript))))
        ours = json.loads(b"".join(FORMATS["aws"].render(stored, RenderOptions(job_name=theirs["jobName"]))))
        assert not list(differences(theirs, ours)), sample.name


@pytest.mark.parametrize(
    "settings",
    [
        {"ShowAlternatives": True, "MaxAlternatives": 3},
        {"ShowAlternatives": True, "MaxAlternatives": 2, "ShowSpeakerLabels": True, "MaxSpeakerLabels": 2},
        {"ChannelIdentification": True},
    ],
)
def test_what_the_aws_engine_read_is_written_as_it_was(settings: dict[str, Any]) -> None:
    """Readings, speakers and channels; a stretch that the fake lets two share becomes two."""
    theirs = transcript_file({"TranscriptionJobName": "a-job", "Settings": settings})
    if settings.keys() & {"ShowSpeakerLabels", "ChannelIdentification"}:
        del theirs["results"]["audio_segments"]
    transcript = read_transcript(theirs, language_code="en-US")
    assert not list(differences(theirs, document(transcript)))
    assert ("segments" in theirs["results"]) is bool(transcript.alternatives)


def differences(theirs: Any, ours: Any, path: str = "") -> Iterator[str]:
    """Yield every field of theirs whose value is another in ours; the account is not ours to know."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key, value in theirs.items():
            if path + key != "accountId":
                yield from differences(value, ours.get(key, "absent"), f"{path}{key}/")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(one, other, f"{path}{number}/")
    elif theirs != ours:
        yield f"{path}: {theirs!r}, {ours!r}"


def test_a_plain_file_says_nothing_of_what_nobody_asked_for() -> None:
    """Word for word as AWS would write it."""
    assert document(replace(spoken(), segments=spoken().segments[:1])) == {
        "jobName": "a-job",
        "accountId": "000000000000",
        "results": {
            "transcripts": [{"transcript": "Hello there."}],
            "items": [
                {
                    "id": 0,
                    "type": "pronunciation",
                    "alternatives": [{"confidence": "0.98", "content": "Hello"}],
                    "start_time": "0.5",
                    "end_time": "0.9",
                },
                {
                    "id": 1,
                    "type": "pronunciation",
                    "alternatives": [{"confidence": "0.98", "content": "there"}],
                    "start_time": "1.5",
                    "end_time": "1.9",
                },
                {"id": 2, "type": "punctuation", "alternatives": [{"confidence": "0.0", "content": "."}]},
            ],
            "audio_segments": [
                {
                    "id": 0,
                    "transcript": "Hello there.",
                    "start_time": "0.5",
                    "end_time": "1.9",
                    "items": [0, 1, 2],
                }
            ],
        },
        "status": "COMPLETED",
    }


def test_words_of_two_channels_stand_among_one_another() -> None:
    """Each channel has its own, and a full stop stays with its word."""
    results = document(labelled(channel_label="ch_"))["results"]
    contents = [item["alternatives"][0]["content"] for item in results["items"]]
    assert contents == ["Hello", "Good", "there", ".", "morning", "."]
    assert results["channel_labels"]["number_of_channels"] == 2
    assert [segment["items"] for segment in results["audio_segments"]] == [[0, 2, 3], [1, 4, 5]]


def test_speakers_have_turns_with_their_words() -> None:
    """Words alone, without punctuation."""
    labels = document(labelled(speaker_label="spk_"))["results"]["speaker_labels"]
    assert (labels["speakers"], labels["channel_label"]) == (2, "ch_0")
    assert [(turn["speaker_label"], len(turn["items"])) for turn in labels["segments"]] == [("spk_0", 2), ("spk_1", 2)]


def test_languages_are_said_as_aws_says_them() -> None:
    """One with its score and those it was chosen from, or several with their seconds."""
    one = replace(spoken(), languages=(SpokenLanguage(language_code="en-US", score=0.98),))
    results = document(one)["results"]
    assert results["language_code"] == "en-US"
    assert results["language_identification"] == [{"score": "0.98", "code": "en-US"}]
    several = replace(spoken(), languages=(SpokenLanguage(language_code="en-US", duration=2.5),))
    codes = document(several)["results"]["language_codes"]
    assert codes == [{"language_code": "en-US", "duration_in_seconds": "2.5"}]


def test_what_was_redacted_reads_pii() -> None:
    """In the item, in the transcript and in its segment, with the class beside it."""
    items = (
        Item(kind=ItemKind.PRONUNCIATION, content="ann@example.com", start=0.0, end=1.0, confidence=0.7),
        Item(kind=ItemKind.PRONUNCIATION, content="please", start=1.0, end=1.5, confidence=0.9),
    )
    clear = replace(spoken(), segments=(Segment(start=0.0, end=1.5, items=items),))
    written = document(finished(clear, TranscriptionOptions(redact_types=("EMAIL",))))
    assert written["isRedacted"] is True
    assert written["results"]["transcripts"] == [{"transcript": "[PII] please"}]
    assert written["results"]["audio_segments"][0]["transcript"] == "[PII] please"
    assert written["results"]["items"][0]["alternatives"] == [
        {
            "confidence": "0.7",
            "content": "[PII]",
            "redactions": [{"confidence": "0.7", "type": "EMAIL", "category": "PII"}],
        }
    ]


def test_words_that_a_filter_tags_say_so() -> None:
    """The others say nothing."""
    tagged = finished(spoken(), TranscriptionOptions(vocabulary_filter_method="tag"), ["hello"])
    items = document(tagged)["results"]["items"]
    assert [item.get("vocabularyFilterMatch") for item in items] == [True, None, None, None, None, None]
