"""Laws of the subtitle layout, for any words at any times."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from strategies import PATIENT, conversations, transcripts

from batchscribe.domain.cues import Cue, CueLimits, lay_out_cues
from batchscribe.domain.text_width import JOINER, columns, width
from batchscribe.domain.transcript import Item, ItemKind, Segment, Transcript

LIMITS = st.sampled_from(
    (
        CueLimits(),
        CueLimits(line_columns=20, shortest=0.5, longest=3.0, pause=0.5),
        CueLimits(lines=1, columns_per_second=10.0),
    )
)


def cues_of(transcript: Transcript, limits: CueLimits) -> list[Cue]:
    """Return all cues."""
    return list(lay_out_cues(transcript.segments, limits))


@PATIENT
@given(transcript=transcripts(), limits=LIMITS)
def test_cues_never_overlap(transcript: Transcript, limits: CueLimits) -> None:
    """Each cue ends before or when the next one starts."""
    assert all(first.end <= second.start for first, second in pairwise(cues_of(transcript, limits)))


@PATIENT
@given(transcript=transcripts(), limits=LIMITS)
def test_cues_are_never_longer_than_the_longest_nor_of_no_length(transcript: Transcript, limits: CueLimits) -> None:
    """A cue is shown, and not for ever."""
    for cue in cues_of(transcript, limits):
        assert cue.start < cue.end
        assert round(cue.end - cue.start, 6) <= limits.longest


@PATIENT
@given(transcript=transcripts(), limits=LIMITS)
def test_a_cue_is_shorter_than_the_shortest_only_where_the_next_follows_at_once(
    transcript: Transcript, limits: CueLimits
) -> None:
    """Room on the time line is used for reading."""
    cues = cues_of(transcript, limits)
    assert all(first.end == second.start for first, second in pairwise(cues) if is_short(first, limits))
    assert not cues or not is_short(cues[-1], limits)


@PATIENT
@given(transcript=transcripts(), limits=LIMITS)
def test_cues_have_one_or_two_lines_within_the_width(transcript: Transcript, limits: CueLimits) -> None:
    """No line is empty, has space at its ends, or is wider than it may be."""
    for cue in cues_of(transcript, limits):
        assert 1 <= len(cue.lines) <= 2
        for line in cue.lines:
            assert line
            assert line == line.strip()
            assert columns(line) <= limits.line_columns


@PATIENT
@given(transcript=transcripts(), limits=LIMITS)
def test_no_line_begins_with_what_belongs_to_the_character_before(transcript: Transcript, limits: CueLimits) -> None:
    """A combining mark, a skin colour, the rest of a joined emoji or a small kana: unless a word itself begins so."""
    starts = {
        item.content.lstrip()[:1] for segment in transcript.segments for item in segment.items if item.space_before
    }
    starts |= {segment.items[0].content.lstrip()[:1] for segment in transcript.segments if segment.items}
    for cue in cues_of(transcript, limits):
        for first, second in pairwise(("", *cue.lines)):
            assert width(second[0]) > 0 or second[0] in starts
            assert not first.endswith(JOINER)


@PATIENT
@given(transcript=transcripts(), limits=LIMITS)
def test_every_character_stands_in_the_cues_once_and_in_order(transcript: Transcript, limits: CueLimits) -> None:
    """Nothing that was said is lost or said twice."""
    shown = "".join(line for cue in cues_of(transcript, limits) for line in cue.lines)
    assert without_space(shown) == without_space(transcript.text)


@PATIENT
@given(transcript=conversations(), limits=LIMITS, writes_names=st.booleans())
def test_cues_of_people_who_talk_at_once_do_not_overlap(
    transcript: Transcript, limits: CueLimits, writes_names: bool
) -> None:
    """Nor is one empty or too long, and all that was said is shown, with nothing beside it but names."""
    names = {speaker.label: speaker.display_name for speaker in transcript.speakers}
    cues = list(lay_out_cues(transcript.segments, limits, names=names, writes_names=writes_names))
    assert all(first.end <= second.start for first, second in pairwise(cues))
    for cue in cues:
        assert cue.start < cue.end
        assert round(cue.end - cue.start, 6) <= limits.longest
        assert len(cue.lines) <= limits.lines
        assert all(columns(line) <= limits.line_columns for line in cue.lines)
    shown = without_space("".join(line for cue in cues for line in cue.lines))
    said = without_space(transcript.text)
    assert shown == said or (writes_names and len(shown) >= len(said))


@PATIENT
@given(transcript=transcripts(), limits=LIMITS)
def test_a_cue_stays_to_be_read_where_the_next_leaves_room(transcript: Transcript, limits: CueLimits) -> None:
    """It ends early only for the next one, or at the longest."""
    cues = cues_of(transcript, limits)
    for cue, following in pairwise(cues):
        reading = sum(map(columns, cue.lines)) / limits.columns_per_second
        if cue.end - cue.start < min(reading, limits.longest) - 0.001:
            assert cue.end == following.start


@PATIENT
@given(transcript=transcripts())
def test_words_that_fit_a_line_are_never_torn_apart(transcript: Transcript) -> None:
    """In a script with spaces, the words of the cues are the words of the text."""
    spaced = replace(
        transcript, segments=tuple(replace(each, items=spaced_words(each)) for each in transcript.segments)
    )
    shown = " ".join(line for cue in cues_of(spaced, CueLimits()) for line in cue.lines)
    assert shown.split() == spaced.text.split()


def spaced_words(segment: Segment) -> tuple[Item, ...]:
    """Return a segment's words that fit a line and are of a script with spaces, each with a space before it."""
    return tuple(
        replace(item, space_before=True)
        for item in segment.items
        if item.kind is ItemKind.PRONUNCIATION
        and item.content.isascii()
        and len(item.content) <= CueLimits().line_columns
    )


def without_space(text: str) -> str:
    """Return a text without white space of any kind."""
    return "".join(text.split())


def is_short(cue: Cue, limits: CueLimits) -> bool:
    """Whether a cue is shown for less than the shortest time."""
    return round(cue.end - cue.start, 6) < limits.shortest
