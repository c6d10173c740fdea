"""How likely each instant of a recording is speech: Silero's model on audio brought to one loudness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Samples that one probability stands for; Silero's model knows no other size at 16 kHz.
FRAME_SAMPLES = 512
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE_HERTZ
#: Samples of the frame before that the model is given beside each frame.
_CONTEXT_SAMPLES = 64
_BLOCK_SAMPLES = 10 * SAMPLE_RATE_HERTZ
#: Quiet blocks are raised until their loudest thousandth reaches this share of full scale, but never above the gain.
_TARGET_LEVEL = 0.6
_LARGEST_GAIN = 100.0


class VoiceActivity:
    """Silero's voice activity model, version 6, which faster-whisper carries. Not for use from two threads at once."""

    def __init__(self) -> None:
        from faster_whisper.vad import get_vad_model

        self._session: Any = get_vad_model().session

    def probabilities(self, pcm: NDArray[np.int16]) -> NDArray[np.float32]:
        """Return the probability (0 to 1) of speech for each :data:`FRAME_SAMPLES` of 16 kHz samples.

        The last frame may stand for fewer samples. Loudness is evened out first: Silero misses quiet speech, and a
        recording that is quiet throughout would lose whole sentences.
        """
        frames = -(-len(pcm) // FRAME_SAMPLES)
        if frames == 0:
            return np.zeros(0, dtype=np.float32)
        audio = np.zeros(frames * FRAME_SAMPLES, dtype=np.float32)
        audio[: len(pcm)] = even_loudness(pcm)
        blocks = audio.reshape(frames, FRAME_SAMPLES)
        context = np.zeros((frames, _CONTEXT_SAMPLES), dtype=np.float32)
        context[1:] = blocks[:-1, -_CONTEXT_SAMPLES:]
        state = np.zeros((1, 1, 128), dtype=np.float32)
        inputs = {"input": np.concatenate([context, blocks], axis=1), "h": state, "c": state}
        output = self._session.run(None, inputs)[0]
        return np.asarray(output, dtype=np.float32).reshape(-1)[:frames]


def even_loudness(pcm: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return samples (-1 to 1) with every ten seconds raised to one loudness; digital silence stays silent."""
    audio = pcm.astype(np.float32) / 32768.0
    for start in range(0, len(audio), _BLOCK_SAMPLES):
        block = audio[start : start + _BLOCK_SAMPLES]
        level = float(np.quantile(np.abs(block), 0.999))
        if level > 0.0:
            block *= min(_LARGEST_GAIN, max(1.0, _TARGET_LEVEL / level))
    return np.clip(audio, -1.0, 1.0, out=audio)
