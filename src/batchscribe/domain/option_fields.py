"""Reads the options of a submission's form, by AWS Transcribe's own rules for its parameters.

The rules are those of ``StartTranscriptionJob`` (API version 2017-10-26): its service model, and what its reference
says of parameters that belong together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from batchscribe.domain.languages import DEFAULT_LANGUAGE_CODE, canonical_code
from batchscribe.domain.options import Capabilities, TranscriptionOptions
from batchscribe.errors import InvalidRequest, UnsupportedLanguage

#: The form fields of the options, each named as in :class:`~batchscribe.domain.options.TranscriptionOptions`.
OPTION_FIELDS = (
    "language_code",
    "identify_language",
    "identify_multiple_languages",
    "language_options",
    "min_language_score",
    "show_speaker_labels",
    "max_speaker_labels",
    "channel_identification",
    "max_alternatives",
    "vocabulary_name",
    "vocabulary_filter_name",
    "vocabulary_filter_method",
    "redact_types",
    "subtitle_formats",
)

FILTER_METHODS = ("remove", "mask", "tag")
SUBTITLE_FORMATS = ("vtt", "srt")
#: The ``PiiEntityType`` enumeration of AWS Transcribe.
REDACT_TYPES = (
    "BANK_ACCOUNT_NUMBER", "BANK_ROUTING", "CREDIT_DEBIT_NUMBER", "CREDIT_DEBIT_CVV", "CREDIT_DEBIT_EXPIRY", "PIN",
    "EMAIL", "ADDRESS", "NAME", "PHONE", "SSN", "DATE_TIME", "PASSPORT_NUMBER", "DRIVER_ID", "URL", "AGE", "USERNAME",
    "PASSWORD", "AWS_ACCESS_KEY", "AWS_SECRET_KEY", "IP_ADDRESS", "MAC_ADDRESS", "LICENSE_PLATE",
    "VEHICLE_IDENTIFICATION_NUMBER", "US_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER", "CA_HEALTH_NUMBER",
    "CA_SOCIAL_INSURANCE_NUMBER", "INTERNATIONAL_BANK_ACCOUNT_NUMBER", "SWIFT_CODE", "ALL",
)  # fmt: skip
_NAME = re.compile(r"[0-9a-zA-Z._-]{1,200}")
_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("", "false", "0", "no", "off")


def read_options(fields: Mapping[str, str]) -> TranscriptionOptions:
    """Read the options of a form; more fields may be on their way. Raises InvalidRequest, UnsupportedLanguage."""
    options = TranscriptionOptions(
        language_code=canonical_code(fields.get("language_code", "").strip() or DEFAULT_LANGUAGE_CODE),
        identify_language=_flag(fields, "identify_language"),
        identify_multiple_languages=_flag(fields, "identify_multiple_languages"),
        language_options=tuple(dict.fromkeys(canonical_code(each) for each in _words(fields, "language_options"))),
        min_language_score=_share(fields, "min_language_score"),
        show_speaker_labels=_flag(fields, "show_speaker_labels"),
        max_speaker_labels=_number(fields, "max_speaker_labels", 2, 30),
        channel_identification=_flag(fields, "channel_identification"),
        max_alternatives=_number(fields, "max_alternatives", 2, 10),
        vocabulary_name=_name(fields, "vocabulary_name"),
        vocabulary_filter_name=_name(fields, "vocabulary_filter_name"),
        vocabulary_filter_method=_choice(fields, "vocabulary_filter_method", FILTER_METHODS),
        redact_types=_choices(fields, "redact_types", REDACT_TYPES),
        subtitle_formats=_choices(fields, "subtitle_formats", SUBTITLE_FORMATS),
    )
    _check_against_each_other(options, has_language=bool(fields.get("language_code", "").strip()))
    return options


def check_options(options: TranscriptionOptions, capabilities: Capabilities, engine: str) -> None:
    """Raise InvalidRequest or UnsupportedLanguage where the engine cannot do what is asked for."""
    for code in (options.language_code, *options.language_options):
        if code not in capabilities.language_codes:
            raise UnsupportedLanguage(f"The engine cannot recognise the language {code}.")
    usual = TranscriptionOptions()
    for name in OPTION_FIELDS[1:]:
        if getattr(options, name) != getattr(usual, name) and name not in capabilities.options:
            raise InvalidRequest(f"The {engine} engine cannot do {name}. Leave the field out.")
    unknown = [each for each in options.redact_types if each not in capabilities.redact_types]
    if unknown:
        known = ", ".join(sorted(capabilities.redact_types))
        raise InvalidRequest(f"The {engine} engine cannot find {unknown[0]} for redact_types. It finds: {known}")


def check_whole(options: TranscriptionOptions) -> None:
    """Raise InvalidRequest where one field needs another that never came: known only when the form is at its end."""
    identifies = options.identify_language or options.identify_multiple_languages
    _refuse(
        {
            "language_options needs identify_language or identify_multiple_languages.": (
                bool(options.language_options) and not identifies
            ),
            "min_language_score needs identify_language.": (
                options.min_language_score is not None and not options.identify_language
            ),
            "max_speaker_labels needs show_speaker_labels.": (
                options.max_speaker_labels is not None and not options.show_speaker_labels
            ),
            "vocabulary_filter_name and vocabulary_filter_method need each other.": (
                (options.vocabulary_filter_name is None) != (options.vocabulary_filter_method is None)
            ),
        }
    )


def _check_against_each_other(options: TranscriptionOptions, *, has_language: bool) -> None:
    """Raise InvalidRequest for options that exclude each other, whatever else comes."""
    identifies = options.identify_language or options.identify_multiple_languages
    _refuse(
        {
            "Use one of identify_language and identify_multiple_languages, not both.": (
                options.identify_language and options.identify_multiple_languages
            ),
            "Use either language_code or identify_language, not both.": has_language and identifies,
            "language_options needs at least two languages.": len(options.language_options) == 1,
            "Use either show_speaker_labels or channel_identification, not both.": (
                options.show_speaker_labels and options.channel_identification
            ),
            "redact_types cannot be used with identify_multiple_languages.": (
                bool(options.redact_types) and options.identify_multiple_languages
            ),
            # AWS does not say that it redacts the other readings too.
            "Use either redact_types or max_alternatives, not both.": (
                bool(options.redact_types) and options.max_alternatives is not None
            ),
        }
    )


def _refuse(rules: dict[str, bool]) -> None:
    for sentence, is_broken in rules.items():
        if is_broken:
            raise InvalidRequest(sentence)


def _flag(fields: Mapping[str, str], name: str) -> bool:
    value = fields.get(name, "").strip().lower()
    if value not in _TRUE + _FALSE:
        raise InvalidRequest(f"Invalid {name}. Must be true or false")
    return value in _TRUE


def _number(fields: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    value = fields.get(name, "").strip()
    if not value:
        return None
    if not (value.isascii() and value.isdecimal()) or len(value) > 9 or not least <= int(value) <= most:
        raise InvalidRequest(f"Invalid {name}. Must be a whole number from {least} to {most}")
    return int(value)


def _share(fields: Mapping[str, str], name: str) -> float | None:
    value = fields.get(name, "").strip()
    if not value:
        return None
    if not _NUMBER.fullmatch(value) or not 0.0 <= float(value) <= 1.0:
        raise InvalidRequest(f"Invalid {name}. Must be a number from 0 to 1, such as 0.7")
    return float(value)


def _name(fields: Mapping[str, str], name: str) -> str | None:
    value = fields.get(name, "").strip()
    if not value:
        return None
    if not _NAME.fullmatch(value):
        raise InvalidRequest(f"Invalid {name}. Must be 1 to 200 letters, digits, dots, hyphens and underscores")
    return value


def _words(fields: Mapping[str, str], name: str) -> list[str]:
    """Return the words of a field, which commas divide."""
    words = [each.strip() for each in fields.get(name, "").split(",")]
    return [each for each in words if each]


def _choice(fields: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    value = fields.get(name, "").strip().lower()
    if value and value not in allowed:
        raise InvalidRequest(f"Invalid {name}. Must be one of: {', '.join(allowed)}")
    return value or None


def _choices(fields: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    spellings = {each.lower(): each for each in allowed}
    words = dict.fromkeys(each.lower() for each in _words(fields, name))
    if not words.keys() <= spellings.keys():
        raise InvalidRequest(f"Invalid {name}. Must be one or more of: {', '.join(allowed)}")
    return tuple(spellings[each] for each in words)
