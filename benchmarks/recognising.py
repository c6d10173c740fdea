"""The recogniser alone over many recordings in one process, its windows pooled as the scheduler pools them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchscribe.domain.chunks import ChunkLimits
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.domain.transcript import Item, ItemKind, Segment, shift_segment
from batchscribe.engines.catalogue import ModelCatalogue
from batchscribe.engines.whisper import WhisperRecogniser, WindowAudio
from batchscribe.workflow.cutting import cut


def model_folder(folder: Path) -> Path:
    """Put the base model together in this folder and return where it is."""
    return ModelCatalogue(folder).resolve("base")


def recognise(
    recogniser: WhisperRecogniser,
    recordings: Sequence[NDArray[np.int16]],
    *,
    languages: Sequence[str] | None = None,
    phrases: Sequence[tuple[str, ...]] | None = None,
    limits: ChunkLimits | None = None,
) -> list[tuple[Segment, ...]]:
    """Return the segments of each recording of 16 kHz samples, cut as the server cuts it."""
    pools: dict[int, list[tuple[int, int, WindowAudio]]] = defaultdict(list)
    for number, pcm in enumerate(recordings):
        language = languages[number] if languages else "en"
        favoured = phrases[number] if phrases else ()
        for start, chunk in chunks(pcm, limits):
            for window in recogniser.find_windows(chunk):
                audio = WindowAudio(
                    pcm=chunk[window.start : window.end], bucket=window.bucket, language=language, phrases=favoured
                )
                pools[window.bucket].append((number, start + window.start, audio))
    heard: list[list[tuple[int, tuple[Segment, ...]]]] = [[] for _ in recordings]
    for pool in pools.values():
        for first in range(0, len(pool), recogniser.max_batch):
            batch = pool[first : first + recogniser.max_batch]
            answers = recogniser.recognise([audio for _, _, audio in batch])
            for (number, start, _), answer in zip(batch, answers, strict=True):
                heard[number].append((start, answer))
    return [
        tuple(
            shift_segment(segment, start / SAMPLE_RATE_HERTZ)
            for start, segments in sorted(each, key=lambda one: one[0])
            for segment in segments
        )
        for each in heard
    ]


def chunks(pcm: NDArray[np.int16], limits: ChunkLimits | None = None) -> list[tuple[int, NDArray[np.int16]]]:
    """Cut a recording as the server does; return each chunk with its first sample's place."""
    found, start = [], 0
    for chunk in cut([pcm.tobytes()], limits):
        samples = np.frombuffer(chunk, dtype="<i2")
        found.append((start, samples))
        start += len(samples)
    return found


def words_of(segments: Sequence[Segment]) -> list[Item]:
    """Return the words of segments, without marks of punctuation."""
    return [item for segment in segments for item in segment.items if item.kind is ItemKind.PRONUNCIATION]
