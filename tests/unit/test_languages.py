"""Language codes."""

from __future__ import annotations

import pytest

from batchscribe.domain.languages import (
    AWS_LANGUAGE_CODES,
    DEFAULT_LANGUAGE_CODE,
    WHISPER_LANGUAGE_CODES,
    WHISPER_LANGUAGES,
    canonical_code,
    whisper_language,
)
from batchscribe.errors import UnsupportedLanguage

#: Codes of AWS Transcribe whose language no Whisper model of 99 languages knows.
UNKNOWN_TO_WHISPER = frozenset(
    {
        "ab-GE", "ast-ES", "ckb-IQ", "ckb-IR", "ga-IE", "gd-GB", "kab-DZ", "ky-KG", "lg-IN", "mhr-RU", "or-IN", "rw-RW",
        "ug-CN", "wo-SN", "zu-ZA",
    }
)  # fmt: skip


def test_every_language_code_of_aws_is_known() -> None:
    """The service model of AWS Transcribe has 117 language codes."""
    assert len(AWS_LANGUAGE_CODES) == 117
    assert all(canonical_code(code) == code for code in AWS_LANGUAGE_CODES)


def test_every_language_code_has_a_language_and_a_place() -> None:
    """Each code of AWS is a language of two or three letters and a region of two."""
    for code in AWS_LANGUAGE_CODES:
        language, region = code.split("-")
        assert language.islower()
        assert len(language) in {2, 3}
        assert region.isupper()
        assert len(region) == 2


@pytest.mark.parametrize("written", ["en-US", "EN-us", "en_us", " en-US\n", "EN_US"])
def test_a_code_is_known_in_any_case_and_with_an_underscore(written: str) -> None:
    """Clients write codes in many ways; we answer in one."""
    assert canonical_code(written) == "en-US"


@pytest.mark.parametrize("code", ["en", "DE", "zh", "jv", "jw", "nb", "fil"])
def test_a_bare_language_is_a_code(code: str) -> None:
    """A language without a region is enough for Whisper."""
    assert canonical_code(code) == code.lower()
    assert whisper_language(canonical_code(code)) is not None


@pytest.mark.parametrize("code", ["xx-XX", "english", "", "en-", "-", "en-US-x", "zh-Hant-TW-extra", "\N{SNOWMAN}"])
def test_an_unknown_code_is_refused_by_name(code: str) -> None:
    """The refusal says which code was not understood."""
    with pytest.raises(UnsupportedLanguage) as caught:
        canonical_code(code)
    assert f"Unknown language code: {code}." in str(caught.value)
    assert caught.value.code == "unsupported_language"


def test_a_very_long_code_is_not_repeated_whole() -> None:
    """A refusal never repeats more than the beginning of what a client sent."""
    with pytest.raises(UnsupportedLanguage) as caught:
        canonical_code("x" * 10_000)
    assert len(str(caught.value)) < 200


def test_whisper_recognises_every_code_of_aws_but_fifteen() -> None:
    """No code is silently taken for another language."""
    unknown = {code for code in AWS_LANGUAGE_CODES if whisper_language(code) is None}
    assert unknown == UNKNOWN_TO_WHISPER
    assert AWS_LANGUAGE_CODES - WHISPER_LANGUAGE_CODES == UNKNOWN_TO_WHISPER


@pytest.mark.parametrize(
    ("code", "language"),
    [("en-US", "en"), ("zh-HK", "zh"), ("jv-ID", "jw"), ("nb", "no"), ("he-IL", "he"), ("iw", "he"), ("fil", "tl")],
)
def test_a_code_has_the_name_that_whisper_gives_its_language(code: str, language: str) -> None:
    """Whisper's names are not always those of the standard."""
    assert whisper_language(code) == language
    assert language in WHISPER_LANGUAGES


def test_the_default_language_is_recognised() -> None:
    """A job without a language code can run."""
    assert DEFAULT_LANGUAGE_CODE in WHISPER_LANGUAGE_CODES
