"""Laws of the formats: what is rendered is read back by other people's readers, whatever was said by whomever."""

from __future__ import annotations

import csv
import html
import io
import json
import re

import jsonschema
import pysubs2
import srt
import webvtt
from docx import Document
from hypothesis import assume, given, settings
from strategies import PATIENT, alternatives, conversations

from batchscribe.domain.cues import lay_out_cues
from batchscribe.domain.transcript import Item, ItemKind, Transcript
from batchscribe.engines.aws_transcript import read_transcript
from batchscribe.exports import FORMATS, RenderOptions
from batchscribe.exports.native_json import SCHEMA_FILE
from batchscribe.exports.paragraphs import paragraphs
from batchscribe.wire import transcript_from_json

SCHEMA = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))


def rendered(name: str, transcript: Transcript, options: RenderOptions | None = None) -> bytes:
    """Return the whole document."""
    return b"".join(FORMATS[name].render(transcript, options))


def names_of(transcript: Transcript) -> dict[str, str]:
    """Return what people read for each label."""
    return {speaker.label: speaker.display_name for speaker in transcript.speakers}


@PATIENT
@given(transcript=conversations())
def test_the_native_json_fits_its_schema_and_comes_back(transcript: Transcript) -> None:
    """The schema is that of every document, and the document is the transcript."""
    document = json.loads(rendered("json", transcript))
    SCHEMA.validate(document)
    assert transcript_from_json(document) == transcript


@PATIENT
@given(transcript=conversations())
def test_subrip_is_read_by_two_readers(transcript: Transcript) -> None:
    """Times and lines come back from srt; pysubs2 sees as many cues at the same times."""
    document = rendered("srt", transcript).decode()
    cues = list(lay_out_cues(transcript.segments, names=names_of(transcript), writes_names=True))
    read = list(srt.parse(document))
    assert [each.content for each in read] == ["\n".join(cue.lines).replace("-->", "→") for cue in cues]
    assert [round(each.start.total_seconds(), 3) for each in read] == [cue.start for cue in cues]
    assert [round(each.end.total_seconds(), 3) for each in read] == [cue.end for cue in cues]
    times = [(each.start, each.end) for each in pysubs2.SSAFile.from_string(document, format_="srt")]
    assert times == [(round(cue.start * 1000), round(cue.end * 1000)) for cue in cues]


@PATIENT
@given(transcript=conversations())
def test_webvtt_is_read_with_its_voices(transcript: Transcript) -> None:
    """Times, lines and who speaks come back from webvtt-py."""
    cues = list(lay_out_cues(transcript.segments, names=names_of(transcript)))
    read = webvtt.from_string(rendered("vtt", transcript).decode())
    assert len(read) == len(cues)
    for each, cue in zip(read, cues, strict=True):
        assert (each.start_in_seconds, each.end_in_seconds) == (int(cue.start), int(cue.end))
        text = re.sub(r"^<v [^>]*>", "", each.raw_text)
        assert html.unescape(text) == "\n".join(cue.lines)
        assert html.unescape(each.voice or "") == (cue.speaker or "")


@PATIENT
@given(transcript=conversations())
def test_a_table_has_a_row_for_each_word_with_its_times(transcript: Transcript) -> None:
    """Nothing is lost, and no cell but a mark alone is a formula."""
    document = rendered("csv", transcript, RenderOptions(csv_rows="word")).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(document, newline="")))
    items = [item for segment in transcript.segments for item in segment.items]
    assert [row["text"].removeprefix("'") for row in rows] == [item.content.removeprefix("'") for item in items]
    assert [(float(row["start"]), float(row["end"])) for row in rows] == [(item.start, item.end) for item in items]
    for row in rows:
        cells = (row["speaker"], row["channel"], *([row["text"]] if len(row["text"]) > 1 else []))
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)


@PATIENT
@given(transcript=conversations())
def test_the_aws_file_numbers_every_item_in_time(transcript: Transcript) -> None:
    """Ids run from 0, words are in order of time, audio segments name each item once, channels share them out."""
    results = json.loads(rendered("aws", transcript))["results"]
    items = results["items"]
    assert [item["id"] for item in items] == list(range(len(items)))
    starts = [float(item["start_time"]) for item in items if item["type"] == "pronunciation"]
    assert starts == sorted(starts)
    assert all("start_time" not in item for item in items if item["type"] == "punctuation")
    named = [number for segment in results["audio_segments"] for number in segment["items"]]
    assert sorted(named) == list(range(len(items)))
    contents = [items[number]["alternatives"][0]["content"] for number in named]
    assert contents == [item.content for segment in transcript.segments for item in segment.items]
    channels = results.get("channel_labels", {}).get("channels", [])
    if channels:
        assert sum(len(channel["items"]) for channel in channels) == len(items)


@PATIENT
@given(transcript=conversations())
def test_the_openai_answer_has_every_word_and_segment(transcript: Transcript) -> None:
    """Word by word and segment by segment, in order of time."""
    answer = json.loads(rendered("openai", transcript))
    words = [i for segment in transcript.segments for i in segment.items if i.kind is ItemKind.PRONUNCIATION]
    assert sorted(word["word"] for word in answer["words"]) == sorted(item.content for item in words)
    assert [each["text"] for each in answer["segments"]] == [segment.text for segment in transcript.segments]
    assert answer["text"] == transcript.text


@settings(PATIENT, max_examples=20)
@given(transcript=conversations())
def test_a_word_document_has_every_paragraph(transcript: Transcript) -> None:
    """python-docx reads back who said what; what XML cannot hold has a sign in its place."""
    document = Document(io.BytesIO(rendered("docx", transcript)))
    read = [paragraph.text.partition("] ")[2] for paragraph in document.paragraphs[2:]]
    said = [f"{each.speaker}: {each.text}" if each.speaker else each.text for each in paragraphs(transcript)]
    assert read == [re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", each) for each in said]


@PATIENT
@given(transcript=conversations())
def test_what_the_aws_file_says_is_read_back(transcript: Transcript) -> None:
    """By the reader of the AWS engine: words, times, confidences, speakers and channels, and the same file again.

    In a file with speakers AWS names one for every word.
    """
    assume(len({segment.speaker_label is None for segment in transcript.segments}) < 2)
    document = json.loads(rendered("aws", transcript))
    read = read_transcript(document, language_code="en-US")
    items = [item for segment in read.segments for item in segment.items]
    words = sorted((item.start, item.end, item.content, item.confidence or 0.0) for item in items if is_word(item))
    said = [item for segment in transcript.segments for item in segment.items if is_word(item)]
    assert words == sorted((item.start, item.end, item.content, item.confidence or 0.0) for item in said)
    assert json.loads(rendered("aws", read))["results"]["items"] == document["results"]["items"]


@PATIENT
@given(transcript=alternatives())
def test_other_readings_come_back_from_both_formats(transcript: Transcript) -> None:
    """Of the native format, which fits its schema, and of AWS's."""
    document = json.loads(rendered("json", transcript))
    SCHEMA.validate(document)
    assert transcript_from_json(document) == transcript
    written = json.loads(rendered("aws", transcript))["results"].get("segments", [])
    read = read_transcript(json.loads(rendered("aws", transcript)), language_code="en-US").alternatives
    assert [(each.start, each.end) for each in read] == [(each.start, each.end) for each in transcript.alternatives]
    texts = [[reading.text for reading in each.readings] for each in transcript.alternatives]
    assert [[reading["transcript"] for reading in each["alternatives"]] for each in written] == texts


def is_word(item: Item) -> bool:
    """Whether it is no mark."""
    return item.kind is ItemKind.PRONUNCIATION
