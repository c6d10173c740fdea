"""The fields that say how to transcribe, and what an engine can do."""

from __future__ import annotations

import pytest

from batchscribe.domain.option_fields import OPTION_FIELDS, check_options, check_whole, read_options
from batchscribe.domain.options import (
    IDENTIFICATION_OPTIONS,
    PIPELINE_OPTIONS,
    Capabilities,
    TranscriptionOptions,
    asked_options,
    local_options,
    options_from_json,
)
from batchscribe.domain.word_lists import clean_words
from batchscribe.errors import InvalidRequest, UnsupportedLanguage

ABLE = Capabilities(
    language_codes=frozenset({"en-US", "de-DE"}),
    options=frozenset(OPTION_FIELDS),
)
EVERYTHING = {
    "channel_identification": "1",
    "identify_language": "yes",
    "language_options": "EN-us, de-DE, en-US",
    "vocabulary_name": "names",
    "vocabulary_filter_name": "rude",
    "vocabulary_filter_method": "MASK",
    "redact_types": "phone, EMAIL,phone",
}


def test_every_field_is_read() -> None:
    """Whatever their capitals and spaces, and each part of a list once."""
    options = read_options(EVERYTHING)
    check_whole(options)
    check_options(options, ABLE, "able")
    assert options == TranscriptionOptions(
        channel_identification=True,
        identify_language=True,
        language_options=("en-US", "de-DE"),
        vocabulary_name="names",
        vocabulary_filter_name="rude",
        vocabulary_filter_method="mask",
        redact_types=("PHONE", "EMAIL"),
    )


def test_options_come_back_from_json_as_they_were() -> None:
    """And those of a job that asked for nothing are what the version before wrote."""
    assert options_from_json(asked_options(read_options(EVERYTHING))) == read_options(EVERYTHING)
    assert asked_options(read_options({})) == {"language_code": "en-US"}


def test_empty_fields_are_absent() -> None:
    """A form on a page sends every field."""
    assert read_options(dict.fromkeys(EVERYTHING, " ")) == TranscriptionOptions()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"channel_identification": "perhaps"}, "Invalid channel_identification"),
        ({"show_speaker_labels": "true", "max_speaker_labels": "1"}, "Invalid max_speaker_labels"),
        ({"show_speaker_labels": "true", "max_speaker_labels": "31"}, "Invalid max_speaker_labels"),
        ({"show_speaker_labels": "true", "max_speaker_labels": "²"}, "Invalid max_speaker_labels"),
        ({"max_speaker_labels": "2"}, "max_speaker_labels needs"),
        ({"language_options": "en-US,de-DE"}, "language_options needs identify"),
        ({"language_options": "en-US", "identify_language": "true"}, "at least two languages"),
        ({"identify_language": "true", "min_language_score": "1.5"}, "Invalid min_language_score"),
        ({"identify_language": "true", "min_language_score": "nan"}, "Invalid min_language_score"),
        ({"identify_language": "true", "min_language_score": "0_1"}, "Invalid min_language_score"),
        ({"min_language_score": "0.5"}, "min_language_score needs identify_language"),
        ({"identify_multiple_languages": "true", "min_language_score": "0.5"}, "min_language_score needs"),
        ({"show_speaker_labels": "true", "channel_identification": "true"}, "not both"),
        ({"redact_types": "nonsense"}, "Invalid redact_types"),
        ({"language_code": "en-US", "identify_language": "true"}, "Use either language_code"),
        ({"identify_multiple_languages": "true", "identify_language": "true"}, "Use one of"),
        ({"vocabulary_name": "no spaces"}, "Invalid vocabulary_name"),
        ({"vocabulary_filter_name": "a", "vocabulary_filter_method": "burn"}, "Invalid vocabulary_filter_method"),
        ({"vocabulary_filter_name": "a"}, "need each other"),
        ({"vocabulary_filter_method": "mask"}, "need each other"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_sentence(fields: dict[str, str], sentence: str) -> None:
    """The sentence names the field."""
    with pytest.raises(InvalidRequest, match=sentence):
        check_whole(read_options(fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"show_speaker_labels": "true"},
        {"identify_language": "true"},
        {"identify_multiple_languages": "true"},
        {"vocabulary_name": "names"},
    ],
)
def test_what_an_engine_cannot_do_is_refused_by_name(fields: dict[str, str]) -> None:
    """Rather than ignored: the caller would take the transcript for something that it is not."""
    check_options(read_options(fields), ABLE, "able")
    with pytest.raises(InvalidRequest, match=f"The poor engine cannot do {next(iter(fields))}"):
        check_options(
            read_options(fields), Capabilities(language_codes=frozenset({"en-US"}), options=PIPELINE_OPTIONS), "poor"
        )


def test_a_class_that_has_no_form_is_refused_by_name() -> None:
    """Names and addresses of people cannot be found by a pattern, and ALL would promise them."""
    for kind in ("NAME", "ADDRESS", "ALL"):
        with pytest.raises(InvalidRequest, match=f"cannot find {kind} for redact_types. It finds: .*EMAIL"):
            check_options(read_options({"redact_types": kind}), ABLE, "able")


def test_a_language_to_choose_from_must_be_one_of_the_engines() -> None:
    """As the language itself."""
    with pytest.raises(UnsupportedLanguage):
        check_options(read_options({"identify_language": "true", "language_options": "fr-FR,en-US"}), ABLE, "able")


def test_words_of_a_list_are_cleaned() -> None:
    """Spaces within are one, around none, and each word is there once."""
    assert clean_words(["  New \t York ", "New York", "e\u0301tude"]) == ("New York", "\u00e9tude")


@pytest.mark.parametrize("words", [[], [""], ["..."], ["a\x00b"], ["x" * 257], ["ab" * 100] * 2 + ["x"] * 0 + [""]])
def test_words_that_are_none_are_refused(words: list[str]) -> None:
    """Empty ones, marks alone, control characters, and what is too long."""
    with pytest.raises(InvalidRequest):
        clean_words(words)


def test_a_list_that_is_too_long_is_refused() -> None:
    """50 KB, as AWS has it."""
    with pytest.raises(InvalidRequest, match="51200 bytes"):
        clean_words(f"word{number:06}" for number in range(6000))


@pytest.mark.parametrize(
    ("text", "score"), [("0", 0.0), ("1", 1.0), ("0.75", 0.75), ("1.0", 1.0), ("5e-1", 0.5), ("", None)]
)
def test_a_score_is_a_number_from_0_to_1(text: str, score: float | None) -> None:
    """Nothing else is a probability."""
    assert read_options({"identify_language": "true", "min_language_score": text}).min_language_score == score


def test_a_model_of_one_language_identifies_none() -> None:
    """There is nothing to choose from."""
    assert not local_options(frozenset({"en", "en-US"})) & IDENTIFICATION_OPTIONS
    assert local_options(frozenset({"en-US", "de-DE"})) >= IDENTIFICATION_OPTIONS
