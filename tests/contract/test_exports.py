"""The contract suite of export formats: every format renders every transcript, whatever is in it."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator

import pysubs2
import pytest

from batchscribe.domain.cues import lay_out_cues
from batchscribe.domain.transcript import Item, ItemKind, Quality, Segment, Transcript
from batchscribe.exports import FORMATS, Export
from batchscribe.wire import transcript_from_json

STORY = (
    "Last summer we spent two weeks in a small village by the sea. Every morning the fishing boats came home before "
    "breakfast. My brother learned to swim, and my sister painted the old harbor."
)
TRICKY = "Is 3 < 4 & 5 > 2 ? --> <i>yes</i> &amp; 42"
HOUR_SECONDS = 3600.0


def segment_of(text: str, start: float) -> Segment:
    """Return a segment that says the text, a word every 0.4 s."""
    items: list[Item] = []
    for number, word in enumerate(text.split()):
        bare = word.rstrip(".,") or word
        begin = round(start + 0.4 * number, 3)
        end = round(begin + 0.35, 3)
        items.append(Item(kind=ItemKind.PRONUNCIATION, content=bare, start=begin, end=end, confidence=0.987))
        items.extend(
            Item(kind=ItemKind.PUNCTUATION, content=mark, start=end, end=end, space_before=False)
            for mark in word[len(bare) :]
        )
    quality = Quality(average_log_probability=-0.25, compression_ratio=1.2, no_speech_probability=0.01)
    return Segment(start=start, end=items[-1].end, items=tuple(items), quality=quality)


def transcript_of(*texts: str, gap_seconds: float = 0.5) -> Transcript:
    """Return a transcript of these segments with silence between them."""
    segments: list[Segment] = []
    for text in texts:
        segments.append(segment_of(text, round(segments[-1].end + gap_seconds, 3) if segments else 0.5))
    return Transcript(language_code="en-US", duration=segments[-1].end if segments else 0.0, segments=tuple(segments))


SILENCE = Transcript(language_code="en-US", duration=12.5, segments=())
WORDLESS = Transcript(language_code="en-US", duration=12.5, segments=(Segment(start=0.0, end=1.0, items=()),))
LONG_AFTER = Transcript(language_code="en-US", duration=5e5, segments=(segment_of(STORY, 99 * HOUR_SECONDS + 0.25),))
TRANSCRIPTS = {
    "silence": SILENCE,
    "wordless": WORDLESS,
    "story": transcript_of(STORY, STORY),
    "tricky": transcript_of(TRICKY),
    "numbers": transcript_of("1 2 3. 4 5 6."),
    "99 hours in": LONG_AFTER,
}


@pytest.fixture(params=list(FORMATS.values()), ids=list(FORMATS))
def export(request: pytest.FixtureRequest) -> Export:
    """Return each format in turn."""
    assert isinstance(request.param, Export)
    return request.param


@pytest.fixture(params=list(TRANSCRIPTS.values()), ids=list(TRANSCRIPTS))
def transcript(request: pytest.FixtureRequest) -> Transcript:
    """Return each transcript in turn."""
    assert isinstance(request.param, Transcript)
    return request.param


def rendered(name: str, transcript: Transcript) -> str:
    """Return the whole document."""
    return b"".join(FORMATS[name].render(transcript)).decode()


def test_a_format_is_registered_under_its_name(export: Export) -> None:
    """A caller's name, a file's extension and a content type belong to each format."""
    assert FORMATS[export.name] is export
    assert export.extension.isalnum()
    assert "/" in export.content_type


def test_every_format_renders_every_transcript_in_pieces(export: Export, transcript: Transcript) -> None:
    """A renderer yields, so that a long transcript is never one string; the last line is ended."""
    pieces = export.render(transcript)
    assert isinstance(pieces, Iterator)
    document = b"".join(pieces)
    assert document == b"" or document.endswith(b"\n") or export.name == "docx"


def test_the_same_transcript_gives_the_same_document(export: Export, transcript: Transcript) -> None:
    """Nothing but the transcript is in it; a Word document holds the time at which it was written."""
    if export.name == "docx":
        return
    assert b"".join(export.render(transcript)) == b"".join(export.render(transcript))


def test_a_renderer_begins_before_it_has_read_the_whole_transcript(export: Export) -> None:
    """The first piece of a long transcript is a small part of it."""
    long = transcript_of(*[STORY] * 200)
    first = next(export.render(long))
    assert len(first) < len(long.text) + 400


@pytest.mark.parametrize(("name", "document"), [("txt", ""), ("srt", ""), ("vtt", "WEBVTT\n")])
@pytest.mark.parametrize("transcript", [SILENCE, WORDLESS])
def test_a_recording_without_words_gives_an_empty_document(name: str, document: str, transcript: Transcript) -> None:
    """Silence is rendered as what the format has for nothing."""
    assert rendered(name, transcript) == document


def test_the_native_json_holds_the_whole_transcript(transcript: Transcript) -> None:
    """What is written is the transcript, and its texts for those who want no more."""
    document = json.loads(rendered("json", transcript))
    assert transcript_from_json(document) == transcript
    assert document["schema"] == "batchscribe.transcript/1"
    assert document["text"] == transcript.text
    assert [each["text"] for each in document["segments"]] == [each.text for each in transcript.segments]


def test_plain_text_is_the_running_text_when_there_is_no_long_pause() -> None:
    """One stretch of speech is one paragraph on one line."""
    assert rendered("txt", transcript_of(STORY, STORY)) == f"{STORY} {STORY}\n"


def test_plain_text_begins_a_paragraph_after_a_long_pause_between_sentences() -> None:
    """A pause after a sentence's end is a new thought."""
    assert rendered("txt", transcript_of(STORY, STORY, gap_seconds=2.0)) == f"{STORY}\n\n{STORY}\n"


def test_plain_text_does_not_break_a_sentence_at_a_pause_for_thought() -> None:
    """A pause within a sentence is no new thought, unless it is very long."""
    assert rendered("txt", transcript_of("I think", "so", gap_seconds=2.0)) == "I think so\n"
    assert rendered("txt", transcript_of("I think", "so", gap_seconds=6.0)) == "I think\n\nso\n"


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_subtitles_are_read_by_another_reader_as_they_were_laid_out(name: str, transcript: Transcript) -> None:
    """Times and lines come back exactly, whatever marks the words hold."""
    read = pysubs2.SSAFile.from_string(rendered(name, transcript), format_=name, keep_unknown_html_tags=True)
    cues = list(lay_out_cues(transcript.segments))
    assert [(each.start, each.end) for each in read] == [
        (round(cue.start * 1000), round(cue.end * 1000)) for cue in cues
    ]
    if name == "vtt":
        texts = [html.unescape(each.text) for each in read]
        assert texts == ["\\N".join(cue.lines) for cue in cues]
    elif transcript is not TRANSCRIPTS["tricky"]:
        assert [each.text for each in read] == ["\\N".join(cue.lines) for cue in cues]


def test_subrip_has_numbered_cues() -> None:
    """The whole document, as players expect it."""
    assert rendered("srt", transcript_of("Hello again, my dear old friend.", "Come in.", gap_seconds=3.0)) == (
        "1\n00:00:00,500 --> 00:00:02,850\nHello again, my dear old friend.\n\n"
        "2\n00:00:05,850 --> 00:00:06,850\nCome in.\n\n"
    )


def test_webvtt_escapes_what_has_a_meaning_in_it() -> None:
    """Neither a tag, nor an entity, nor an arrow can be spoken into the document."""
    document = rendered("vtt", transcript_of(TRICKY))
    assert document.startswith("WEBVTT\n\n00:00:00.500 --> ")
    assert document.count("-->") == len(list(lay_out_cues(transcript_of(TRICKY).segments)))
    assert "&lt;i&gt;yes&lt;/i&gt;" in document
    assert "&amp;amp;" in document
    assert "--&gt;" in document


def test_subrip_never_has_an_arrow_but_between_times() -> None:
    """A spoken arrow is not taken for a line of times."""
    document = rendered("srt", transcript_of(TRICKY))
    assert document.count("-->") == len(list(lay_out_cues(transcript_of(TRICKY).segments)))
    assert "→" in document


def test_times_of_a_hundred_hours_are_written_in_full() -> None:
    """Hours have as many digits as they need."""
    late = Transcript(language_code="en-US", duration=5e5, segments=(segment_of(STORY, 100 * HOUR_SECONDS + 0.25),))
    assert "100:00:00,250 -->" in rendered("srt", late)
    assert "100:00:00.250 -->" in rendered("vtt", late)
