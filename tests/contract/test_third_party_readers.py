"""Other people's programs open what we write, without complaint, and find in it what was said."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import docx
import mammoth
import pytest
import srt
import webvtt
from openai.types.audio import TranscriptionVerbose

from batchscribe.domain.cues import lay_out_cues
from batchscribe.domain.transcript import Item, ItemKind, Segment, Transcript, with_names, with_speakers
from batchscribe.exports import FORMATS, RenderOptions
from batchscribe.exports.paragraphs import paragraphs

LINES = (
    ("spk_0", "Good morning, and thank you for calling <Acme & Sons>. How can I help you today?"),
    ("spk_1", "My order of 3 < 4 kilograms of café crème arrived late --> and the box was wet."),
    ("spk_0", "I am so sorry to hear that; let me look into it right away, if you do not mind waiting for a moment."),
    ("spk_1", "=SUM(A1:A9) is what the label says. 東京から来ました。 نعم، شكرا. 👍🏽 e\u0301te\u0301"),
)
OFFICE = shutil.which("soffice")


def conversation() -> Transcript:
    """Return two people who talk in turns, one of them with a name, of words that no format finds easy."""
    segments: list[Segment] = []
    for speaker, text in LINES:
        begin = segments[-1].end + 0.4 if segments else 0.25
        items: list[Item] = []
        for number, word in enumerate(text.split()):
            bare = word.rstrip(".,?;。،") or word
            start = round(begin + 0.32 * number, 3)
            end = round(start + 0.3, 3)
            items.append(Item(kind=ItemKind.PRONUNCIATION, content=bare, start=start, end=end, confidence=0.9))
            items.extend(
                Item(kind=ItemKind.PUNCTUATION, content=mark, start=end, end=end, space_before=False)
                for mark in word[len(bare) :]
            )
        segments.append(Segment(start=items[0].start, end=items[-1].end, items=tuple(items), speaker_label=speaker))
    whole = Transcript(language_code="en-US", duration=segments[-1].end, segments=tuple(segments))
    return with_names(with_speakers(whole), {"spk_0": "Ann O'Neill"})


def rendered(name: str, options: RenderOptions | None = None) -> bytes:
    """Return the document of the conversation."""
    return b"".join(FORMATS[name].render(conversation(), options))


def names() -> dict[str, str]:
    """Return what people read for each speaker."""
    return {speaker.label: speaker.display_name for speaker in conversation().speakers}


def flat(text: str) -> str:
    """Return a text without its spaces."""
    return "".join(text.split())


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_ffmpeg_reads_every_cue_with_its_times(name: str) -> None:
    """As players on it do: PyAV's demuxer and decoder."""
    cues = list(lay_out_cues(conversation().segments, names=names(), writes_names=name == "srt"))
    with av.open(io.BytesIO(rendered(name)), format="webvtt" if name == "vtt" else "srt") as container:
        [stream] = container.streams
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        assert stream.time_base is not None
        times = [
            (round(float(packet.pts * stream.time_base), 3), round(float(packet.duration * stream.time_base), 3))
            for packet in packets
            if packet.pts is not None and packet.duration is not None
        ]
    assert times == [(cue.start, round(cue.end - cue.start, 3)) for cue in cues]


def test_subtitle_editors_find_the_same_cues_in_both_formats() -> None:
    """The srt module and webvtt-py; the one has names in the text, the other as voices."""
    captions = list(webvtt.from_string(rendered("vtt").decode()))
    assert {caption.voice for caption in captions} == {"Ann O'Neill", "Speaker 2"}
    subtitles = list(srt.parse(rendered("srt").decode()))
    assert [subtitle.index for subtitle in subtitles] == list(range(1, len(subtitles) + 1))
    assert all(first.end <= second.start for first, second in pairwise(subtitles))
    assert subtitles[0].content.startswith("Ann O'Neill: Good morning")


def test_mammoth_reads_the_word_document_without_a_message() -> None:
    """And finds every paragraph, the names in bold."""
    result = mammoth.convert_to_html(io.BytesIO(rendered("docx", RenderOptions(job_name="a-job"))))
    assert result.messages == []
    assert "<strong>Ann O&#x27;Neill: </strong>" in result.value or "<strong>Ann O'Neill: </strong>" in result.value
    text = mammoth.extract_raw_text(io.BytesIO(rendered("docx"))).value
    for each in paragraphs(conversation()):
        assert each.text in text


def test_a_paragraph_of_arabic_runs_from_right_to_left_in_word() -> None:
    """And one of English with an Arabic word in it does not."""
    items = [
        Item(kind=ItemKind.PRONUNCIATION, content=word, start=start, end=start + 1.0)
        for start, word in ((0.0, "نعم"), (1.0, "شكرا"), (20.0, "Yes"), (21.0, "نعم"))
    ]
    segments = tuple(
        Segment(start=pair[0].start, end=pair[1].end, items=tuple(pair)) for pair in (items[:2], items[2:])
    )
    spoken = Transcript(language_code="ar-SA", duration=22.0, segments=segments)
    document = docx.Document(io.BytesIO(b"".join(FORMATS["docx"].render(spoken))))
    _, _, arabic, english = document.paragraphs
    assert [len(each._p.xpath("./w:pPr/w:bidi")) for each in (arabic, english)] == [1, 0]
    assert [each.runs[-1].font.rtl for each in (arabic, english)] == [True, None]


def test_the_library_of_openai_reads_its_verbose_answer() -> None:
    """By its own type, without a field that it does not know but ``speaker``."""
    answer = TranscriptionVerbose.model_validate_json(rendered("openai"), strict=True)
    assert answer.text == conversation().text
    assert answer.language == "english"
    assert answer.words is not None
    assert answer.segments is not None
    assert [segment.text for segment in answer.segments] == [segment.text for segment in conversation().segments]
    assert not answer.model_extra or set(answer.model_extra) <= {"task"}
    assert {key for segment in answer.segments for key in segment.model_extra or {}} == {"speaker"}


def test_a_table_is_read_by_a_dictionary_reader() -> None:
    """A row a segment; what would be a formula is none."""
    rows = list(csv.DictReader(io.StringIO(rendered("csv").decode("utf-8-sig"), newline="")))
    assert [row["speaker"] for row in rows] == ["Ann O'Neill", "Speaker 2", "Ann O'Neill", "Speaker 2"]
    assert [row["text"].removeprefix("'") for row in rows] == [segment.text for segment in conversation().segments]
    assert rows[3]["text"].startswith("'=SUM")


def by_turns(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Read as tscribe does: the turns of ``speaker_labels``, each word looked up by both its times."""
    words = [item for item in results["items"] if item["type"] == "pronunciation"]
    for turn in results["speaker_labels"]["segments"]:
        said = ""
        for each in turn["items"]:
            times = (each["start_time"], each["end_time"])
            word = next(item for item in words if (item["start_time"], item["end_time"]) == times)
            said += " " + max(word["alternatives"], key=lambda heard: heard["confidence"])["content"]
            following = results["items"].index(word) + 1
            while following < len(results["items"]) and results["items"][following]["type"] == "punctuation":
                said += results["items"][following]["alternatives"][0]["content"]
                following += 1
        yield turn["speaker_label"], said


def by_items(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Read as AWS's own examples do: item by item, punctuation glued, a new line where the speaker changes."""
    speaker, said = "", ""
    for item in results["items"]:
        if said and item["speaker_label"] != speaker:
            yield speaker, said
            said = ""
        speaker = item["speaker_label"]
        gap = " " if "start_time" in item else ""
        assert "start_time" not in item or float(item["start_time"]) <= float(item["end_time"])
        said += gap + item["alternatives"][0]["content"]
    yield speaker, said


def by_audio_segments(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Read as converters of the newer files do: ``audio_segments`` with their own text, checked against its items."""
    by_id = {item["id"]: item for item in results["items"]}
    for segment in results["audio_segments"]:
        said = "".join(by_id[number]["alternatives"][0]["content"] for number in segment["items"])
        assert flat(said) == flat(segment["transcript"])
        yield segment["speaker_label"], segment["transcript"]


@pytest.mark.parametrize("reader", [by_turns, by_items, by_audio_segments])
def test_converters_of_aws_files_read_ours(reader: Any) -> None:
    """In the three ways in which those that people use go through the file; each finds who said what, in order."""
    results = json.loads(rendered("aws"))["results"]
    found = [(speaker, flat(said)) for speaker, said in reader(results)]
    assert found == [(names()[speaker] if speaker == "spk_0" else speaker, flat(text)) for speaker, text in LINES]
    assert results["transcripts"][0]["transcript"] == conversation().text


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for LibreOffice, where it is installed."""
    if OFFICE is None:
        pytest.skip("LibreOffice is not installed")
    return tmp_path_factory.mktemp("office")


def converted(folder: Path, document: Path, wanted: str, *options: str) -> bytes:
    """Let LibreOffice open a document and save it in another format."""
    assert OFFICE is not None
    command = [OFFICE, f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless", "--convert-to", wanted]
    done = subprocess.run(
        [*command, *options, "--outdir", str(folder / "out"), str(document)],
        check=True,
        capture_output=True,
        timeout=250,
        env={**os.environ, "HOME": str(folder)},
    )
    written = folder / "out" / f"{document.stem}.{wanted.partition(':')[0]}"
    assert written.is_file(), done.stderr
    return written.read_bytes()


def test_libreoffice_opens_the_word_document(office: Path) -> None:
    """Saved as plain text it has every paragraph with time and speaker; it prints it, too."""
    document = office / "ours.docx"
    document.write_bytes(rendered("docx", RenderOptions(job_name="a-job")))
    text = converted(office, document, "txt:Text (encoded):UTF8").decode("utf-8-sig")
    lines = [line.partition("] ")[2] for line in text.splitlines() if line.startswith("[")]
    assert lines == [f"{each.speaker}: {each.text}" for each in paragraphs(conversation())]
    assert converted(office, document, "pdf").startswith(b"%PDF-")


def test_libreoffice_opens_the_table(office: Path) -> None:
    """As its own kind of table and back: every cell is as it was, and nothing was reckoned.

    Without a window it has to be told that a table is UTF-8 (76), between commas (44) and quotation marks (34).
    """
    table = office / "ours.csv"
    table.write_bytes(rendered("csv"))
    (office / "sheet.ods").write_bytes(converted(office, table, "ods", "--infilter=CSV:44,34,76,1"))
    back = converted(office, office / "sheet.ods", "csv:Text - txt - csv (StarCalc):44,34,76").decode("utf-8-sig")
    ours = list(csv.reader(io.StringIO(rendered("csv").decode("utf-8-sig"), newline="")))
    theirs = list(csv.reader(io.StringIO(back, newline="")))
    assert [row[6] for row in theirs] == [row[6] for row in ours]
    assert [row[2] for row in theirs] == [row[2] for row in ours]
