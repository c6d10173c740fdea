"""What a caller may ask of a transcription, and what an engine can do."""

from __future__ import annotations

from dataclasses import dataclass, field

from batchscribe.domain.languages import DEFAULT_LANGUAGE_CODE


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionOptions:
    """Everything a caller asked for, stored with the job so that a re-run does the same."""

    language_code: str = DEFAULT_LANGUAGE_CODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do."""

    #: The language codes of ``domain/languages.py`` that it recognises.
    language_codes: frozenset[str] = field(default_factory=frozenset)
