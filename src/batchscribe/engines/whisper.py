"""Whisper on CTranslate2: windows of speech in, segments of timed words out."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.domain.transcript import Quality as Signs
from batchscribe.engines.voice_activity import VoiceActivity
from batchscribe.engines.windows import Window, WindowLimits, cut_windows
from batchscribe.engines.words import TimedText, items_of, segments_of, within

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from batchscribe.domain.transcript import Segment

#: Mel frames a second, and encoder positions a second.
_FRAMES_A_SECOND = 100
_POSITIONS_A_SECOND = 50
#: Bounds what a loop can cost: nobody speaks faster.
_TOKENS_FOR_ANY_WINDOW = 12
_TOKENS_A_SECOND = 10


class Quality(Enum):
    """How much time the recogniser spends on doubtful stretches."""

    ACCURATE = "accurate"
    BALANCED = "balanced"
    FAST = "fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowAudio:
    """One window as the recogniser is given it."""

    #: 16 kHz samples, one dimension.
    pcm: NDArray[np.int16]
    bucket: int
    #: Whisper's name of the language, for example ``en``.
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a quality mode means."""

    limits: WindowLimits
    #: Width of the first search.
    beam: int
    #: A window whose words are on average less probable than this (natural logarithm) is searched again.
    doubtful_below: float


EFFORTS: dict[Quality, Effort] = {
    Quality.ACCURATE: Effort(limits=WindowLimits(longest=28.0, wanted=14.0), beam=5, doubtful_below=-1.0),
    Quality.BALANCED: Effort(limits=WindowLimits(longest=20.0, wanted=12.0), beam=5, doubtful_below=-1.0),
    Quality.FAST: Effort(limits=WindowLimits(longest=20.0, wanted=12.0), beam=1, doubtful_below=-1.0),
}
_WIDE_BEAM = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    """The tokens of one window and their signs."""

    tokens: list[int]
    average_log_probability: float
    no_speech_probability: float
    compression_ratio: float
    is_cut_off: bool

    def is_doubtful(self, limit: float) -> bool:
        """Whether another search is worth its time."""
        return self.is_cut_off or self.compression_ratio > 2.4 or self.average_log_probability < limit


class WhisperRecogniser:
    """Recognises speech in one process with one thread. Not for use from two threads at once."""

    #: How many windows of one bucket are best recognised together.
    max_batch: int = 8

    def __init__(self, model_folder: Path, *, quality: Quality) -> None:
        import ctranslate2
        import tokenizers
        from faster_whisper.feature_extractor import FeatureExtractor
        from faster_whisper.tokenizer import Tokenizer

        self._effort = EFFORTS[quality]
        self._storage = ctranslate2.StorageView
        self._model = ctranslate2.models.Whisper(
            str(model_folder), device="cpu", compute_type="int8", inter_threads=1, intra_threads=1
        )
        self._mel: Any = FeatureExtractor(feature_size=self._model.n_mels)
        vocabulary = tokenizers.Tokenizer.from_file(str(model_folder / "tokenizer.json"))
        self._make_tokenizer = lambda language: Tokenizer(
            vocabulary, self._model.is_multilingual, task="transcribe", language=language
        )
        self._tokenizers: dict[str, Any] = {}
        config = json.loads((model_folder / "config.json").read_text())
        self._suppressed: list[int] = list(config.get("suppress_ids", [])) or [-1]
        self._voice_activity = VoiceActivity()

    def find_windows(self, pcm: NDArray[np.int16]) -> list[Window]:
        """Cut a chunk of 16 kHz samples into windows of speech, in order; silence gives none."""
        return cut_windows(self._voice_activity.probabilities(pcm), len(pcm), self._effort.limits)

    def recognise(self, windows: list[WindowAudio]) -> list[tuple[Segment, ...]]:
        """Recognise windows of one bucket, of any languages; return each one's segments, in seconds from its start.

        A window's segments depend on its own samples, bucket and language alone.
        """
        encoded = np.concatenate([self._encode(window) for window in windows])
        decoded = self._decode(encoded, windows, self._effort.beam)
        doubtful = [i for i, each in enumerate(decoded) if each.is_doubtful(self._effort.doubtful_below)]
        if doubtful and self._effort.beam < _WIDE_BEAM:
            again = self._decode(encoded[doubtful], [windows[i] for i in doubtful], _WIDE_BEAM)
            for i, each in zip(doubtful, again, strict=True):
                if each.average_log_probability > decoded[i].average_log_probability:
                    decoded[i] = each
        return self._segments(encoded, windows, decoded)

    def _tokenizer(self, language: str) -> Any:
        if language not in self._tokenizers:
            self._tokenizers[language] = self._make_tokenizer(language)
        return self._tokenizers[language]

    def _encode(self, window: WindowAudio) -> NDArray[np.float32]:
        """Return the encoder's output for one window padded to its bucket with the quietest level that it knows."""
        mel = self._mel(window.pcm.astype(np.float32) / 32768.0)
        features = np.full((mel.shape[0], window.bucket * _FRAMES_A_SECOND), mel.max() - 2.0, dtype=np.float32)
        features[:, : mel.shape[1]] = mel[:, : features.shape[1]]
        output = self._model.encode(self._storage.from_array(features[np.newaxis]), to_cpu=True)
        return np.asarray(output)

    def _decode(self, encoded: NDArray[np.float32], windows: list[WindowAudio], beam: int) -> list[_Decoded]:
        """Search for the most probable words of each window."""
        tokenizers = [self._tokenizer(window.language) for window in windows]
        prompts = [[*tokenizer.sot_sequence, tokenizer.no_timestamps] for tokenizer in tokenizers]
        limit = len(prompts[0]) + _TOKENS_FOR_ANY_WINDOW + _TOKENS_A_SECOND * windows[0].bucket
        results = self._model.generate(
            self._storage.from_array(np.ascontiguousarray(encoded)),
            prompts,
            beam_size=beam,
            max_length=min(limit, 448),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
        )
        decoded = []
        for result, tokenizer in zip(results, tokenizers, strict=True):
            tokens = result.sequences_ids[0]
            text = tokenizer.decode(tokens).strip().encode()
            decoded.append(
                _Decoded(
                    tokens=tokens,
                    average_log_probability=result.scores[0] * len(tokens) / (len(tokens) + 1),
                    no_speech_probability=result.no_speech_prob,
                    compression_ratio=len(text) / len(zlib.compress(text)),
                    is_cut_off=len(tokens) + len(prompts[0]) >= min(limit, 448),
                )
            )
        return decoded

    def _segments(
        self, encoded: NDArray[np.float32], windows: list[WindowAudio], decoded: list[_Decoded]
    ) -> list[tuple[Segment, ...]]:
        """Time the words of decoded windows and group them into segments."""
        segments: list[tuple[Segment, ...]] = [()] * len(windows)
        for language in dict.fromkeys(window.language for window in windows):
            chosen = [i for i, each in enumerate(windows) if each.language == language and decoded[i].tokens]
            if not chosen:
                continue
            tokenizer = self._tokenizer(language)
            results = self._model.align(
                self._storage.from_array(np.ascontiguousarray(encoded[chosen])),
                tokenizer.sot_sequence,
                [decoded[i].tokens for i in chosen],
                [min(encoded.shape[1] * 2, len(windows[i].pcm) // 160) for i in chosen],
            )
            for i, result in zip(chosen, results, strict=True):
                pieces = _timed_pieces(tokenizer, decoded[i].tokens, result)
                items = within(items_of(pieces), len(windows[i].pcm) / SAMPLE_RATE_HERTZ)
                signs = Signs(
                    average_log_probability=decoded[i].average_log_probability,
                    compression_ratio=decoded[i].compression_ratio,
                    no_speech_probability=decoded[i].no_speech_probability,
                )
                segments[i] = tuple(segments_of(items, signs))
        return segments


def _timed_pieces(tokenizer: Any, tokens: list[int], alignment: Any) -> list[TimedText]:
    """Give the tokenizer's words the times of an alignment: where the path first reaches each word's first token."""
    words, word_tokens = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
    pairs = np.array(alignment.alignments)
    if len(word_tokens) <= 1 or len(pairs) == 0:
        return []
    jumps = np.pad(np.diff(pairs[:, 0]), (1, 0), constant_values=1).astype(bool)
    times = pairs[jumps, 1] / _POSITIONS_A_SECOND
    bounds = np.pad(np.cumsum([len(each) for each in word_tokens[:-1]]), (1, 0))
    probabilities = alignment.text_token_probs
    return [
        TimedText(
            text=word,
            start=float(times[first]),
            end=float(times[last]),
            probability=float(np.mean(probabilities[first:last])),
        )
        for word, first, last in zip(words[:-1], bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]
