"""The words of one window as Whisper's tokens, and how probable it finds other words in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctranslate2 import StorageView
    from ctranslate2.models import Whisper
    from faster_whisper.tokenizer import Tokenizer

#: The alignment that comes with the probabilities is not wanted: over so few frames it costs nothing.
_FRAMES = 2
#: Probabilities so small are as good as none.
_LEAST_PROBABILITY = 1e-10


class WindowText:
    """What ``favouring.TextModel`` asks for, of one encoded window."""

    def __init__(self, model: Whisper, encoded: StorageView, tokenizer: Tokenizer) -> None:
        """Take CTranslate2's model, the encoder's output as it wants it, and the tokenizer of the language."""
        self._model, self._encoded, self._tokenizer = model, encoded, tokenizer

    def words_of(self, tokens: list[int]) -> list[tuple[str, list[int]]]:
        """Split tokens at the spaces; in languages that are written without spaces into signs."""
        pieces, piece_tokens = self._tokenizer.split_to_word_tokens([*tokens, self._tokenizer.eot])
        is_spaced = not self._splits_into_signs()
        words: list[tuple[str, list[int]]] = []
        for piece, its_tokens in zip(pieces[:-1], piece_tokens[:-1], strict=True):
            if words and is_spaced and not piece[:1].isspace():
                text, known = words[-1]
                words[-1] = (text + piece, [*known, *its_tokens])
            else:
                words.append((piece, list(its_tokens)))
        return words

    def tokens_of(self, text: str) -> list[int]:
        """Return the tokens of a text, special ones never."""
        return list(self._tokenizer.encode(text))

    def log_probabilities(self, texts: Sequence[list[int]]) -> list[list[float]]:
        """Return of each text's tokens the natural logarithm of its probability after those before it."""
        found = []
        for text in texts:
            alignment = self._model.align(self._encoded, self._tokenizer.sot_sequence, [text], [_FRAMES])[0]
            found.append(np.log(np.maximum(alignment.text_token_probs, _LEAST_PROBABILITY)).tolist())
        return found

    def _splits_into_signs(self) -> bool:
        """Whether faster-whisper's tokenizer takes this language's words to have no spaces between them."""
        return self._tokenizer.language_code in {"zh", "ja", "th", "lo", "my", "yue"}
