"""Word error rate: substitutions, deletions and insertions over the words of the reference, after normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import jiwer
from whisper_normalizer.english import EnglishTextNormalizer


@dataclass(frozen=True)
class Score:
    """Errors and reference words; add them up, then divide."""

    errors: int = 0
    words: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(self.errors + other.errors, self.words + other.words)

    @property
    def rate(self) -> float:
        """Word error rate in per cent."""
        return 100 * self.errors / max(1, self.words)


class Scorer:
    """Scores English texts as the Whisper paper does (its normaliser, then jiwer)."""

    def __init__(self) -> None:
        """Load the normaliser's tables."""
        self._normalise = EnglishTextNormalizer()

    def score(self, reference: str, hypothesis: str) -> Score:
        """Compare two texts."""
        said, heard = self._normalise(reference), self._normalise(hypothesis)
        if not said.strip():
            return Score(errors=len(heard.split()))
        result = jiwer.process_words(said, heard)
        errors = result.substitutions + result.deletions + result.insertions
        return Score(errors=errors, words=result.hits + result.substitutions + result.deletions)
