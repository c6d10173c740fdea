"""Words invented where nobody speaks, beside faster-whisper's defaults in the same run.

``python -m benchmarks silence``: each recording without speech at three loudnesses (a tenth, as it is, and four times,
clipped), and all of them joined with speech between. Every word heard over them counts; in the joined recording every
word outside of the speech. The rival samples when it is unsure, so its figure differs from run to run.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.domain.transcript import Segment
from batchscribe.engines.whisper import Quality, WhisperRecogniser
from batchscribe.finishing.suspicion import with_suspicions
from benchmarks import rival
from benchmarks.recognising import model_folder, recognise, words_of
from benchmarks.recordings import decode, english_recordings, shared_folder, write_wav

_LOUDNESSES = (0.1, 1.0, 4.0)
#: Words this near speech are not counted: their times are not exact.
_MARGIN_SECONDS = 0.5
_SPEECH_SET = "en_arctic"


@dataclass(frozen=True)
class Case:
    """A recording, and where in it somebody speaks (seconds)."""

    name: str
    pcm: NDArray[np.int16]
    speech: list[tuple[float, float]]

    def invented(self, words: Sequence[tuple[str, float, float]]) -> list[str]:
        """Return the words that are heard where nobody speaks."""
        return [
            text
            for text, start, end in words
            if all(end < first - _MARGIN_SECONDS or start > last + _MARGIN_SECONDS for first, last in self.speech)
        ]


def main() -> None:
    """Print a row a contestant, and what it invented."""
    cases = all_cases()
    print(f"{len(cases)} recordings, {sum(len(case.pcm) for case in cases) / SAMPLE_RATE_HERTZ:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        model = model_folder(Path(folder))
        for name in os.environ.get("BENCH_QUALITIES", "accurate,balanced,fast").split(","):
            recogniser = WhisperRecogniser(model, quality=Quality(name))
            heard = recognise(recogniser, [case.pcm for case in cases])
            show(name, cases, [_timed(segments) for segments in heard])
            doubted = [_timed([each for each in with_suspicions(segments) if each.suspect]) for segments in heard]
            print(f"    of them in suspect segments: {sum(map(_count, cases, doubted))}")
        files = [Path(folder) / f"{number}.wav" for number in range(len(cases))]
        for file, case in zip(files, cases, strict=True):
            write_wav(file, case.pcm)
        theirs = rival.run(model, "words", files)
        show("faster-whisper", cases, [theirs.words[str(file)] for file in files])


def all_cases() -> list[Case]:
    """Return the recordings without speech at each loudness, then all joined with speech."""
    decoder = CagedDecoder()
    paths = sorted((shared_folder() / "audio" / "nonspeech").iterdir())
    sounds = [(path.name, decode(decoder, path)) for path in paths]
    speech = [decode(decoder, each.path) for each in english_recordings() if each.set_name == _SPEECH_SET]
    decoder.close()
    cases = [
        Case(f"{name} x{loudness:g}", _louder(pcm, loudness), []) for loudness in _LOUDNESSES for name, pcm in sounds
    ]
    pieces: list[NDArray[np.int16]] = []
    stretches, samples = [], 0
    for number, (_, pcm) in enumerate(sounds):
        said = speech[number % len(speech)]
        stretches.append((samples / SAMPLE_RATE_HERTZ, (samples + len(said)) / SAMPLE_RATE_HERTZ))
        pieces += [said, pcm]
        samples += len(said) + len(pcm)
    return [*cases, Case("joined", np.concatenate(pieces), stretches)]


def _louder(pcm: NDArray[np.int16], factor: float) -> NDArray[np.int16]:
    return np.asarray(np.clip(pcm.astype(np.float32) * factor, -32768, 32767), dtype=np.int16)


def _timed(segments: Sequence[Segment]) -> list[tuple[str, float, float]]:
    return [(item.content, item.start, item.end) for item in words_of(segments)]


def _count(case: Case, words: Sequence[tuple[str, float, float]]) -> int:
    return len(case.invented(words))


def show(name: str, cases: Sequence[Case], heard: Sequence[Sequence[tuple[str, float, float]]]) -> None:
    """Print what one contestant invented."""
    print(f"{name}: {sum(map(_count, cases, heard))} words", flush=True)
    for case, words in zip(cases, heard, strict=True):
        if invented := case.invented(words):
            print(f"    {case.name}: {' '.join(invented)[:100]}")


if __name__ == "__main__":
    main()
