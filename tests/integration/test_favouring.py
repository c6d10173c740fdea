"""Phrases that are favoured by the real model, in speech that it mishears without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.domain.transcript import Item, ItemKind
from batchscribe.engines.catalogue import ModelCatalogue
from batchscribe.engines.whisper import Quality, WhisperRecogniser, WindowAudio
from batchscribe.engines.windows import bucket_for

if TYPE_CHECKING:
    from conftest import Clip

#: So much louder than the noise is the speech.
_SIGNAL_TO_NOISE_DECIBELS = 4.0
_NOISES = 6


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> WhisperRecogniser:
    """Return the recogniser with the base model."""
    folder = ModelCatalogue(tmp_path_factory.mktemp("models")).resolve("base")
    return WhisperRecogniser(folder, quality=Quality.FAST)


def read(clips: list[Clip], name: str) -> NDArray[np.int16]:
    """Return one of our own recordings as 16 kHz samples."""
    path = next(clip.path for clip in clips if clip.path.stem == name)
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HERTZ)
    with av.open(str(path)) as container:
        frames = [each for frame in container.decode(audio=0) for each in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])


def in_noise(pcm: NDArray[np.int16], seed: int) -> NDArray[np.int16]:
    """Return samples with white noise, the same for each seed."""
    level = float(np.sqrt(np.mean(np.square(pcm.astype(np.float64))))) / 10 ** (_SIGNAL_TO_NOISE_DECIBELS / 20)
    noise = np.random.default_rng(seed).normal(0.0, level, len(pcm))
    return np.clip(pcm + noise, -32768, 32767).astype(np.int16)


def window(pcm: NDArray[np.int16], language: str, *phrases: str) -> WindowAudio:
    """Return a whole recording as one window."""
    return WindowAudio(pcm=pcm, bucket=bucket_for(len(pcm)), language=language, phrases=phrases)


def heard(recogniser: WhisperRecogniser, audio: WindowAudio) -> list[Item]:
    """Return the words of one window."""
    (segments,) = recogniser.recognise([audio])
    return [item for each in segments for item in each.items if item.kind is ItemKind.PRONUNCIATION]


def test_words_that_the_model_mishears_are_right_where_they_are_favoured(
    recogniser: WhisperRecogniser, clips: list[Clip]
) -> None:
    """Across word borders too ("par que"), most times, where none is right without; and what nobody says stays away."""
    recordings = [in_noise(read(clips, "es-park"), seed) for seed in range(_NOISES)]
    plain = [heard(recogniser, window(pcm, "es")) for pcm in recordings]
    favoured = [heard(recogniser, window(pcm, "es", "parque", "Kubernetes", "Schoeffer")) for pcm in recordings]
    before, after = (sum("parque" in {item.content for item in items} for items in each) for each in (plain, favoured))
    assert before <= _NOISES // 3
    assert after >= _NOISES // 2
    texts = [item.content for items in favoured for item in items]
    assert "Kubernetes" not in texts
    assert "Schoeffer" not in texts
    for items in favoured:
        for item in items:
            if item.content == "parque":
                assert 1.0 < item.start < item.end < 3.5
                assert item.confidence is not None
                assert 0.0 < item.confidence <= 1.0


def test_phrases_to_which_nothing_is_alike_change_nothing(recogniser: WhisperRecogniser, clips: list[Clip]) -> None:
    """Not a comma, and no time."""
    pcm = read(clips, "en-market")
    absent = ("Kubernetes", "Schoeffer", "Ann Lee", "天気")
    assert heard(recogniser, window(pcm, "en", *absent)) == heard(recogniser, window(pcm, "en"))


def test_a_spelling_is_taken_from_the_vocabulary(recogniser: WhisperRecogniser, clips: list[Clip]) -> None:
    """What sounds the same is written as the list has it, and the words around it stay; in Japanese too."""
    pcm = read(clips, "en-fox")
    words = [item.content for item in heard(recogniser, window(pcm, "en", "Quick Brown Fox", "doggy", "Phoks"))]
    assert words == ["The", "Quick", "Brown", "Fox", "jumps", "over", "the", "lazy", "dog"]
    japanese = heard(recogniser, window(read(clips, "ja-train"), "ja", "ともだち", "電車で東京"))
    assert "東京" in "".join(item.content for item in japanese)


def test_windows_with_and_without_phrases_do_not_change_each_other(
    recogniser: WhisperRecogniser, clips: list[Clip]
) -> None:
    """Recognised together or alone, the words, times and confidences are the same."""
    pcm = read(clips, "en-fox")
    batch = [window(pcm, "en"), window(pcm, "en", "Quick Brown Fox"), window(pcm, "en", "Foxx")]
    together = recogniser.recognise(batch)
    assert together == [recogniser.recognise([each])[0] for each in batch]
    assert together[0] != together[1]
