"""Tells apart who speaks within ten seconds, and what each sounds like: two small models on onnxruntime.

pyannote segmentation-3.0 (MIT) says when up to three speakers of a window speak, also at once; CAM++ (Apache-2.0) makes
a vector of what each says. Both come in ``speaker_models/``, with their licences and where they are from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.domain.voices import VECTOR_TYPE, Voice, VoiceWindow
from batchscribe.engines.filter_bank import filter_bank
from batchscribe.errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: The SHA-256 of each model, as ``tools/export_speaker_models.py`` wrote it.
MODEL_SHA256 = {
    "segmentation.onnx": "a2b6796cc6835b2e3b334354a0ecccf4f3573f4f6a3e825e8647eb35bd71cba0",
    "embedding.onnx": "15fd3136cdf4a747f55ee541900636f80989bfa4176110461a9319d291a2b3f0",
}
#: What the segmentation was trained on, and how far apart windows begin.
_WINDOW_SAMPLES = 10 * SAMPLE_RATE_HERTZ
_STEP_SAMPLES = 5 * SAMPLE_RATE_HERTZ
#: Where its answers lie: one for so many samples, the first one's middle at so many.
_FRAME_STEP_SAMPLES = 270
_FIRST_FRAME_SAMPLES = 495
_SMALLEST_REST_SAMPLES = SAMPLE_RATE_HERTZ // 10
#: Fewer samples than these give no answer.
_SHORTEST_SAMPLES = SAMPLE_RATE_HERTZ // 2
#: Who speaks in each of its seven classes: nobody, one of three, two of three.
_CLASSES = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]],
    dtype=bool,
)
#: A voice with less speech of its own than this has no vector.
_SHORTEST_VOICE_SECONDS = 0.4
#: Turns are listened to in pieces of at most so many samples; shorter pieces than so many seconds go with the nearest.
_LONGEST_PIECE_SAMPLES = 4 * SAMPLE_RATE_HERTZ
_SHORTEST_PIECE_SECONDS = 1.0
#: Two pieces are one voice from this cosine on.
_SAME_VOICE_LIKENESS = 0.55


class VoiceModel:
    """Both models in one thread. Raises ModelUnavailable where they are not what they were. Not for two threads."""

    def __init__(self) -> None:
        self._segmentation = _session("segmentation.onnx")
        self._embedding = _session("embedding.onnx")

    def windows(self, pcm: NDArray[np.int16]) -> tuple[VoiceWindow, ...]:
        """Return the voices of 16 kHz samples by window, in seconds from their start; silence gives none."""
        audio = pcm.astype(np.float32) / 32768.0
        found = (self._window(audio, start, end) for start, end in _stretches(len(audio)))
        return tuple(window for window in found if window.voices)

    def _window(self, audio: NDArray[np.float32], start: int, end: int) -> VoiceWindow:
        """Tell the voices of one window apart."""
        samples = audio[start:end]
        if len(samples) < _SHORTEST_SAMPLES:
            samples = np.pad(samples, (0, _SHORTEST_SAMPLES - len(samples)))
        scores = self._segmentation.run(None, {"samples": samples[None, None, :]})[0][0]
        is_active = _CLASSES[scores.argmax(axis=1)]
        is_alone = is_active.sum(axis=1) == 1
        voices = tuple(
            voice
            for speaker in np.flatnonzero(is_active.any(axis=0)).tolist()
            for voice in self._voices(samples, start, _runs(is_active[:, speaker]), is_alone)
        )
        return VoiceWindow(start=start / SAMPLE_RATE_HERTZ, end=end / SAMPLE_RATE_HERTZ, voices=voices)

    def _voices(
        self, samples: NDArray[np.float32], start: int, turns: list[tuple[int, int]], is_alone: NDArray[np.bool_]
    ) -> list[Voice]:
        """Return the voice that the segmentation heard in these turns, or the voices, where it took several for one.

        It is sure of when somebody speaks, less so of who goes on after a pause: every piece is listened to by itself.
        """
        alone = np.zeros(len(samples), dtype=bool)
        for first, last in _runs(is_alone):
            alone[first:last] = True
        groups: list[_Group] = []
        unheard: list[tuple[int, int]] = []
        for first, last in _pieces(turns):
            said = samples[first:last][alone[first:last]]
            if len(said) < _SHORTEST_PIECE_SECONDS * SAMPLE_RATE_HERTZ:
                unheard.append((first, last))
                continue
            piece = _Group(pieces=[(first, last)], samples=len(said), total=self._vector(said) * len(said))
            like = max(groups, key=piece.likeness, default=None)
            if like is not None and piece.likeness(like) >= _SAME_VOICE_LIKENESS:
                like.take(piece)
            else:
                groups.append(piece)
        if not groups:
            said = np.concatenate([samples[first:last] for first, last in turns])
            is_enough = len(said) >= _SHORTEST_VOICE_SECONDS * SAMPLE_RATE_HERTZ
            total = self._vector(said) * len(said) if is_enough else None
            groups, unheard = [_Group(pieces=list(turns), samples=len(said), total=total)], []
        for piece_turn in unheard:
            min(groups, key=lambda group: group.distance(piece_turn)).pieces.append(piece_turn)
        return [group.voice(start) for group in groups]

    def _vector(self, said: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what somebody sounds like, at length 1."""
        raw = self._embedding.run(None, {"features": filter_bank(said)[None]})[0][0]
        return np.asarray(raw / np.linalg.norm(raw), dtype=np.float32)


@dataclass(kw_only=True)
class _Group:
    """Pieces of one voice within a window, in samples, and the sum of their vectors by length."""

    pieces: list[tuple[int, int]]
    samples: int
    total: NDArray[np.float32] | None

    def likeness(self, other: _Group) -> float:
        """Return the cosine between both voices."""
        if self.total is None or other.total is None:
            return -1.0
        return float(self.total @ other.total / (np.linalg.norm(self.total) * np.linalg.norm(other.total)))

    def take(self, other: _Group) -> None:
        """Add the pieces of the same voice."""
        self.pieces += other.pieces
        self.samples += other.samples
        if self.total is not None and other.total is not None:
            self.total = self.total + other.total

    def distance(self, piece: tuple[int, int]) -> int:
        """Return how many samples lie between a piece and the nearest of this voice."""
        return min(max(first - piece[1], piece[0] - last) for first, last in self.pieces)

    def voice(self, start: int) -> Voice:
        """Return the voice, with its turns on the scale of the chunk."""
        turns: list[tuple[int, int]] = []
        for first, last in sorted(self.pieces):
            if turns and first <= turns[-1][1]:
                turns[-1] = (turns[-1][0], max(last, turns[-1][1]))
            else:
                turns.append((first, last))
        vector = b"" if self.total is None else (self.total / np.linalg.norm(self.total)).astype(VECTOR_TYPE).tobytes()
        return Voice(
            turns=tuple(((start + a) / SAMPLE_RATE_HERTZ, (start + b) / SAMPLE_RATE_HERTZ) for a, b in turns),
            seconds=self.samples / SAMPLE_RATE_HERTZ,
            vector=vector,
        )


def _session(name: str) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """Load one model, for one thread."""
    import onnxruntime

    data = resources.files("batchscribe.engines").joinpath("speaker_models", name).read_bytes()
    if hashlib.sha256(data).hexdigest() != MODEL_SHA256[name]:
        raise ModelUnavailable(f"The model {name}, which tells speakers apart, is damaged. Install BatchScribe anew.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Lengths differ from call to call: what is kept for one is of no use to the next, and only grows.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _stretches(samples: int) -> Iterator[tuple[int, int]]:
    """Yield the windows over so many samples; the last ends where they end."""
    start = 0
    # A rest of less than a tenth of a second is not worth a window of its own.
    while start + _WINDOW_SAMPLES + _SMALLEST_REST_SAMPLES < samples:
        yield start, start + _WINDOW_SAMPLES
        start += _STEP_SAMPLES
    if samples:
        yield max(0, min(start, samples - _WINDOW_SAMPLES)), samples


def _pieces(turns: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Cut turns evenly into pieces that are short enough to be one person's."""
    for first, last in turns:
        count = -(-(last - first) // _LONGEST_PIECE_SAMPLES)
        borders = [first + (last - first) * each // count for each in range(count + 1)]
        yield from pairwise(borders)


def _runs(is_set: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the runs of set frames as pairs of samples within the window."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_set.astype(np.int8), [0]])))
    firsts, lasts = edges[::2].tolist(), edges[1::2].tolist()
    return [
        (_border(first, len(is_set)), _border(last, len(is_set))) for first, last in zip(firsts, lasts, strict=True)
    ]


def _border(frame: int, frames: int) -> int:
    """Return the sample between a frame and the one before it; the outermost reach to the window's borders."""
    if frame == 0:
        return 0
    middle = _FIRST_FRAME_SAMPLES + frame * _FRAME_STEP_SAMPLES
    return middle - _FRAME_STEP_SAMPLES // 2 + (_FIRST_FRAME_SAMPLES if frame == frames else 0)
