"""AWS's transcript files become our transcripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchscribe.domain.transcript import ItemKind, SpokenLanguage
from batchscribe.engines.aws_transcript import read_transcript
from batchscribe.errors import EngineFailed
from batchscribe.wire import transcript_from_json, transcript_to_json
from fake_transcribe.transcripts import transcript_file


def job(**asked: Any) -> dict[str, Any]:
    """Return a job of the fake's."""
    return {"TranscriptionJobName": "transcribe-abcd", "LanguageCode": "en-US", **asked}


def word(content: str, start: str, end: str, **labels: Any) -> dict[str, Any]:
    """Return an item of a file."""
    times = {"start_time": start, "end_time": end}
    return {"type": "pronunciation", "alternatives": [{"confidence": "0.5", "content": content}], **times, **labels}


def mark(content: str) -> dict[str, Any]:
    """Return a mark of punctuation, which has no times."""
    return {"type": "punctuation", "alternatives": [{"confidence": "0.0", "content": content}]}


def results(text: str, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a file."""
    return {"results": {"transcripts": [{"transcript": text}], "items": list(items), **more}}


def test_words_and_marks_have_their_times_and_confidences() -> None:
    """A mark stands at the end of the word before it, and has no confidence."""
    file = results("Hi, you.", word("Hi", "0.1", "0.5"), mark(","), word("you", "0.6", "0.9"), mark("."))
    transcript = read_transcript(file, language_code="en-US")
    items = [item for segment in transcript.segments for item in segment.items]
    assert [(item.kind, item.content, item.start, item.end, item.confidence) for item in items] == [
        (ItemKind.PRONUNCIATION, "Hi", 0.1, 0.5, 0.5),
        (ItemKind.PUNCTUATION, ",", 0.5, 0.5, None),
        (ItemKind.PRONUNCIATION, "you", 0.6, 0.9, 0.5),
        (ItemKind.PUNCTUATION, ".", 0.9, 0.9, None),
    ]
    assert transcript.text == "Hi, you."
    assert transcript.duration == 0.9


@pytest.mark.parametrize(("text", "code"), [("今日は雨", "ja-JP"), ("今天 下雨", "zh-CN"), ("$5 off", "en-US")])
def test_spaces_are_as_in_the_running_text(text: str, code: str) -> None:
    """Whatever the language: the file's own text says where they stand."""
    words = [text[:2], text[2:]] if " " not in text else text.split()
    items = [word(each, str(index), str(index + 0.5)) for index, each in enumerate(words)]
    assert read_transcript(results(text, *items), language_code=code).text == text


def test_a_file_without_stretches_is_divided_by_sentences_and_pauses() -> None:
    """Old files have none."""
    items = [word("One", "0.0", "0.5"), mark("."), word("Two", "0.6", "0.9"), word("three", "9.0", "9.5")]
    segments = read_transcript(results("One. Two three", *items), language_code="en-US").segments
    assert [segment.text for segment in segments] == ["One.", "Two", "three"]


def test_speakers_are_told_apart() -> None:
    """Each segment is of one speaker."""
    file = transcript_file(job(Settings={"ShowSpeakerLabels": True, "MaxSpeakerLabels": 2}), words=list("abcd"))
    segments = read_transcript(file, language_code="en-US").segments
    assert [(segment.speaker_label, segment.text) for segment in segments] == [("spk_0", "a b"), ("spk_1", "c d.")]


def test_channels_are_transcribed_apart() -> None:
    """Each segment is of one channel, in the order of time."""
    file = transcript_file(job(Settings={"ChannelIdentification": True}), words=list("abcd"))
    segments = read_transcript(file, language_code="en-US").segments
    assert [(segment.channel_label, segment.text) for segment in segments] == [("ch_0", "a b"), ("ch_1", "c d.")]


def test_speakers_languages_and_what_aws_took_out_are_known() -> None:
    """As our own engine's transcripts say them, so that every format shows them."""
    file = transcript_file(
        job(Settings={"ShowSpeakerLabels": True, "MaxSpeakerLabels": 2}, IdentifyLanguage=True)
        | {"LanguageCode": "fr-FR"},
        words=list("abcd"),
    )
    first, second = file["results"]["items"][:2]
    first["alternatives"] = [
        {"content": "[PII]", "redactions": [{"confidence": "0.99", "type": "NAME", "category": "PII"}]}
    ]
    second["vocabularyFilterMatch"] = True
    transcript = read_transcript({**file, "isRedacted": True}, language_code="en-US")
    assert [speaker.label for speaker in transcript.speakers] == ["spk_0", "spk_1"]
    assert transcript.languages == (SpokenLanguage(language_code="fr-FR", score=0.93),)
    items = transcript.segments[0].items
    assert [(item.redaction, item.is_filter_match) for item in items] == [("NAME", False), (None, True)]
    assert transcript.is_redacted


def test_languages_are_known_of_each_stretch() -> None:
    """Where several were identified; where one was, the transcript has it."""
    languages = [{"LanguageCode": code, "DurationInSeconds": 2.0} for code in ("en-US", "es-US")]
    file = transcript_file(job(IdentifyMultipleLanguages=True, LanguageCodes=languages), words=list("abcd"))
    segments = read_transcript(file, language_code="en-US").segments
    assert [segment.language_code for segment in segments] == ["en-US", "es-US"]
    identified = transcript_file(job(IdentifyLanguage=True) | {"LanguageCode": "fr-FR"})
    assert read_transcript(identified, language_code="en-US").language_code == "fr-FR"


def test_labels_survive_being_stored() -> None:
    """A transcript with speakers and languages comes back as it was."""
    file = transcript_file(job(Settings={"ShowSpeakerLabels": True, "MaxSpeakerLabels": 2}))
    transcript = read_transcript(file, language_code="en-US")
    assert transcript_from_json(json.loads(json.dumps(transcript_to_json(transcript)))) == transcript


def test_several_readings_of_a_stretch_are_kept() -> None:
    """With times, confidences of four digits and the spaces of each reading's own text; nothing else has them."""
    file = transcript_file(job(Settings={"ShowAlternatives": True, "MaxAlternatives": 2}), words=["a", "b"])
    file["results"]["segments"][0]["alternatives"][1]["items"][0]["confidence"] = "0.9994"
    transcript = read_transcript(file, language_code="en-US")
    [stretch] = transcript.alternatives
    assert (stretch.start, stretch.end) == (0.0, 4.0)
    assert [reading.text for reading in stretch.readings] == ["a b.", "a b1."]
    assert stretch.readings[1].items[0].confidence == 0.9994
    assert transcript_from_json(json.loads(json.dumps(transcript_to_json(transcript)))) == transcript
    assert read_transcript(transcript_file(job()), language_code="en-US").alternatives == ()


def test_silence_is_an_empty_transcript() -> None:
    """AWS writes null for the speakers then."""
    transcript = read_transcript(results("", speaker_labels=None, audio_segments=[]), language_code="en-US")
    assert (transcript.text, transcript.segments) == ("", ())


@pytest.mark.parametrize("body", [{}, {"results": None}, {"results": {"items": [{}]}}, [], {"results": {"items": 3}}])
def test_a_file_of_another_shape_fails_the_job(body: Any) -> None:
    """With a reason, never with a crash."""
    with pytest.raises(EngineFailed, match="cannot be read"):
        read_transcript(body, language_code="en-US")


@pytest.mark.shared
def test_real_files_of_aws_are_read_to_the_last_word(shared_folder: Path) -> None:
    """The running text is AWS's own, but for files of channels, which have one text a channel."""
    files = sorted((shared_folder / "aws_json").glob("*.json"))
    assert files
    for path in files:
        data = json.loads(path.read_text())
        transcript = read_transcript(data, language_code="en-US")
        text = data["results"]["transcripts"][0]["transcript"]
        if "channel_labels" not in data["results"]:
            assert transcript.text == text, path.name
        assert len(transcript.text.split()) == len(text.split()), path.name
        assert all(segment.start <= segment.end for segment in transcript.segments), path.name
        if "speaker_labels" in data["results"]:
            assert all(segment.speaker_label for segment in transcript.segments), path.name
