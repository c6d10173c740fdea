"""The Whisper recogniser with the real model, on real and made speech."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import av
import jiwer
import numpy as np
import pytest
from numpy.typing import NDArray
from whisper_normalizer.basic import BasicTextNormalizer

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.domain.transcript import ItemKind, Segment, running_text
from batchscribe.engines.catalogue import ModelCatalogue
from batchscribe.engines.whisper import Quality, WhisperRecogniser, WindowAudio
from batchscribe.engines.whisper_model import Decoded, Search
from batchscribe.engines.windows import bucket_for

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Clip


def read(path: Path) -> NDArray[np.int16]:
    """Return a recording as 16 kHz samples."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HERTZ)
    with av.open(str(path)) as container:
        frames = [each for frame in container.decode(audio=0) for each in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])


def hear(recogniser: WhisperRecogniser, pcm: NDArray[np.int16], language: str = "en") -> list[Segment]:
    """Recognise a whole recording, window by window."""
    segments: list[Segment] = []
    for window in recogniser.find_windows(pcm):
        audio = WindowAudio(pcm=pcm[window.start : window.end], bucket=window.bucket, language=language)
        segments += recogniser.recognise([audio])[0]
    return segments


def text_of(segments: list[Segment]) -> str:
    """Return the running text."""
    return running_text(tuple(item for segment in segments for item in segment.items))


def plain(text: str) -> str:
    """Return words alone, in lower case."""
    return str(BasicTextNormalizer()(text))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the base model."""
    return ModelCatalogue(tmp_path_factory.mktemp("models")).resolve("base")


@pytest.fixture(scope="module")
def recogniser(model_folder: Path) -> WhisperRecogniser:
    """Return the recogniser as it is by default."""
    return WhisperRecogniser(model_folder, quality=Quality.ACCURATE)


@pytest.mark.parametrize("quality", list(Quality))
def test_every_quality_hears_what_is_said(model_folder: Path, clips: list[Clip], quality: Quality) -> None:
    """Clear English is heard all but without mistakes, and without any by default, pooled as the scheduler does."""
    recogniser = WhisperRecogniser(model_folder, quality=quality)
    english = [clip for clip in clips if clip.language_code == "en-US" and clip.seconds < 6]
    audios = []
    for clip in english:
        pcm = read(clip.path)
        (window,) = recogniser.find_windows(pcm)
        audios.append(WindowAudio(pcm=pcm[window.start : window.end], bucket=window.bucket, language="en"))
    for bucket in {each.bucket for each in audios}:
        chosen = [i for i, each in enumerate(audios) if each.bucket == bucket]
        for i, segments in zip(chosen, recogniser.recognise([audios[i] for i in chosen]), strict=True):
            said, heard = plain(english[i].text).split(), plain(text_of(list(segments))).split()
            mistakes = [pair for pair in zip(said, heard, strict=True) if pair[0] != pair[1]]
            assert len(mistakes) <= (0 if quality is Quality.ACCURATE else 1), mistakes


def test_neighbours_change_nothing(recogniser: WhisperRecogniser, clips: list[Clip]) -> None:
    """A window's words, times and signs are the same alone and beside others, of another language too."""
    chosen = [clip for clip in clips if clip.seconds < 6]
    audios = [
        WindowAudio(pcm=read(clip.path), bucket=10, language=clip.language_code[:2])
        for clip in [*chosen[:3], chosen[-1]]
    ]
    together = recogniser.recognise(audios)
    alone = [recogniser.recognise([audio])[0] for audio in audios]
    assert [text_of(list(each)) for each in together] == [text_of(list(each)) for each in alone]
    for one, other in zip(together, alone, strict=True):
        assert [item.start for segment in one for item in segment.items] == [
            item.start for segment in other for item in segment.items
        ]


def test_words_have_times_in_order_and_confidence(recogniser: WhisperRecogniser, clips: list[Clip]) -> None:
    """Every word lies within its recording, one after the other, with a probability of its own."""
    longest = max((clip for clip in clips if clip.language_code == "en-US"), key=lambda clip: clip.seconds)
    audio = WindowAudio(pcm=read(longest.path), bucket=bucket_for(len(read(longest.path))), language="en")
    (segments,) = recogniser.recognise([audio])
    items = [item for segment in segments for item in segment.items]
    times = [time for item in items for time in (item.start, item.end)]
    assert times == sorted(times)
    assert times[-1] <= len(audio.pcm) / SAMPLE_RATE_HERTZ
    words = [item for item in items if item.kind is ItemKind.PRONUNCIATION]
    assert all(0 < (word.confidence or 0) <= 1 for word in words)
    assert all(word.end - word.start < 2 for word in words)


def test_spaces_stand_where_the_language_has_them(recogniser: WhisperRecogniser, clips: list[Clip]) -> None:
    """Japanese has none, Spanish has them."""
    by_language = {clip.language_code[:2]: clip for clip in clips}
    japanese = text_of(hear(recogniser, read(by_language["ja"].path), "ja"))
    assert japanese
    assert " " not in japanese
    assert " " in text_of(hear(recogniser, read(by_language["es"].path), "es"))


def test_very_quiet_speech_is_not_lost(recogniser: WhisperRecogniser, clips: list[Clip]) -> None:
    """The same words are heard forty decibels lower."""
    pcm = read(clips[0].path)
    assert plain(text_of(hear(recogniser, (pcm // 100).astype(np.int16)))) == plain(clips[0].text)


@pytest.mark.parametrize("seconds", [0.05, 0.2, 3.0, 40.0])
@pytest.mark.parametrize("sound", ["silence", "hiss", "hum"])
def test_no_words_are_invented_where_nobody_speaks(recogniser: WhisperRecogniser, sound: str, seconds: float) -> None:
    """Silence, noise and a mains hum give no segments."""
    samples = round(seconds * SAMPLE_RATE_HERTZ)
    made = {
        "silence": np.zeros(samples),
        "hiss": np.random.default_rng(3).normal(size=samples) * 2_000,
        "hum": np.sin(np.arange(samples) * 2 * np.pi * 50 / SAMPLE_RATE_HERTZ) * 6_000,
    }
    assert hear(recogniser, made[sound].astype(np.int16)) == []


@pytest.mark.parametrize("seconds", [0.02, 0.2, 0.5])
def test_a_scrap_of_speech_is_recognised_without_harm(
    recogniser: WhisperRecogniser, clips: list[Clip], seconds: float
) -> None:
    """A window of one syllable gives few words or none, never a loop."""
    pcm = read(clips[0].path)[8_000 : 8_000 + round(seconds * SAMPLE_RATE_HERTZ)]
    (segments,) = recogniser.recognise([WindowAudio(pcm=pcm, bucket=10, language="en")])
    assert len(text_of(list(segments)).split()) <= 4


@pytest.mark.shared
def test_nothing_is_heard_in_music_and_noise(recogniser: WhisperRecogniser, shared_folder: Path) -> None:
    """Real recordings without speech stay without words."""
    folder = shared_folder / "audio" / "nonspeech"
    for path in sorted(folder.iterdir()):
        if path.name != "party.mp3":  # people sing in it
            assert text_of(hear(recogniser, read(path))) == "", path.name


@pytest.mark.shared
def test_four_minutes_of_a_book_are_heard_nearly_whole(recogniser: WhisperRecogniser, shared_folder: Path) -> None:
    """The word error rate over a long reading stays low, and no sentence is missing."""
    path = shared_folder / "audio" / "longform" / "lj_001_0001_0032.flac"
    rows = (shared_folder / "audio" / "manifest.jsonl").read_text().splitlines()
    reference = next(row["reference"] for row in map(json.loads, rows) if row["path"].endswith(path.name))
    heard = text_of(hear(recogniser, read(path)))
    assert jiwer.wer(plain(reference), plain(heard)) < 0.09


@pytest.mark.parametrize("quality", list(Quality))
def test_a_sentence_that_the_model_passes_over_is_found(
    model_folder: Path, clips: list[Clip], quality: Quality, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a search ends early, the speech without words is recognised by itself, in every quality, and once."""
    recogniser = WhisperRecogniser(model_folder, quality=quality)
    (clip,) = [each for each in clips if each.path.name == "en-letter.flac"]
    decode = recogniser._model.decode

    def decode_half(encoded: list[NDArray[np.float32]], languages: list[str], search: Search) -> list[Decoded]:
        """Leave out the second sentence, as long as the whole is looked at."""
        full = encoded[0].shape[1]
        return [
            replace(each, tokens=each.tokens[:6]) if full == whole else each
            for each in decode(encoded, languages, search)
        ]

    pcm = read(clip.path)
    whole = recogniser._model.encode(pcm, 13).shape[1]
    monkeypatch.setattr(recogniser._model, "decode", decode_half)
    (segments,) = recogniser.recognise([WindowAudio(pcm=pcm, bucket=13, language="en")])
    assert plain(text_of(list(segments))) == plain(clip.text)
