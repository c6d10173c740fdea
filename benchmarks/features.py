"""What each feature costs: time and real-time factor of one recording through a server, with and without it.

Ten minutes of English (``BENCH_MINUTES``), the channels from the same voices; ten minutes of Chinese are the Chinese
recordings again and again. Each run with the feature follows one of the same recording without it (``BENCH_ROUNDS``
times), and the medians of both and of their ratios are shown. Processor seconds are those of all processes of the
server: on a busy machine they are the surer ratio. A feature that the engine cannot do is said to be refused.
"""

from __future__ import annotations

import os
import tempfile
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from batchscribe.client import Client, ServerRefused
from batchscribe.decoding.cage import CagedDecoder
from batchscribe.domain.options import PATTERN_TYPES
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from benchmarks.recordings import decode, english_recordings, join, referenced_recordings
from benchmarks.running import RunningServer, server

_ENGLISH = {"language_code": "en-US"}
MINUTES = float(os.environ.get("BENCH_MINUTES", "10"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
#: Words to favour and to mask: frequent ones, so that there is something to do.
_WORDS = ("printing", "Mississippi", "Kennedy", "Gutenberg", "the", "Americans", "country", "Mainz")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One way to ask for more than a plain transcript."""

    name: str
    options: Mapping[str, str]
    #: Which recording it is measured on: ``mono``, ``stereo`` or ``chinese``.
    recording: str = "mono"
    #: What the plain run of the same recording asks for.
    plain: Mapping[str, str] = field(default_factory=lambda: _ENGLISH)


FEATURES = (
    Feature(name="speakers", options=_ENGLISH | {"show_speaker_labels": "true"}),
    Feature(name="redaction", options=_ENGLISH | {"redact_types": ",".join(sorted(PATTERN_TYPES))}),
    Feature(
        name="vocabulary filter",
        options=_ENGLISH | {"vocabulary_filter_name": "bench", "vocabulary_filter_method": "mask"},
    ),
    Feature(name="vocabulary", options=_ENGLISH | {"vocabulary_name": "bench"}),
    Feature(name="language identification", options={"identify_language": "true"}),
    Feature(name="several languages", options={"identify_multiple_languages": "true"}),
    Feature(
        name="two channels apart",
        options=_ENGLISH | {"channel_identification": "true"},
        recording="stereo",
    ),
    Feature(
        name="Chinese script (zh-TW)",
        options={"language_code": "zh-TW"},
        recording="chinese",
        plain={"language_code": "zh"},
    ),
)


def main() -> None:
    """Print a row a feature."""
    with tempfile.TemporaryDirectory() as folder, server(quality="accurate") as running:
        recordings = _recordings(Path(folder))
        _put_word_lists(running)
        seconds = {name: _seconds(path) for name, path in recordings.items()}
        _run(running, recordings["mono"], _ENGLISH)
        print("| feature | without: s (RTF) | with: s (RTF) | with / without: time | processor |")
        print("|---|---|---|---|---|")
        for feature in FEATURES:
            path, length = recordings[feature.recording], seconds[feature.recording]
            plain: list[Run] = []
            asked: list[Run] = []
            try:
                for _ in range(ROUNDS):
                    plain.append(_run(running, path, feature.plain))
                    asked.append(_run(running, path, feature.options))
            except ServerRefused as refusal:
                print(f"| {feature.name} | | refused: {refusal} | | |", flush=True)
                continue
            pairs = list(zip(plain, asked, strict=True))
            without, with_it = median(run.seconds for run in plain), median(run.seconds for run in asked)
            ratio = median(more.seconds / less.seconds for less, more in pairs)
            cpu_ratio = median(more.cpu_seconds / less.cpu_seconds for less, more in pairs)
            times = f"{without:.1f} ({without / length:.4f}) | {with_it:.1f} ({with_it / length:.4f})"
            print(f"| {feature.name} | {times} | {ratio:.2f} | {cpu_ratio:.2f} |", flush=True)


@dataclass(frozen=True)
class Run:
    """What one job took: seconds by its own times, and of the processor."""

    seconds: float
    cpu_seconds: float


def _run(running: RunningServer, path: Path, options: Mapping[str, str]) -> Run:
    """Run one job. Raises ServerRefused."""
    before = running.cpu_seconds()
    with Client(running.base_url) as client:
        submitted = client.submit(path, language_code=None, fields=options)
        job = client.wait(submitted.job_name)
    assert job.completion_time is not None
    assert job.start_time is not None
    seconds = (job.completion_time - job.start_time).total_seconds()
    return Run(seconds, running.cpu_seconds() - before)


def _put_word_lists(running: RunningServer) -> None:
    """Keep a vocabulary and a filter; a server that has none refuses the job that names it."""
    with Client(running.base_url) as client:
        for kind in ("vocabularies", "vocabulary-filters"):
            client.put_word_list(kind, "bench", language_code="en-US", words=_WORDS)


def _recordings(folder: Path) -> dict[str, Path]:
    """Make the recordings: of one channel, of two, and of Chinese."""
    english = english_recordings()
    made = {name: folder / f"{name}.wav" for name in ("mono", "stereo", "chinese")}
    join(english, minutes=MINUTES, target=made["mono"])
    other = folder / "other.wav"
    join(english, minutes=MINUTES, target=other, seed=2)
    one, two = _samples(made["mono"]), _samples(other)
    length = min(len(one), len(two))
    with wave.open(str(made["stereo"]), "wb") as out:
        out.setparams((2, 2, SAMPLE_RATE_HERTZ, 0, "NONE", ""))
        out.writeframes(np.stack([one[:length], two[:length]], axis=1).tobytes())
    chinese = [each for each in referenced_recordings() if each.language_code == "zh-CN"]
    join(chinese, minutes=MINUTES, target=made["chinese"])
    return made


def _samples(path: Path) -> NDArray[np.int16]:
    decoder = CagedDecoder()
    samples = decode(decoder, path)
    decoder.close()
    return samples


def _seconds(path: Path) -> float:
    with wave.open(str(path)) as audio:
        return float(audio.getnframes() / audio.getframerate())


if __name__ == "__main__":
    main()
