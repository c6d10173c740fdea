"""What a caller may ask of a transcription, and what an engine can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from batchscribe.domain.languages import DEFAULT_LANGUAGE_CODE


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
    show_speaker_labels: bool = False
    max_speaker_labels: int | None = None
    channel_identification: bool = False
    #: How many readings of each stretch are wanted; None means one.
    max_alternatives: int | None = None
    vocabulary_name: str | None = None
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


def asked_options(options: TranscriptionOptions) -> dict[str, Any]:
    """Return the options that are not as usual, and the language code, as values that :mod:`json` can write."""
    return {"language_code": options.language_code} | {
        each.name: list(value) if isinstance(value := getattr(options, each.name), tuple) else value
        for each in fields(options)
        if getattr(options, each.name) != each.default
    }


def options_from_json(data: Mapping[str, Any]) -> TranscriptionOptions:
    """Return the options that :func:`asked_options` wrote; one that a later version knows is left out."""
    known = {each.name for each in fields(TranscriptionOptions)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in data.items() if name in known
    }
    return TranscriptionOptions(**values)
