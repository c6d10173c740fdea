"""What a caller may ask of a transcription, what an engine can do, and the check between them.

The names are those of AWS Transcribe's ``StartTranscriptionJob``, in snake_case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from batchscribe.domain.languages import DEFAULT_LANGUAGE_CODE
from batchscribe.errors import InvalidRequest, UnsupportedLanguage

#: What redaction finds by its form, under AWS's names (``PiiEntityType``); ``finishing/redaction.py`` says how.
PATTERN_TYPES = frozenset(
    {
        "CREDIT_DEBIT_NUMBER",
        "EMAIL",
        "INTERNATIONAL_BANK_ACCOUNT_NUMBER",
        "IP_ADDRESS",
        "MAC_ADDRESS",
        "PHONE",
        "SSN",
        "URL",
    }
)
#: What a vocabulary filter may do with its words.
FILTER_METHODS = ("mask", "remove", "tag")


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionOptions:
    """Everything a caller asked for, stored with the job so that a re-run does the same."""

    language_code: str = DEFAULT_LANGUAGE_CODE
    #: Who speaks when, and how many speak at most (None leaves it to the engine).
    show_speaker_labels: bool = False
    max_speaker_labels: int | None = None
    #: Whether each channel is transcribed apart.
    channel_identification: bool = False
    #: Whether the language is to be found, one for the whole or several by stretch, and among which.
    identify_language: bool = False
    identify_multiple_languages: bool = False
    language_options: tuple[str, ...] = ()
    #: A vocabulary, and the words or phrases that it had when the job was submitted: the recogniser favours them.
    vocabulary_name: str | None = None
    phrases: tuple[str, ...] = ()
    #: A vocabulary filter, and what is done with its words: one of :data:`FILTER_METHODS`.
    vocabulary_filter_name: str | None = None
    vocabulary_filter_method: str | None = None
    #: The classes of what is taken out, under AWS's names.
    redact_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What jobs over an engine may ask for.

    Filters, redaction and channels are the pipeline's own work, for any engine that is given chunks.
    """

    #: The language codes of ``domain/languages.py`` that it recognises.
    language_codes: frozenset[str] = field(default_factory=frozenset)
    speaker_labels: bool = False
    language_identification: bool = False
    multiple_language_identification: bool = False
    #: Whether it favours the phrases of a vocabulary.
    vocabularies: bool = False
    vocabulary_filters: bool = True
    channel_identification: bool = True
    redact_types: frozenset[str] = PATTERN_TYPES


def check_options(options: TranscriptionOptions, capabilities: Capabilities) -> None:
    """Raise InvalidRequest or UnsupportedLanguage for what the engine cannot do, saying what it is."""
    for code in (options.language_code, *options.language_options):
        if code not in capabilities.language_codes:
            raise UnsupportedLanguage(f"The engine cannot recognise the language {code}.")
    asked = {
        "show_speaker_labels": options.show_speaker_labels and not capabilities.speaker_labels,
        "channel_identification": options.channel_identification and not capabilities.channel_identification,
        "identify_language": options.identify_language and not capabilities.language_identification,
        "identify_multiple_languages": options.identify_multiple_languages
        and not capabilities.multiple_language_identification,
        "vocabulary_name": options.vocabulary_name is not None and not capabilities.vocabularies,
        "vocabulary_filter_name": options.vocabulary_filter_name is not None and not capabilities.vocabulary_filters,
    }
    for name, is_missing in asked.items():
        if is_missing:
            raise InvalidRequest(f"{name} is not supported by this server's engine.")
    unknown = [each for each in options.redact_types if each not in capabilities.redact_types]
    if unknown:
        known = ", ".join(sorted(capabilities.redact_types)) or "nothing"
        raise InvalidRequest(f"{unknown[0]} cannot be redacted by this server's engine. It finds: {known}")


def options_to_json(options: TranscriptionOptions) -> dict[str, Any]:
    """Return what was asked for beyond the defaults, without the phrases, which are kept beside the job.

    So the version before can read every job that asks for no more than it knows.
    """
    defaults = TranscriptionOptions()
    values = {each.name: getattr(options, each.name) for each in fields(options) if each.name != "phrases"}
    return {"language_code": options.language_code} | {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value != getattr(defaults, name)
    }


def options_from_json(data: Mapping[str, Any]) -> TranscriptionOptions:
    """Return the options that :func:`options_to_json` wrote. Raises TypeError for one that this version does not know.

    To pass over it would give a caller what was not asked for: words in clear, for one.
    """
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return TranscriptionOptions(**values)
