"""The fields that say how to transcribe, and what an engine can do."""

from __future__ import annotations

import pytest

from batchscribe.domain.options import (
    Capabilities,
    TranscriptionOptions,
    check_options,
    options_from_json,
    options_to_json,
)
from batchscribe.domain.requested_options import check_whole, read_options
from batchscribe.domain.word_lists import clean_words
from batchscribe.errors import InvalidRequest, UnsupportedLanguage

ABLE = Capabilities(
    language_codes=frozenset({"en-US", "de-DE"}),
    speaker_labels=True,
    language_identification=True,
    multiple_language_identification=True,
    vocabularies=True,
)
EVERYTHING = {
    "show_speaker_labels": "True",
    "max_speaker_labels": "4",
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
    check_options(options, ABLE)
    assert options == TranscriptionOptions(
        show_speaker_labels=True,
        max_speaker_labels=4,
        channel_identification=True,
        identify_language=True,
        language_options=("en-US", "de-DE"),
        vocabulary_name="names",
        vocabulary_filter_name="rude",
        vocabulary_filter_method="mask",
        redact_types=("EMAIL", "PHONE"),
    )


def test_options_come_back_from_json_as_they_were() -> None:
    """And those of a job that asked for nothing are what the version before wrote."""
    assert options_from_json(options_to_json(read_options(EVERYTHING))) == read_options(EVERYTHING)
    assert options_to_json(read_options({})) == {"language_code": "en-US"}


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
        ({"language_options": "en-US"}, "language_options needs"),
        ({"language_code": "en-US", "identify_language": "true"}, "only one of language_code"),
        ({"identify_multiple_languages": "true", "identify_language": "true"}, "only one of language_code"),
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
    check_options(read_options(fields), ABLE)
    with pytest.raises(InvalidRequest, match=f"{next(iter(fields))} is not supported"):
        check_options(read_options(fields), Capabilities(language_codes=frozenset({"en-US"})))


def test_a_class_that_has_no_form_is_refused_by_name() -> None:
    """Names and addresses of people cannot be found by a pattern, and ALL would promise them."""
    for kind in ("NAME", "ADDRESS", "ALL", "nonsense"):
        with pytest.raises(InvalidRequest, match=f"{kind.upper()} cannot be redacted.*It finds: .*EMAIL"):
            check_options(read_options({"redact_types": kind}), ABLE)


def test_a_language_to_choose_from_must_be_one_of_the_engines() -> None:
    """As the language itself."""
    with pytest.raises(UnsupportedLanguage):
        check_options(read_options({"identify_language": "true", "language_options": "fr-FR"}), ABLE)


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
