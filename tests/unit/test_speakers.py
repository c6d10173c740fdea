"""From the voices of windows to the speakers of words."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.transcript import Fragment, Item, ItemKind, Segment, Transcript
from batchscribe.domain.voices import (
    VECTOR_SIZE,
    VECTOR_TYPE,
    SpeakerTurn,
    Voice,
    VoiceWindow,
    one_sided_vector,
    voice_window_from_json,
    voice_window_to_json,
)
from batchscribe.finishing.clustering import cluster
from batchscribe.finishing.speakers import speaker_turns, with_speaker_labels, with_voices


def spoken(start: float, end: float, *voices: tuple[int, list[tuple[float, float]]]) -> VoiceWindow:
    """Return a window in which these voices are heard: a person's number, and when."""
    return VoiceWindow(
        start=start,
        end=end,
        voices=tuple(
            Voice(turns=tuple(turns), seconds=sum(b - a for a, b in turns), vector=one_sided_vector(person))
            for person, turns in voices
        ),
    )


def said(*words: tuple[str, float, float]) -> Segment:
    """Return a segment of these words, and of full stops and question marks."""
    items = tuple(
        Item(
            kind=ItemKind.PUNCTUATION if content in ".¿?" else ItemKind.PRONUNCIATION,
            content=content,
            start=start,
            end=end,
            space_before=content not in ".?" and before != "¿",
        )
        for before, (content, start, end) in zip(["", *(word for word, _, _ in words)], words, strict=False)
    )
    return Segment(start=items[0].start, end=items[-1].end, items=items)


def transcript(*segments: Segment) -> Transcript:
    """Return a transcript of these segments."""
    return Transcript(language_code="en-US", duration=60.0, segments=segments)


def noisy(people: list[int], *, noise: float, seed: int = 0) -> NDArray[np.float32]:
    """Return a vector of length 1 for each of these people's voices, none like the other."""
    chance = np.random.default_rng(seed)
    faces = chance.standard_normal((max(people) + 1, VECTOR_SIZE))
    vectors = faces[people] + noise * chance.standard_normal((len(people), VECTOR_SIZE))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_windows_that_overlap_give_one_turn_each() -> None:
    """A turn that two windows heard is there once, whichever order they come in."""
    windows = [
        spoken(0.0, 10.0, (3, [(1.0, 5.0)]), (7, [(5.5, 10.0)])),
        spoken(5.0, 15.0, (7, [(5.5, 12.0)])),
    ]
    turns = speaker_turns(windows)
    assert turns == speaker_turns(windows[::-1])
    assert [turn.speaker for turn in turns] == [0, 1]
    assert [turn.start for turn in turns] == pytest.approx([1.0, 5.5], abs=0.03)
    assert [turn.end for turn in turns] == pytest.approx([5.0, 12.0], abs=0.03)


def test_two_who_speak_at_once_both_have_a_turn() -> None:
    """Turns may overlap."""
    turns = speaker_turns([spoken(0.0, 10.0, (1, [(0.0, 6.0)]), (2, [(4.0, 10.0)]))])
    assert [(round(turn.start), round(turn.end)) for turn in turns] == [(0, 6), (4, 10)]


def test_nobody_gives_no_turns() -> None:
    """Silence has no speakers."""
    assert speaker_turns([]) == []


def test_a_segment_is_cut_where_the_speaker_changes_and_marks_stay_with_their_word() -> None:
    """Labels count in the order of the words, and every item is kept."""
    turns = [SpeakerTurn(start=0.0, end=2.0, speaker=4), SpeakerTurn(start=2.0, end=5.0, speaker=2)]
    one = said(("Hi", 0.5, 1.0), (".", 1.0, 1.0), ("Oh", 1.9, 2.6), ("hello", 2.6, 3.0), (".", 3.0, 3.0))
    labelled = with_speaker_labels(transcript(one), turns)
    assert [(each.speaker_label, each.text, each.start) for each in labelled.segments] == [
        ("spk_0", "Hi.", 0.5),
        ("spk_1", "Oh hello.", 1.9),
    ]
    assert [each.label for each in labelled.speakers] == ["spk_0", "spk_1"]
    assert labelled.text == transcript(one).text


def test_an_opening_mark_is_said_by_who_says_the_word_after_it() -> None:
    """Not by who asked before; also where nothing but the mark was before."""
    turns = [SpeakerTurn(start=0.0, end=2.0, speaker=0), SpeakerTurn(start=2.0, end=5.0, speaker=1)]
    one = said(("Vale", 0.5, 1.9), (".", 1.9, 1.9), ("¿", 1.9, 1.9), ("Seguro", 2.2, 3.4), ("?", 3.4, 3.4))
    labelled = with_speaker_labels(transcript(one), turns)
    assert [(each.speaker_label, each.text) for each in labelled.segments] == [
        ("spk_0", "Vale."),
        ("spk_1", "¿Seguro?"),
    ]
    alone = said(("¿", 1.0, 1.0), ("Seguro", 2.2, 3.4), ("?", 3.4, 3.4))
    assert [each.text for each in with_speaker_labels(transcript(alone), turns).segments] == ["¿Seguro?"]


@pytest.mark.parametrize(
    ("mark", "gap", "labels"), [("", 0.0, ["spk_0"]), (".", 0.0, ["spk_0", "spk_1"]), ("", 0.4, ["spk_0", "spk_1"])]
)
def test_a_few_words_in_the_middle_of_a_clause_are_no_change_of_speaker(
    mark: str, gap: float, labels: list[str]
) -> None:
    """After a mark or a pause they are."""
    turns = [SpeakerTurn(start=0.0, end=2.0, speaker=0), SpeakerTurn(start=2.0, end=4.0, speaker=1)]
    marks = [(mark, 2.0, 2.0)] if mark else []
    one = said(
        ("some", 0.4, 0.9), ("events", 0.9, 2.0), *marks, ("of", 2.0 + gap, 2.3 + gap), ("it", 2.3 + gap, 2.6 + gap)
    )
    labelled = with_speaker_labels(transcript(one), turns)
    assert [each.speaker_label for each in labelled.segments] == labels
    assert labelled.text == transcript(one).text


def test_a_word_without_a_turn_is_the_nearest_speakers_or_else_the_one_befores() -> None:
    """Every word has a speaker."""
    turns = [SpeakerTurn(start=0.0, end=1.0, speaker=0), SpeakerTurn(start=2.0, end=3.0, speaker=1)]
    labelled = with_speaker_labels(
        transcript(said(("a", 0.2, 0.8)), said(("b", 1.7, 1.9)), said(("c", 20.0, 21.0))), turns
    )
    assert [each.speaker_label for each in labelled.segments] == ["spk_0", "spk_1", "spk_1"]


def test_without_turns_everything_is_said_by_one() -> None:
    """Whoever asked for speakers gets one at least."""
    options = TranscriptionOptions(show_speaker_labels=True)
    labelled = with_voices(transcript(said(("a", 0.2, 0.8))), [Fragment(index=0, segments=())], options)
    assert [each.speaker_label for each in labelled.segments] == ["spk_0"]


def test_nobody_is_labelled_where_nobody_asked() -> None:
    """Without the option the transcript stays as it is."""
    fragment = Fragment(index=0, segments=(), voices=(spoken(0.0, 10.0, (1, [(0.0, 6.0)])),))
    whole = transcript(said(("a", 0.2, 0.8)))
    assert with_voices(whole, [fragment], TranscriptionOptions()) == whole


def test_people_are_found_whoever_comes_first() -> None:
    """Voices of one person get one number, and others others."""
    people = [each for _ in range(20) for each in (0, 1, 2)]
    found = cluster(noisy(people, noise=0.5), np.full(60, 3.0), np.arange(60), most=30)
    assert len(set(found.tolist())) == 3
    assert all(len(set(found[np.array(people) == person].tolist())) == 1 for person in range(3))


def test_there_are_never_more_people_than_were_allowed() -> None:
    """The smallest join whom they are most like."""
    people = [0] * 10 + [1] * 8 + [2] * 6 + [3] * 4
    found = cluster(noisy(people, noise=0.3), np.full(28, 3.0), np.arange(28), most=2)
    assert len(set(found.tolist())) == 2
    assert found[0] != found[12]


def test_a_cough_is_nobody() -> None:
    """A voice of one second among minutes joins another."""
    found = cluster(noisy([0] * 20 + [1], noise=0.3), np.array([9.0] * 20 + [1.2]), np.arange(21), most=30)
    assert set(found.tolist()) == {0}


def test_four_hours_are_clustered_in_seconds() -> None:
    """As many voices as the longest recording has; what is above the limit joins the nearest."""
    people = np.random.default_rng(1).integers(0, 12, 6000).tolist()
    begun = time.process_time()
    found = cluster(noisy(people, noise=0.6), np.full(6000, 4.0), np.arange(6000), most=30)
    assert time.process_time() - begun < 30
    assert len(set(found.tolist())) == 12


def test_a_window_of_voices_comes_back_from_json() -> None:
    """What a child sends and the database keeps is what was found."""
    window = spoken(5.0, 15.0, (3, [(5.25, 7.5), (8.0, 9.125)]))
    assert voice_window_from_json(json.loads(json.dumps(voice_window_to_json(window)))) == window


def test_a_scripted_vector_has_length_one() -> None:
    """It is as a model's."""
    assert np.linalg.norm(np.frombuffer(one_sided_vector(200), dtype=VECTOR_TYPE)) == pytest.approx(1.0)
