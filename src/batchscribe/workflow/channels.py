"""Channels that are transcribed apart: a chunk's audio of each, recognised one after the other and joined by time.

A chunk's audio holds its channels one after the other, each as long as the chunk. Chunks of a recording are recognised
at the same time anyway, so nothing is gained by more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.ports import BYTES_PER_SAMPLE, ChunkAudio, Engine
from batchscribe.domain.transcript import Fragment, Segment, Speaker, Transcript, join_segments, with_speakers
from batchscribe.workflow.identifying import recognise_languages


def one_after_the_other(pcm: bytes, channels: int) -> bytes:
    """Return interleaved samples channel by channel."""
    if channels == 1:
        return pcm
    return np.frombuffer(pcm, dtype=f"<i{BYTES_PER_SAMPLE}").reshape(-1, channels).T.tobytes()


def recognise_chunk(
    engine: Engine,
    chunk: ChunkAudio,
    channels: int,
    options: TranscriptionOptions,
    *,
    on_progress: Callable[[float], None],
    is_cancelled: Callable[[], bool],
) -> Fragment:
    """Recognise a chunk of one or more channels, and its voices where the options ask who speaks."""
    segments = recognise_channels(engine, chunk, channels, options, on_progress=on_progress, is_cancelled=is_cancelled)
    wants_voices = options.show_speaker_labels and segments and channels == 1
    voices = engine.find_voices(chunk, is_cancelled=is_cancelled) if wants_voices else ()
    return Fragment(index=chunk.index, segments=segments, voices=voices)


def recognise_channels(
    engine: Engine,
    chunk: ChunkAudio,
    channels: int,
    options: TranscriptionOptions,
    *,
    on_progress: Callable[[float], None],
    is_cancelled: Callable[[], bool],
) -> tuple[Segment, ...]:
    """Recognise every channel of a chunk, as the engine's port says; ``on_progress`` counts seconds of the chunk."""
    length = len(chunk.pcm) // channels
    seconds = chunk.duration / channels
    joined: tuple[Segment, ...] = ()
    for number in range(channels):
        done = number * seconds
        segments = recognise_languages(
            engine,
            replace(chunk, pcm=chunk.pcm[number * length : (number + 1) * length]),
            options,
            on_progress=lambda now, done=done: on_progress((done + now) / channels),  # type: ignore[misc]
            is_cancelled=is_cancelled,
        )
        if options.channel_identification:
            segments = tuple(replace(segment, channel_label=f"ch_{number}") for segment in segments)
        joined = join_segments(joined, segments)
    return joined


def with_channels(transcript: Transcript, channels: int) -> Transcript:
    """Return the transcript with each channel among its speakers, whether or not anything was said on it."""
    silent = tuple(Speaker(label=f"ch_{number}") for number in range(channels))
    known = {speaker.label for speaker in transcript.speakers}
    added = tuple(each for each in silent if each.label not in known)
    return with_speakers(replace(transcript, speakers=(*transcript.speakers, *added)))
