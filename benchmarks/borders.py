"""What is lost or said twice where a recording is cut into chunks.

``python -m benchmarks.borders scripted [MINUTES]``: a recording of made words and pauses, cut at many chunk lengths, a
scripted recogniser, and the join: every word must come out once.

``python -m benchmarks.borders pauses [SECONDS...]``: how far the borders are from the nearest words, by PocketSphinx's
alignment of the known texts, at these chunk lengths; beside borders at the quietest moments.

``python -m benchmarks.borders real MINUTES SECONDS...``: the real model (``BENCH_QUALITY``, fast unless said) over a
recording joined from the English sets, cut at these chunk lengths, at least two. Near a border a word counts as lost
where the transcript has fewer words than the reference, as misheard where it has another, as added where it has more.
Whisper does all three where no border is, so each length's figures stand beside those of the other lengths in the very
same places, where those have no border.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
from numpy.typing import NDArray
from whisper_normalizer.english import EnglishTextNormalizer

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.domain.chunks import FRAME_SECONDS, ChunkLimits, best_cut, quietest_cut
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.domain.transcript import Fragment, Item, Segment, join_fragments, shift_segment
from batchscribe.engines.scripted_recogniser import ScriptedRecogniser, scripted_choice
from batchscribe.engines.whisper import Quality, WhisperRecogniser, WindowAudio
from batchscribe.workflow.cutting import cut
from benchmarks.recognising import chunks, model_folder, recognise, words_of
from benchmarks.recordings import decode, english_recordings
from benchmarks.word_times import joined_case, single_cases

_SCRIPTED_LENGTHS = [15.0, 20.0, 30.0, *np.linspace(40.0, 230.0, 38).tolist()]
#: How far from a border a word is near it, in seconds.
_NEAR_SECONDS = 5.0
_FRAME_SAMPLES = round(FRAME_SECONDS * SAMPLE_RATE_HERTZ)
_KINDS = ("lost", "misheard", "added")
#: Made words' samples are these values, all about equally loud.
_FIRST_VALUE = 9_000


def main() -> None:
    """Run what is asked for."""
    kind, *numbers = sys.argv[1:] or ["scripted"]
    if kind == "scripted":
        scripted(float(numbers[0]) if numbers else 60.0)
    elif kind == "pauses":
        pauses([float(each) for each in numbers] or [10.0, 20.0, 40.0])
    elif kind == "real" and len(numbers) > 2:
        real(float(numbers[0]), [float(each) for each in numbers[1:]])
    else:
        raise SystemExit(__doc__)


def scripted(minutes: float) -> None:
    """Cut a made recording at many lengths; print what came out wrong."""
    pcm, said = made_recording(minutes)
    recogniser = ScriptedRecogniser(**scripted_choice().arguments)
    borders = lost = doubled = misplaced = 0
    for seconds in _SCRIPTED_LENGTHS:
        fragments, start = [], 0
        for index, chunk in enumerate(cut(_blocks(pcm), ChunkLimits.around(seconds))):
            samples = np.frombuffer(chunk, dtype="<i2")
            fragments.append(Fragment(index=index, segments=tuple(_heard(recogniser, samples, start))))
            start += len(samples)
        borders += len(fragments) - 1
        random.Random(seconds).shuffle(fragments)  # noqa: S311 - the order in which workers end
        joined = join_fragments(fragments, language_code="en-US", duration=start / SAMPLE_RATE_HERTZ)
        heard = [item.content for item in words_of(joined.segments)]
        lost += len(set(said) - set(heard))
        doubled += len(heard) - len(set(heard))
        misplaced += (
            sum(one != other for one, other in zip(said, heard, strict=False)) if len(said) == len(heard) else 0
        )
    print(
        f"{minutes:.0f} minutes, {len(said)} words, {len(_SCRIPTED_LENGTHS)} chunk lengths, {borders} borders: "
        f"{lost} lost, {doubled} doubled, {misplaced} out of order"
    )


def made_recording(minutes: float, seed: int = 1) -> tuple[NDArray[np.int16], list[str]]:
    """Return words of constant samples with pauses of 0.05 to 1 s between, and the words."""
    chance = random.Random(seed)  # noqa: S311 - a benchmark's order, not a secret
    pieces: list[NDArray[np.int16]] = []
    said: list[str] = []
    samples = 0
    while samples < minutes * 60 * SAMPLE_RATE_HERTZ:
        value = _FIRST_VALUE + len(said)
        word = np.full(round(chance.uniform(0.1, 0.9) * SAMPLE_RATE_HERTZ), value, np.int16)
        pause = np.zeros(round(chance.choice((0.05, 0.1, 0.1, 0.3, 1.0)) * SAMPLE_RATE_HERTZ), np.int16)
        pieces += [word, pause]
        said.append(f"w{value}")
        samples += len(word) + len(pause)
    return np.concatenate(pieces), said


def _blocks(pcm: NDArray[np.int16]) -> Iterator[bytes]:
    step = 10 * SAMPLE_RATE_HERTZ
    for start in range(0, len(pcm), step):
        yield pcm[start : start + step].tobytes()


def _heard(recogniser: ScriptedRecogniser, samples: NDArray[np.int16], start: int) -> Iterator[Segment]:
    for window in recogniser.find_windows(samples):
        audio = WindowAudio(pcm=samples[window.start : window.end], bucket=window.bucket, language="en")
        for segment in recogniser.recognise([audio])[0]:
            yield shift_segment(segment, (start + window.start) / SAMPLE_RATE_HERTZ)


def pauses(lengths: Sequence[float]) -> None:
    """Print how far borders are from words."""
    case = joined_case(single_cases())
    spoken = [(word.start, word.end) for word in case.truth]
    squares = np.square(case.pcm[: len(case.pcm) // _FRAME_SAMPLES * _FRAME_SAMPLES].astype(np.int64))
    levels = squares.reshape(-1, _FRAME_SAMPLES).mean(axis=1).astype(int).tolist()
    print(f"{len(case.pcm) / SAMPLE_RATE_HERTZ:.0f} s, {len(spoken)} words; seconds from a border to the nearest word")
    print(f"{'chunks of':>10}  {'cut in':16}{'borders':>8}{'nearest':>9}{'tenth':>8}{'median':>8}")
    for seconds in lengths:
        limits = ChunkLimits.around(seconds)
        for name, best in (("longest pause", best_cut), ("quietest moment", quietest_cut)):
            distances = [_silence_around(border, spoken) for border in _borders(levels, limits, best)]
            nearest, tenth, median = np.quantile(distances, (0.0, 0.1, 0.5))
            print(f"{seconds:>8.0f} s  {name:16}{len(distances):>8}{nearest:>9.2f}{tenth:>8.2f}{median:>8.2f}")


def _borders(levels: list[int], limits: ChunkLimits, best: Callable[[list[int], ChunkLimits], int]) -> list[float]:
    """Return where a recording with these levels is cut, in seconds."""
    longest, place, found = round(limits.longest / FRAME_SECONDS), 0, []
    while len(levels) - place > longest:
        place += best(levels[place : place + longest], limits)
        found.append(place * FRAME_SECONDS)
    return found


def _silence_around(time: float, spoken: Sequence[tuple[float, float]]) -> float:
    """Return the seconds to the nearest word, negative within one."""
    return min(max(start - time, time - end) for start, end in spoken)


@dataclass(frozen=True)
class Run:
    """One way to cut the recording: its borders, and what became of each reference word."""

    seconds: float
    borders: list[float]
    #: For each word of the reference: 1 where it was lost, and where it was misheard; words heard beyond it.
    counts: dict[str, list[int]]
    #: Borders after which the words before it come again.
    twice: int

    @property
    def errors(self) -> int:
        """Errors in the whole recording."""
        return sum(map(sum, self.counts.values()))


def real(minutes: float, lengths: Sequence[float]) -> None:
    """Recognise a joined recording in chunks of each length; print a row a length."""
    quality = Quality(os.environ.get("BENCH_QUALITY", "fast"))
    pcm, reference, places = joined_recording(minutes)
    with tempfile.TemporaryDirectory() as folder:
        recogniser = WhisperRecogniser(model_folder(Path(folder)), quality=quality)
        runs = [_run(recogniser, pcm, reference, seconds) for seconds in lengths]
    print(f"{minutes:.0f} minutes, {len(reference)} words, quality {quality.value}")
    print(
        f"{'chunks of':>10}{'borders':>9}{'WER %':>7}"
        + "".join(f"{kind:>10}{'without':>9}" for kind in _KINDS)
        + f"{'twice':>7}"
    )
    for run in runs:
        beside = [_beside(run, runs, border) for border in run.borders]
        print(
            f"{run.seconds:>8.0f} s{sum(map(bool, beside)):>9}{100 * run.errors / len(reference):>7.2f}"
            + "".join(_cells(run, beside, kind, places) for kind in _KINDS)
            + f"{run.twice:>7}",
            flush=True,
        )


def _beside(run: Run, runs: Sequence[Run], border: float) -> list[Run]:
    """Return the other runs that have no border anywhere near this one."""
    return [
        other
        for other in runs
        if other is not run and all(abs(border - each) > 2 * _NEAR_SECONDS for each in other.borders)
    ]


def _cells(run: Run, beside: Sequence[list[Run]], kind: str, places: list[float]) -> str:
    """Count one kind of error near the borders of a run, and on average in the same places of those without them."""
    counted = without = 0.0
    for border, others in zip(run.borders, beside, strict=True):
        near = [i for i, time in enumerate(places) if abs(time - border) <= _NEAR_SECONDS] if others else []
        counted += sum(run.counts[kind][i] for i in near)
        without += sum(other.counts[kind][i] for other in others for i in near) / max(1, len(others))
    return f"{counted:>10.0f}{without:>9.1f}"


def joined_recording(minutes: float, seed: int = 1) -> tuple[NDArray[np.int16], list[str], list[float]]:
    """Join the English sets, with pauses; return the samples, the words and about when each is said.

    A word's time is its place in its recording's text, by letters.
    """
    chance = random.Random(seed)  # noqa: S311 - a benchmark's order, not a secret
    normalise, decoder = EnglishTextNormalizer(), CagedDecoder()
    parts = [(decode(decoder, each.path), normalise(each.reference).split()) for each in english_recordings()]
    decoder.close()
    pieces: list[NDArray[np.int16]] = []
    words: list[str] = []
    times: list[float] = []
    samples = 0
    while samples < minutes * 60 * SAMPLE_RATE_HERTZ:
        for pcm, said in chance.sample(parts, len(parts)):
            letters, seconds = sum(map(len, said)), len(pcm) / SAMPLE_RATE_HERTZ
            done = 0
            for word in said:
                times.append(samples / SAMPLE_RATE_HERTZ + seconds * (done + len(word) / 2) / letters)
                done += len(word)
            words += said
            pause = np.zeros(round(chance.uniform(0.4, 1.2) * SAMPLE_RATE_HERTZ), np.int16)
            pieces += [pcm, pause]
            samples += len(pcm) + len(pause)
            if samples >= minutes * 60 * SAMPLE_RATE_HERTZ:
                break
    return np.concatenate(pieces), words, times


def _run(recogniser: WhisperRecogniser, pcm: NDArray[np.int16], reference: list[str], seconds: float) -> Run:
    """Recognise the recording in chunks of about so many seconds, and compare."""
    limits = ChunkLimits.around(seconds)
    borders = [start / SAMPLE_RATE_HERTZ for start, _ in chunks(pcm, limits)][1:]
    (segments,) = recognise(recogniser, [pcm], limits=limits)
    heard = EnglishTextNormalizer()(" ".join(segment.text for segment in segments)).split()
    counts = {kind: [0] * len(reference) for kind in _KINDS}
    # By the fewest edits: the recording says the same sentences several times, and a longest common block may pair one
    # time with another.
    alignment = jiwer.process_words(" ".join(reference), " ".join(heard)).alignments[0]
    for step in alignment:
        words = range(step.ref_start_idx, step.ref_end_idx)
        if step.type == "insert":
            counts["added"][min(step.ref_start_idx, len(reference) - 1)] += step.hyp_end_idx - step.hyp_start_idx
        elif step.type != "equal":
            for word in words:
                counts["misheard" if step.type == "substitute" else "lost"][word] = 1
    return Run(seconds, borders, counts, _said_twice(words_of(segments), borders))


def _said_twice(words: list[Item], borders: list[float]) -> int:
    """Count the borders after which the words before it come again."""
    twice = 0
    for border in borders:
        before = [item.content.casefold() for item in words if border - _NEAR_SECONDS < item.end <= border]
        after = [item.content.casefold() for item in words if border <= item.start < border + _NEAR_SECONDS]
        twice += any(before[-size:] == after[:size] for size in range(1, min(len(before), len(after)) + 1))
    return twice


if __name__ == "__main__":
    main()
