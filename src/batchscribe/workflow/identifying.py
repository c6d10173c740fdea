"""Finding out which languages are spoken: of a whole recording before it is cut, or of every stretch of a chunk.

What is spoken in a whole recording is decided once, from its first minutes, and stored before any chunk of it waits:
so every chunk is recognised in the same language, by whichever worker, and whatever is killed meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

from sqlalchemy import Engine as Database

from batchscribe.database import identification, jobs
from batchscribe.domain.chunks import ChunkLimits
from batchscribe.domain.identification import LanguageWindow, check_sure, durations, ranked, stretches
from batchscribe.domain.job import TranscriptionJob
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ, ChunkAudio, DecodedAudio, Engine
from batchscribe.domain.transcript import Segment, SpokenLanguage, Transcript, join_segments
from batchscribe.errors import Cancelled
from batchscribe.workflow.cutting import cut

#: Pieces in which a recording is listened to, whatever its chunks are: what an engine hears at once.
PIECES = ChunkLimits(shortest=20.0, longest=29.0)
#: With so much speech the language is as sure as it gets.
ENOUGH_SPEECH_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Listens to the beginning of recordings."""

    engine: Engine
    #: Held while a recording is read from its decoder.
    decoding: threading.Semaphore
    is_cancelled: Callable[[], bool]

    def languages(
        self, audio: DecodedAudio, options: TranscriptionOptions, *, job_name: str, priority: float = 0.0
    ) -> tuple[SpokenLanguage, ...]:
        """Return what a recording's language may be, the most probable first; nothing where nobody speaks in it.

        Reads no further than is needed. Raises LanguageUnclear below the floor of the options, RecordingFailed.
        """
        heard: list[LanguageWindow] = []
        pieces = cut(audio.blocks(), PIECES)
        start = 0.0
        for index in count():
            with self.decoding:
                pcm = next(pieces, None)
            if self.is_cancelled():
                raise Cancelled("Cancelled by request.")
            if pcm is None:
                break
            piece = ChunkAudio(job_name=job_name, index=index, start=start, pcm=pcm, priority=priority)
            heard += self.engine.find_languages(piece, by_stretch=False, is_cancelled=self.is_cancelled)
            if sum(window.speech for window in heard) >= ENOUGH_SPEECH_SECONDS:
                break
            start += piece.duration
        found = ranked(heard, options.language_options)
        check_sure(found, options)
        return found


def with_stored_language(
    database: Database, job: TranscriptionJob, listen: Callable[[], tuple[SpokenLanguage, ...]]
) -> TranscriptionJob:
    """Return a job with the language it is recognised in: as it was asked for, was decided before, or is decided now.

    Two that decide at the same time hear the same; the first one's word is kept.
    """
    if not job.options.identify_language or job.languages is not None:
        return job
    found = listen()
    with database.begin() as connection:
        identification.decide_language(connection, job.name, language_when_silent(job.options), found)
        decided = jobs.find_job(connection, job.name)
    if decided is None:
        raise Cancelled("The job has ended.")
    return decided


def language_when_silent(options: TranscriptionOptions) -> str:
    """Return the code of a recording in which nobody speaks: the first to choose from, or the usual one."""
    return options.language_options[0] if options.language_options else options.language_code


def recognise_languages(
    engine: Engine,
    chunk: ChunkAudio,
    options: TranscriptionOptions,
    *,
    on_progress: Callable[[float], None],
    is_cancelled: Callable[[], bool],
) -> tuple[Segment, ...]:
    """Recognise one channel's chunk as the engine's port says: in its language, or each stretch in its own."""
    if not options.identify_multiple_languages:
        return engine.recognise(chunk, options, on_progress=on_progress, is_cancelled=is_cancelled)
    heard = engine.find_languages(chunk, by_stretch=True, is_cancelled=is_cancelled)
    end = chunk.start + chunk.duration
    joined: tuple[Segment, ...] = ()
    for stretch in stretches(heard, options.language_options, start=chunk.start, end=end):
        first, last = (_offset_bytes(chunk, at) for at in (stretch.start, stretch.end))
        done = stretch.start - chunk.start
        segments = engine.recognise(
            replace(chunk, start=stretch.start, pcm=chunk.pcm[first:last]),
            replace(options, language_code=stretch.language_code),
            on_progress=lambda now, done=done: on_progress(done + now),  # type: ignore[misc]
            is_cancelled=is_cancelled,
        )
        spoken = tuple(replace(segment, language_code=stretch.language_code) for segment in segments)
        joined = join_segments(joined, spoken)
    on_progress(chunk.duration)
    return joined


def with_languages(
    transcript: Transcript, options: TranscriptionOptions, decided: tuple[SpokenLanguage, ...] | None
) -> Transcript:
    """Return the transcript with what was identified, where that was asked for."""
    if options.identify_language:
        return replace(transcript, languages=decided or ())
    if not options.identify_multiple_languages:
        return transcript
    code = language_when_silent(options)
    spoken = durations(transcript.segments, otherwise=code)
    return replace(transcript, language_code=spoken[0].language_code if spoken else code, languages=spoken)


def _offset_bytes(chunk: ChunkAudio, at: float) -> int:
    samples = round((at - chunk.start) * SAMPLE_RATE_HERTZ)
    return min(max(0, samples) * BYTES_PER_SAMPLE, len(chunk.pcm))
