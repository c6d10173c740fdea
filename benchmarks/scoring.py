"""Word error rate: substitutions, deletions and insertions over the words of the reference, after normalisation.

In languages that are written without spaces, or with spaces that writers set as they like (Korean), characters are
counted in the place of words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jiwer
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from batchscribe.domain.languages import whisper_language

#: Whisper's names of the languages of which characters are counted.
BY_CHARACTER = frozenset({"zh", "ja", "ko", "th", "lo", "km", "my"})


@dataclass(frozen=True)
class Score:
    """Errors and reference words (or characters); add them up, then divide."""

    errors: int = 0
    words: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(self.errors + other.errors, self.words + other.words)

    @property
    def rate(self) -> float:
        """Error rate in per cent."""
        return 100 * self.errors / max(1, self.words)


class Scorer:
    """Scores texts as the Whisper paper does: its normaliser of the language, then jiwer."""

    def __init__(self) -> None:
        """Load the English normaliser's tables."""
        self._english = EnglishTextNormalizer()
        self._basic = BasicTextNormalizer()

    def score(self, reference: str, hypothesis: str, language_code: str = "en-US") -> Score:
        """Compare two texts of a language."""
        said, heard = self._normalised(reference, language_code), self._normalised(hypothesis, language_code)
        if is_by_character(language_code):
            said, heard = " ".join("".join(said.split())), " ".join("".join(heard.split()))
        if not said.strip():
            return Score(errors=len(heard.split()))
        result = jiwer.process_words(said, heard)
        errors = result.substitutions + result.deletions + result.insertions
        return Score(errors=errors, words=result.hits + result.substitutions + result.deletions)

    def has_all(self, keywords: list[str], hypothesis: str, language_code: str) -> bool:
        """Whether every keyword is in a text, whatever the spaces."""
        heard = "".join(self._normalised(hypothesis, language_code).split())
        return all("".join(self._normalised(each, language_code).split()) in heard for each in keywords)

    def _normalised(self, text: str, language_code: str) -> str:
        language = whisper_language(language_code)
        if language == "en":
            return str(self._english(text))
        # One script of Chinese is no error in the other.
        return str(self._basic(self._simplified.convert(text) if language == "zh" else text))

    @cached_property
    def _simplified(self) -> Any:  # noqa: ANN401 - opencc has no types
        from opencc import OpenCC

        return OpenCC("t2s")


def is_by_character(language_code: str) -> bool:
    """Whether characters are counted in this language."""
    return whisper_language(language_code) in BY_CHARACTER
