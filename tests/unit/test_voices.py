"""The two small models, on recordings of the repository."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.engines import voices
from batchscribe.engines.filter_bank import BINS, filter_bank
from batchscribe.engines.voices import VoiceModel
from batchscribe.errors import ModelUnavailable
from batchscribe.finishing.speakers import speaker_turns

MEDIA = Path(__file__).parents[1] / "media"


@pytest.fixture(scope="module")
def model() -> VoiceModel:
    """Load both models once."""
    return VoiceModel()


def samples(name: str) -> NDArray[np.int16]:
    """Return the samples of a clip."""
    from faster_whisper.audio import decode_audio

    audio: NDArray[np.float32] = decode_audio(str(MEDIA / name))
    return np.asarray(np.clip(audio * 32768.0, -32768, 32767), dtype=np.int16)


def test_two_clips_of_different_voices_give_two_speakers(model: VoiceModel) -> None:
    """Who speaks is told by the sound alone, and the turns lie where the speech does."""
    one, other = samples("en-fox.flac"), samples("en-letter.flac")
    pause = np.zeros(SAMPLE_RATE_HERTZ, dtype=np.int16)
    turns = speaker_turns(model.windows(np.concatenate([one, pause, other, pause, one])))
    assert {turn.speaker for turn in turns} == {0, 1}
    border = len(one) / SAMPLE_RATE_HERTZ
    assert {turn.speaker for turn in turns if turn.end < border + 0.5} == {0}
    assert turns[-1].speaker == 0


def test_one_voice_is_one_speaker(model: VoiceModel) -> None:
    """Nobody is made two by a pause."""
    one = samples("en-fox.flac")
    turns = speaker_turns(model.windows(np.concatenate([one, np.zeros(24_000, dtype=np.int16), one, one])))
    assert {turn.speaker for turn in turns} == {0}


@pytest.mark.parametrize("length", [1, 399, 8_000, 160_000, 161_599, 400_000])
def test_silence_of_any_length_has_no_voices(model: VoiceModel, length: int) -> None:
    """Nobody is heard in digital silence."""
    assert model.windows(np.zeros(length, dtype=np.int16)) == ()


@pytest.mark.parametrize("length", [1, 160_000, 161_599, 161_601, 400_000])
def test_windows_reach_over_every_sample(length: int) -> None:
    """Nothing is left out, and the last is longer by a tenth of a second at most."""
    found = list(voices._stretches(length))
    assert found[0][0] == 0
    assert found[-1][1] == length
    assert all(0 < end - start <= 10.1 * SAMPLE_RATE_HERTZ for start, end in found)
    assert all(later[0] < earlier[1] + 1600 for earlier, later in pairwise(found))


def test_features_do_not_depend_on_loudness() -> None:
    """Each bin's mean is taken away."""
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    assert filter_bank(noise).shape == (98, BINS)
    assert np.allclose(filter_bank(noise), filter_bank(noise * 3.0), atol=1e-3)


def test_a_damaged_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not what was measured is not used."""
    monkeypatch.setitem(voices.MODEL_SHA256, "segmentation.onnx", "0" * 64)
    with pytest.raises(ModelUnavailable, match="damaged"):
        VoiceModel()
