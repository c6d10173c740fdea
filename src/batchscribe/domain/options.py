"""What a caller may ask of a transcription, and what an engine can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from batchscribe.domain.languages import DEFAULT_LANGUAGE_CODE

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
#: The options that the pipeline heeds itself, for any engine that is given chunks.
PIPELINE_OPTIONS = frozenset(
    {"channel_identification", "redact_types", "vocabulary_filter_method", "vocabulary_filter_name"}
)

#: The options of an engine that tells voices apart.
SPEAKER_OPTIONS = frozenset({"show_speaker_labels", "max_speaker_labels"})

#: The options of the engines that run here, for any language: they tell voices apart and favour phrases.
OWN_ENGINE_OPTIONS = PIPELINE_OPTIONS | SPEAKER_OPTIONS | {"vocabulary_name"}

#: The options of an engine that identifies languages.
IDENTIFICATION_OPTIONS = frozenset(
    {"identify_language", "identify_multiple_languages", "language_options", "min_language_score"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionOptions:
    """Everything a caller asked for, stored with the job so that a re-run does the same.

    The names are those of AWS Transcribe's parameters, in our spelling.
    """

    #: Where the language is to be identified, that of the server's default until it is known.
    language_code: str = DEFAULT_LANGUAGE_CODE
    identify_language: bool = False
    identify_multiple_languages: bool = False
    #: The languages that identification chooses from; empty means all.
    language_options: tuple[str, ...] = ()
    #: The least score (0 to 1) with which one language may be identified; None means the usual one.
    min_language_score: float | None = None
    show_speaker_labels: bool = False
    max_speaker_labels: int | None = None
    channel_identification: bool = False
    #: How many readings of each stretch are wanted; None means one.
    max_alternatives: int | None = None
    vocabulary_name: str | None = None
    #: The words of the vocabulary, where the server keeps it: given to the engine, and stored beside the job.
    phrases: tuple[str, ...] = ()
    vocabulary_filter_name: str | None = None
    #: ``remove``, ``mask`` or ``tag``.
    vocabulary_filter_method: str | None = None
    #: Kinds of personal data to take out of the transcript, such as ``NAME``; ``ALL`` is all of them.
    redact_types: tuple[str, ...] = ()
    #: Subtitle files that the engine itself is to write beside its transcript.
    subtitle_formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do."""

    #: The language codes of ``domain/languages.py`` that it recognises.
    language_codes: frozenset[str] = field(default_factory=frozenset)
    #: The options, beside the language code, that it knows: names of fields of :class:`TranscriptionOptions`.
    options: frozenset[str] = field(default_factory=frozenset)
    #: The classes, under AWS's names, that ``redact_types`` may name where it is one of the options.
    redact_types: frozenset[str] = PATTERN_TYPES


def spoken_codes(options: TranscriptionOptions) -> tuple[str, ...]:
    """Return the languages of which one or several may be spoken; none where any may."""
    if options.identify_language or options.identify_multiple_languages:
        return options.language_options
    return (options.language_code,)


def local_options(language_codes: frozenset[str]) -> frozenset[str]:
    """Return the options of an engine of ours that recognises these languages: one that knows one identifies none."""
    is_multilingual = len({code.partition("-")[0] for code in language_codes}) > 1
    return OWN_ENGINE_OPTIONS | (IDENTIFICATION_OPTIONS if is_multilingual else frozenset())


def asked_options(options: TranscriptionOptions) -> dict[str, Any]:
    """Return the options that are not as usual, and the language code, as values that :mod:`json` can write."""
    return {"language_code": options.language_code} | {
        each.name: list(value) if isinstance(value := getattr(options, each.name), tuple) else value
        for each in fields(options)
        if each.name != "phrases" and getattr(options, each.name) != each.default
    }


def options_from_json(data: Mapping[str, Any]) -> TranscriptionOptions:
    """Return the options that :func:`asked_options` wrote; one that a later version knows is left out."""
    known = {each.name for each in fields(TranscriptionOptions)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in data.items() if name in known
    }
    return TranscriptionOptions(**values)
