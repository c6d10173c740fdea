"""The fields of a submission's form that say how to transcribe, read and checked for themselves.

Whether the engine can do it is the question of ``options.py:check_options``; whether a vocabulary is there, that of
the service.
"""

from __future__ import annotations

from collections.abc import Mapping

from batchscribe.domain.languages import DEFAULT_LANGUAGE_CODE, canonical_code
from batchscribe.domain.options import FILTER_METHODS, TranscriptionOptions
from batchscribe.domain.word_lists import check_list_name
from batchscribe.errors import InvalidRequest

#: The fields, beside the recording, that say how to transcribe.
OPTION_FIELDS = (
    "language_code",
    "show_speaker_labels",
    "max_speaker_labels",
    "channel_identification",
    "identify_language",
    "identify_multiple_languages",
    "language_options",
    "vocabulary_name",
    "vocabulary_filter_name",
    "vocabulary_filter_method",
    "redact_types",
)

#: As AWS Transcribe has it.
FEWEST_SPEAKERS, MOST_SPEAKERS = 2, 30

_TRUTHS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def read_options(fields: Mapping[str, str]) -> TranscriptionOptions:
    """Read what is asked for; what is missing or empty has its default. Raises InvalidRequest, UnsupportedLanguage."""
    given = {name: text for name in OPTION_FIELDS if (text := fields.get(name, "").strip())}
    identifies = _truth(given, "identify_language")
    identifies_many = _truth(given, "identify_multiple_languages")
    if identifies + identifies_many + ("language_code" in given) > 1:
        raise InvalidRequest("Give only one of language_code, identify_language and identify_multiple_languages")
    return TranscriptionOptions(
        language_code=canonical_code(given.get("language_code", DEFAULT_LANGUAGE_CODE)),
        show_speaker_labels=_truth(given, "show_speaker_labels"),
        max_speaker_labels=_speakers(given),
        channel_identification=_truth(given, "channel_identification"),
        identify_language=identifies,
        identify_multiple_languages=identifies_many,
        language_options=tuple(dict.fromkeys(map(canonical_code, _several(given, "language_options")))),
        vocabulary_name=_list_name(given, "vocabulary_name"),
        vocabulary_filter_name=_list_name(given, "vocabulary_filter_name"),
        vocabulary_filter_method=_filter_method(given),
        redact_types=tuple(sorted({each.upper() for each in _several(given, "redact_types")})),
    )


def check_whole(options: TranscriptionOptions) -> None:
    """Raise InvalidRequest where one field needs another that never came: known only when the form is at its end."""
    if options.max_speaker_labels is not None and not options.show_speaker_labels:
        raise InvalidRequest("max_speaker_labels needs show_speaker_labels")
    if options.language_options and not (options.identify_language or options.identify_multiple_languages):
        raise InvalidRequest("language_options needs identify_language or identify_multiple_languages")
    if (options.vocabulary_filter_name is None) is not (options.vocabulary_filter_method is None):
        raise InvalidRequest("vocabulary_filter_name and vocabulary_filter_method need each other")


def _truth(given: Mapping[str, str], name: str) -> bool:
    truth = _TRUTHS.get(given.get(name, "false").lower())
    if truth is None:
        raise InvalidRequest(f"Invalid {name}. Must be true or false")
    return truth


def _several(given: Mapping[str, str], name: str) -> list[str]:
    """Return the parts of a field that are separated by commas."""
    return [part for each in given.get(name, "").split(",") if (part := each.strip())]


def _speakers(given: Mapping[str, str]) -> int | None:
    value = given.get("max_speaker_labels")
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal()) or not FEWEST_SPEAKERS <= int(value[:9]) <= MOST_SPEAKERS:
        raise InvalidRequest(
            f"Invalid max_speaker_labels. Must be a whole number from {FEWEST_SPEAKERS} to {MOST_SPEAKERS}"
        )
    return int(value)


def _list_name(given: Mapping[str, str], name: str) -> str | None:
    value = given.get(name)
    if value is not None:
        check_list_name(value, name)
    return value


def _filter_method(given: Mapping[str, str]) -> str | None:
    value = given.get("vocabulary_filter_method", "").lower() or None
    if value is not None and value not in FILTER_METHODS:
        raise InvalidRequest(f"Invalid vocabulary_filter_method. Must be one of: {', '.join(FILTER_METHODS)}")
    return value
