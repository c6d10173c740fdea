"""What is made of the languages that an engine hears."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscribe.domain.identification import (
    USUAL_FLOOR,
    LanguageWindow,
    check_sure,
    durations,
    language_window_from_json,
    language_window_to_json,
    ranked,
    stretches,
)
from batchscribe.domain.languages import AWS_LANGUAGE_CODES, USUAL_CODES, regional_code, whisper_language
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.transcript import Segment
from batchscribe.errors import LanguageUnclear


def window(start: float, end: float, **probabilities: float) -> LanguageWindow:
    """Return a window that is all speech."""
    return LanguageWindow(start=start, end=end, speech=end - start, probabilities=probabilities)


def turns(*spoken: tuple[str, float]) -> list[LanguageWindow]:
    """Return windows in which these languages are heard for so many seconds each, with half a second between."""
    windows, at = [], 0.0
    for language, seconds in spoken:
        other = "en" if language != "en" else "es"
        windows.append(window(at, at + seconds, **{language: 0.9, other: 0.1}))
        at += seconds + 0.5
    return windows


def test_windows_count_by_their_seconds_of_speech() -> None:
    """A long window that is sure outweighs a short one that is too."""
    found = ranked([window(0, 2, es=1.0), window(2, 10, en=0.9, de=0.1)])
    assert [each.language_code for each in found] == ["en-US", "es-ES", "de-DE"]
    assert [each.score for each in found] == pytest.approx([0.72, 0.2, 0.08])


def test_options_leave_only_their_languages_under_their_own_codes() -> None:
    """What is heard best does not count where it is not among them; their scores are together 1."""
    found = ranked([window(0, 10, pt=0.6, es=0.3, fr=0.1)], ("fr-CA", "es-MX", "es-US"))
    assert [each.language_code for each in found] == ["es-MX", "fr-CA"]
    assert [each.score for each in found] == pytest.approx([0.75, 0.25])


def test_languages_that_nobody_hears_are_answered_by_the_first_of_the_options() -> None:
    """Where none of them is heard at all, all are as probable, and the order is the alphabet's."""
    found = ranked([window(0, 10, pt=1.0)], ("fr-FR", "de-DE"))
    assert [each.score for each in found] == pytest.approx([0.5, 0.5])


def test_silence_has_no_language_and_is_no_failure() -> None:
    """There is nothing to be unsure about."""
    assert ranked([]) == ()
    check_sure((), TranscriptionOptions(identify_language=True))


def test_a_score_below_the_floor_fails_with_what_to_do() -> None:
    """The floor is the usual one, or the caller's."""
    unsure = ranked([window(0, 10, en=0.25, de=0.23, nl=0.2, fr=0.18, es=0.14)])
    assert (unsure[0].score or 0) < USUAL_FLOOR
    with pytest.raises(LanguageUnclear, match=r"en-US 0\.25, de-DE 0\.23, nl-NL 0\.20, and 0\.3 .* language_options"):
        check_sure(unsure, TranscriptionOptions(identify_language=True))
    check_sure(unsure, TranscriptionOptions(identify_language=True, min_language_score=0.0))
    sure = ranked([window(0, 10, en=0.9)])
    check_sure(sure, TranscriptionOptions(identify_language=True, min_language_score=0.9))
    with pytest.raises(LanguageUnclear):
        check_sure(
            ranked([window(0, 10, en=0.9, de=0.1)]),
            TranscriptionOptions(identify_language=True, min_language_score=0.95),
        )


def test_every_language_with_several_codes_has_a_usual_one() -> None:
    """So an answer never depends on the alphabet."""
    codes: dict[str, list[str]] = {}
    for code in sorted(AWS_LANGUAGE_CODES):
        codes.setdefault(whisper_language(code) or "", []).append(code)
    del codes[""]
    assert {language for language, of_it in codes.items() if len(of_it) > 1} == USUAL_CODES.keys()
    for language, of_it in codes.items():
        assert regional_code(language) in of_it


def test_a_language_of_whispers_alone_is_answered_by_its_bare_name() -> None:
    """AWS has no code for Latin; Javanese has another name there."""
    assert regional_code("la") == "la"
    assert regional_code("jw") == "jv-ID"


def test_a_turn_in_another_language_is_a_stretch_of_its_own() -> None:
    """Eight seconds among others of a few seconds are not lost to their neighbours."""
    found = stretches(turns(("es", 7), ("en", 8), ("es", 5)), (), start=0.0, end=21.0)
    assert [each.language_code for each in found] == ["es-ES", "en-US", "es-ES"]
    assert [(each.start, each.end) for each in found] == [(0.0, 7.25), (7.25, 15.75), (15.75, 21.0)]


def test_a_word_that_is_misheard_makes_no_stretch() -> None:
    """A change costs more than one short window can speak for."""
    found = stretches(turns(("en", 10), ("es", 1), ("en", 10)), (), start=0.0, end=22.0)
    assert [(each.start, each.end, each.language_code) for each in found] == [(0.0, 22.0, "en-US")]


def test_a_language_of_which_no_stretch_is_sure_is_not_spoken() -> None:
    """A stretch in which two languages meet sounds like a third; unless nothing is sure of anything."""
    windows = [window(0, 8, en=0.97), window(8, 14, la=0.6, en=0.05), window(14, 20, es=0.95)]
    found = stretches(windows, (), start=0.0, end=20.0)
    assert [each.language_code for each in found] == ["en-US", "es-ES"]
    unsure = stretches([window(0, 8, en=0.5, de=0.4), window(8, 14, de=0.6, en=0.2)], (), start=0.0, end=14.0)
    assert {each.language_code for each in unsure} <= {"en-US", "de-DE"}


def test_without_speech_there_are_no_stretches() -> None:
    """Nothing is recognised in them."""
    assert stretches([], (), start=0.0, end=10.0) == ()


@given(
    st.lists(st.tuples(st.sampled_from(["en", "es", "de"]), st.floats(0.5, 20.0)), min_size=1, max_size=12),
    st.sampled_from([(), ("en-GB", "es-MX")]),
)
def test_stretches_fill_a_chunk_and_differ_from_their_neighbours(
    spoken: list[tuple[str, float]], language_options: tuple[str, ...]
) -> None:
    """Whatever is heard, no audio is left out or recognised twice."""
    windows = [
        LanguageWindow(start=each.start + 100, end=each.end + 100, speech=each.speech, probabilities=each.probabilities)
        for each in turns(*spoken)
    ]
    end = windows[-1].end + 1.0
    found = stretches(windows, language_options, start=100.0, end=end)
    assert found[0].start == 100.0
    assert found[-1].end == end
    for one, other in pairwise(found):
        assert one.end == other.start
        assert one.language_code != other.language_code
    assert all(each.start < each.end for each in found)
    if language_options:
        assert {each.language_code for each in found} <= set(language_options)


def test_seconds_are_summed_by_language_the_longest_first() -> None:
    """As AWS lists them."""
    segments = [
        Segment(start=start, end=end, items=(), language_code=code)
        for start, end, code in ((0, 2, "de-DE"), (2, 9, None), (9, 11, "de-DE"))
    ]
    assert [(each.language_code, each.duration) for each in durations(segments, otherwise="en-US")] == [
        ("en-US", 7),
        ("de-DE", 4),
    ]


def test_a_window_comes_back_from_json_as_it_was() -> None:
    """It goes from the child to its parent so."""
    one = window(1.25, 3.5, en=0.123456789, de=0.5)
    assert language_window_from_json(language_window_to_json(one)) == one
