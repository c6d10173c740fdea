"""How far the starts and ends of words are from the truth, beside faster-whisper's defaults in the same run.

``python -m benchmarks word_times``: the English recordings whose text is known word for word, each by itself and all
joined to one with pauses of 0.4 to 1.2 s. The truth is an alignment by PocketSphinx of the known text. Only words that
were heard right, in order, are compared; those after a silence of at least 0.2 s are shown apart, for there the start
takes in the pause. ``BENCH_SECONDS=150`` takes recordings, in an order that mixes the sets, until there is so much.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.engines.whisper import Quality, WhisperRecogniser
from benchmarks import rival
from benchmarks.recognising import model_folder, recognise, words_of
from benchmarks.recordings import decode, english_recordings, write_wav
from benchmarks.word_truth import Aligner, TrueWord, plain_words

#: PocketSphinx's alignment of minutes at once is less sure.
_LONGEST_SECONDS = 60.0
_PAUSE_SECONDS = 0.2

#: A word in plain letters, its start and its end in seconds.
Timed = tuple[str, float, float]


@dataclass(frozen=True)
class Case:
    """A recording with its words."""

    name: str
    pcm: NDArray[np.int16]
    truth: list[TrueWord]


def main() -> None:
    """Print a row a contestant: mean absolute errors in seconds, and over how many words."""
    cases = single_cases()
    cases.append(joined_case(cases))
    print(f"{len(cases) - 1} recordings, {sum(len(case.truth) for case in cases[:-1])} words; joined: the same")
    print("mean error, s (words)  " + "".join(f"{name:>22}" for name in ("starts", "after a pause", "ends", "bias")))
    with tempfile.TemporaryDirectory() as folder:
        model = model_folder(Path(folder))
        for quality in os.environ.get("BENCH_QUALITIES", "accurate,balanced,fast").split(","):
            recogniser = WhisperRecogniser(model, quality=Quality(quality))
            heard = recognise(recogniser, [case.pcm for case in cases])
            show(
                quality,
                cases,
                [
                    [(word, item.start, item.end) for item in words_of(segments) for word in _plain(item.content)]
                    for segments in heard
                ],
            )
        files = [Path(folder) / f"{number}.wav" for number in range(len(cases))]
        for file, case in zip(files, cases, strict=True):
            write_wav(file, case.pcm)
        theirs = rival.run(model, "words", files)
        show(
            "faster-whisper",
            cases,
            [
                [(each, start, end) for word, start, end in theirs.words[str(file)] for each in _plain(word)]
                for file in files
            ],
        )


def single_cases() -> list[Case]:
    """Return the recordings whose words could be aligned."""
    aligner, decoder = Aligner(), CagedDecoder()
    cases: list[Case] = []
    recordings = english_recordings()
    random.Random(1).shuffle(recordings)  # noqa: S311 - a benchmark's order, not a secret
    most_seconds = float(os.environ.get("BENCH_SECONDS", "inf"))
    for recording in recordings:
        enough = sum(len(case.pcm) for case in cases) >= most_seconds * SAMPLE_RATE_HERTZ
        if recording.seconds <= _LONGEST_SECONDS and not enough:
            pcm = decode(decoder, recording.path)
            truth = aligner.align(pcm, recording.reference)
            if truth is not None:
                cases.append(Case(recording.path.name, pcm, truth))
    decoder.close()
    return cases


def joined_case(cases: Sequence[Case], seed: int = 1) -> Case:
    """Join recordings in a new order with pauses between."""
    chance = random.Random(seed)  # noqa: S311 - a benchmark's order, not a secret
    pieces: list[NDArray[np.int16]] = []
    truth: list[TrueWord] = []
    samples, spoken_until = 0, 0.0
    for case in chance.sample(cases, len(cases)):
        offset = samples / SAMPLE_RATE_HERTZ
        for word in case.truth:
            moved = replace(word, start=word.start + offset, end=word.end + offset)
            truth.append(replace(moved, pause=moved.start - spoken_until))
            spoken_until = moved.end
        pause = np.zeros(round(chance.uniform(0.4, 1.2) * SAMPLE_RATE_HERTZ), np.int16)
        pieces += [case.pcm, pause]
        samples += len(case.pcm) + len(pause)
    return Case("joined", np.concatenate(pieces), truth)


def show(name: str, cases: Sequence[Case], heard: Sequence[list[Timed]]) -> None:
    """Print one contestant's rows."""
    for label, chosen in (("", slice(None, -1)), (", joined", slice(-1, None))):
        errors: dict[str, list[float]] = defaultdict(list)
        for case, words in zip(cases[chosen], heard[chosen], strict=True):
            for true, (_, start, end) in matched(case.truth, words):
                errors["starts"].append(abs(start - true.start))
                errors["ends"].append(abs(end - true.end))
                errors["bias"].append(start - true.start)
                if true.pause >= _PAUSE_SECONDS:
                    errors["pause"].append(abs(start - true.start))
        cells = "".join(
            f"{np.mean(errors[key]):14.3f} ({len(errors[key]):5})" for key in ("starts", "pause", "ends", "bias")
        )
        print(f"{name + label:23}{cells}", flush=True)


def matched(truth: list[TrueWord], heard: list[Timed]) -> list[tuple[TrueWord, Timed]]:
    """Pair the words that were heard right."""
    matcher = SequenceMatcher(None, [word.text for word in truth], [word[0] for word in heard], autojunk=False)
    return [
        (truth[block.a + i], heard[block.b + i]) for block in matcher.get_matching_blocks() for i in range(block.size)
    ]


def _plain(word: str) -> list[str]:
    """Return a heard word in the truth's letters; nothing for one that has parts, whose inner times nobody knows."""
    plain = plain_words(word)
    return plain if len(plain) == 1 else []


if __name__ == "__main__":
    main()
