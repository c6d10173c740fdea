"""Laws of the transcript: joining does not depend on order, and storing loses nothing."""

from __future__ import annotations

import json
import math
from functools import reduce
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from strategies import PATIENT, conversations, segments, transcripts

from batchscribe.domain.transcript import Fragment, Segment, Transcript, join_fragments, join_segments, shift_segment
from batchscribe.wire import segment_from_json, segment_to_json, transcript_from_json, transcript_to_json


def in_order(segments: list[Segment]) -> tuple[Segment, ...]:
    """Return segments as an engine gives them."""
    return tuple(sorted(segments, key=lambda segment: segment.start))


@PATIENT
@given(transcript=transcripts(), cuts=st.lists(st.integers(0, 6)), random=st.randoms(use_true_random=False))
def test_fragments_joined_in_any_order_give_the_same_transcript(
    transcript: Transcript, cuts: list[int], random: Random
) -> None:
    """However a recording was cut, and whichever chunk was done first, the transcript is the one transcript."""
    edges = [0, *sorted(min(cut, len(transcript.segments)) for cut in cuts), len(transcript.segments)]
    fragments = [
        Fragment(index=index, segments=transcript.segments[first:last])
        for index, (first, last) in enumerate(pairwise(edges))
    ]
    random.shuffle(fragments)
    joined = join_fragments(fragments, language_code=transcript.language_code, duration=transcript.duration)
    assert joined == transcript


@PATIENT
@given(transcript=transcripts())
def test_a_transcript_comes_back_from_json_as_it_was(transcript: Transcript) -> None:
    """Times to the millisecond and confidences of three digits are stored exactly."""
    assert transcript_from_json(json.loads(json.dumps(transcript_to_json(transcript)))) == transcript


@PATIENT
@given(transcript=conversations())
def test_a_conversation_comes_back_from_json_as_it_was(transcript: Transcript) -> None:
    """Speakers, their names, channels and suspicions are stored exactly."""
    assert transcript_from_json(json.loads(json.dumps(transcript_to_json(transcript)))) == transcript


@PATIENT
@given(runs=st.lists(st.lists(segments(), max_size=3).map(in_order), max_size=4), data=st.data())
def test_joining_segments_is_associative(runs: list[tuple[Segment, ...]], data: st.DataObject) -> None:
    """However many runs are joined, and in whichever pairs, the result is the same, in order, and nothing is lost."""
    nothing: tuple[Segment, ...] = ()
    left = reduce(join_segments, runs, nothing)
    pieces = list(runs)
    while len(pieces) > 1:
        at = data.draw(st.integers(0, len(pieces) - 2))
        pieces[at : at + 2] = [join_segments(pieces[at], pieces[at + 1])]
    assert left == (pieces[0] if pieces else ())
    assert len(left) == sum(map(len, runs))
    assert all(first.start <= second.start for first, second in pairwise(left))


@PATIENT
@given(segment=segments())
def test_a_segment_comes_back_from_json_as_it_was(segment: Segment) -> None:
    """A fragment's segments are stored exactly."""
    assert segment_from_json(json.loads(json.dumps(segment_to_json(segment)))) == segment


@PATIENT
@given(segment=segments(), seconds=st.floats(0, 40_000))
def test_storing_rounds_times_to_the_nearest_millisecond_and_keeps_their_order(
    segment: Segment, seconds: float
) -> None:
    """A time never moves by more than half a millisecond, and no item ends before it starts."""
    moved = shift_segment(segment, seconds)
    stored = segment_from_json(segment_to_json(moved))
    assert stored.text == moved.text
    for before, after in zip(moved.items, stored.items, strict=True):
        assert math.isclose(before.start, after.start, abs_tol=0.000501)
        assert after.start <= after.end
    assert segment_from_json(segment_to_json(stored)) == stored
