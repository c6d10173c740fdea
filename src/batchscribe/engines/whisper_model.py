"""Whisper's weights on CTranslate2: encode a window, search for its words, time them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from batchscribe.engines.window_text import WindowText
from batchscribe.engines.words import TimedText

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ctranslate2.models import WhisperGenerationResult
    from faster_whisper.tokenizer import Tokenizer
    from numpy.typing import NDArray

_FRAMES_A_SECOND = 100
_SAMPLES_A_FRAME = 160
_POSITIONS_A_SECOND = 50
#: Bounds what a loop can cost: nobody speaks faster.
_TOKENS_FOR_ANY_WINDOW = 12
_TOKENS_A_SECOND = 12
_LONGEST_TEXT_TOKENS = 448
#: Width of the quietest level below the loudest, on the scale that Whisper's features end in.
_FEATURE_RANGE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How the words of a window are searched for."""

    #: How many texts are followed at once.
    beam: int
    #: Whether the model writes times among the words. With them it drops far fewer sentences; without them it mishears
    #: fewer words.
    with_times: bool = True
    #: With a number above 0, no run of so many tokens comes twice.
    no_repeat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The words of one window as tokens, and the model's own signs of how far to trust them."""

    tokens: list[int]
    #: Characters of text.
    length: int
    average_log_probability: float
    no_speech_probability: float
    compression_ratio: float
    #: Whether the search ended at the cap on tokens rather than by itself.
    is_cut_off: bool


class WhisperModel:
    """One model in one thread. Raises RuntimeError or ValueError for files that CTranslate2 does not take."""

    def __init__(self, model_folder: Path) -> None:
        import ctranslate2
        import tokenizers
        from faster_whisper.feature_extractor import FeatureExtractor
        from faster_whisper.tokenizer import Tokenizer

        self._storage = ctranslate2.StorageView
        self._model: Any = ctranslate2.models.Whisper(
            str(model_folder), device="cpu", compute_type="int8", inter_threads=1, intra_threads=1
        )
        self._mel: Any = FeatureExtractor(feature_size=self._model.n_mels)
        self._tokenizer_class: Any = Tokenizer
        self._vocabulary: Any = tokenizers.Tokenizer.from_file(str(model_folder / "tokenizer.json"))
        self._tokenizers: dict[str, Tokenizer] = {}

    def encode(self, pcm: NDArray[np.int16], bucket: int) -> NDArray[np.float32]:
        """Return the encoder's output, shaped (1, positions, width), for 16 kHz samples padded to ``bucket`` seconds.

        The pad is the quietest level that the features know, which is what the model learned as silence.
        """
        mel = self._mel(pcm.astype(np.float32) / 32768.0)
        shape = (1, mel.shape[0], bucket * _FRAMES_A_SECOND)
        features = np.full(shape, mel.max() - _FEATURE_RANGE, dtype=np.float32)
        features[0, :, : mel.shape[1]] = mel[:, : shape[2]]
        return np.asarray(self._model.encode(self._storage.from_array(features), to_cpu=True))

    def decode(self, encoded: Sequence[NDArray[np.float32]], languages: Sequence[str], search: Search) -> list[Decoded]:
        """Search for the most probable words of windows that were encoded with one bucket.

        ``languages`` holds Whisper's name of each window's language.
        """
        tokenizers = [self._tokenizer(language) for language in languages]
        prompts = [
            [*tokenizer.sot_sequence] if search.with_times else [*tokenizer.sot_sequence, tokenizer.no_timestamps]
            for tokenizer in tokenizers
        ]
        seconds = encoded[0].shape[1] / _POSITIONS_A_SECOND
        room = len(prompts[0]) + _TOKENS_FOR_ANY_WINDOW + int(_TOKENS_A_SECOND * seconds)
        longest = min(room, _LONGEST_TEXT_TOKENS)
        results = self._model.generate(
            self._storage.from_array(np.concatenate(encoded)),
            prompts,
            beam_size=search.beam,
            max_length=longest,
            no_repeat_ngram_size=search.no_repeat,
            return_scores=True,
            return_no_speech_prob=True,
        )
        return [
            _decoded(result, tokenizer, longest=longest - len(prompts[0]))
            for result, tokenizer in zip(results, tokenizers, strict=True)
        ]

    def languages(self, encoded: NDArray[np.float32]) -> dict[str, float]:
        """Return how probable each language is in an encoder's output, by Whisper's name.

        Raises RuntimeError for a model of English alone.
        """
        heard = self._model.detect_language(self._storage.from_array(encoded))[0]
        return {token.strip("<|>"): float(probability) for token, probability in heard}

    def align(self, encoded: NDArray[np.float32], tokens: list[int], language: str, samples: int) -> list[TimedText]:
        """Time the words of one window of this many samples, in seconds from its start.

        One window at a time: a batch takes CTranslate2 more than twice as long.
        """
        tokenizer = self._tokenizer(language)
        frames = max(2, min(samples // _SAMPLES_A_FRAME, encoded.shape[1] * 2))
        view = self._storage.from_array(encoded)
        alignment = self._model.align(view, tokenizer.sot_sequence, [tokens], [frames])[0]
        words, word_tokens = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
        pairs = np.array(alignment.alignments)
        if len(word_tokens) <= 1 or len(pairs) == 0:
            return []
        jumps = np.pad(np.diff(pairs[:, 0]), (1, 0), constant_values=1).astype(bool)
        times = pairs[jumps, 1] / _POSITIONS_A_SECOND
        bounds = np.cumsum([0, *(len(each) for each in word_tokens[:-1])]).tolist()
        probabilities = alignment.text_token_probs
        return [
            TimedText(
                text=word,
                start=float(times[first]),
                end=float(times[last]),
                probability=float(np.mean(probabilities[first:last])),
            )
            for word, first, last in zip(words[:-1], bounds[:-1], bounds[1:], strict=True)
        ]

    def text_of_window(self, encoded: NDArray[np.float32], language: str) -> WindowText:
        """Return what favouring asks about the words of one window."""
        return WindowText(self._model, self._storage.from_array(encoded), self._tokenizer(language))

    def _tokenizer(self, language: str) -> Tokenizer:
        if language not in self._tokenizers:
            self._tokenizers[language] = self._tokenizer_class(
                self._vocabulary, self._model.is_multilingual, task="transcribe", language=language
            )
        return self._tokenizers[language]


def _decoded(result: WhisperGenerationResult, tokenizer: Tokenizer, *, longest: int) -> Decoded:
    """Take CTranslate2's answer apart; its score is a mean over the tokens without the one that ends the text."""
    produced = result.sequences_ids[0]
    tokens = [token for token in produced if token < tokenizer.eot]
    text = tokenizer.decode(tokens).strip()
    raw = text.encode()
    return Decoded(
        tokens=tokens,
        length=len(text),
        average_log_probability=result.scores[0] * len(produced) / (len(produced) + 1),
        no_speech_probability=result.no_speech_prob,
        compression_ratio=len(raw) / len(zlib.compress(raw)),
        is_cut_off=len(produced) >= longest,
    )
