"""A recording's way without a server: the same decoder, cuts and engine, with nothing kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.ports import ChunkAudio, Decoder, Engine
from batchscribe.domain.transcript import Fragment, SpokenLanguage, Transcript, join_fragments
from batchscribe.errors import MediaMissing
from batchscribe.finishing import finished
from batchscribe.finishing.speakers import with_voices
from batchscribe.workflow.channels import one_after_the_other, recognise_chunk, with_channels
from batchscribe.workflow.cutting import cut
from batchscribe.workflow.identifying import Listener, language_when_silent, with_languages

#: How many chunks are given to the engine at once; more is only memory.
_CHUNKS_AHEAD = 8


def transcribe_directly(
    path: Path,
    options: TranscriptionOptions,
    *,
    decoder: Decoder,
    engine: Engine,
    on_progress: Callable[[float, float | None], None],
    filter_words: tuple[str, ...] = (),
) -> Transcript:
    """Transcribe one recording. Raises RecordingFailed.

    ``filter_words`` are those of the vocabulary filter, where the options name a method for one.
    ``on_progress`` is given the seconds done and, from the header or once it is known, the seconds in all; it is called
    from several threads, one at a time.
    """
    try:
        media = path.open("rb")
    except OSError as error:
        raise MediaMissing(f"{path} cannot be read: {error.strerror}.") from error
    abandoned = threading.Event()
    progress = _Progress(on_progress)
    apart = options.channel_identification
    decided: tuple[SpokenLanguage, ...] | None = None
    if options.identify_language:
        listener = Listener(engine=engine, decoding=threading.Semaphore(), is_cancelled=abandoned.is_set)
        with path.open("rb") as whole_media, decoder.open(whole_media) as audio:
            decided = listener.languages(audio, options, job_name=str(path))
        code = decided[0].language_code if decided else language_when_silent(options)
        options = replace(options, language_code=code)

    def recognise(chunk: ChunkAudio, channels: int) -> Fragment:
        return recognise_chunk(
            engine,
            chunk,
            channels,
            options,
            on_progress=lambda seconds: progress.note(chunk.index, seconds),
            is_cancelled=abandoned.is_set,
        )

    fragments: list[Future[Fragment]] = []
    with media, ThreadPoolExecutor(_CHUNKS_AHEAD) as pool, decoder.open(media, channels_apart=apart) as audio:
        try:
            progress.total = audio.info.declared_duration
            start, places = 0.0, threading.Semaphore(_CHUNKS_AHEAD)
            for index, pcm in zip(count(), cut(audio.blocks(), channels=audio.channels), strict=False):
                whole = one_after_the_other(pcm, audio.channels)
                chunk = ChunkAudio(job_name=str(path), index=index, start=start, pcm=whole, priority=float(index))
                places.acquire()
                fragments.append(pool.submit(recognise, chunk, audio.channels))
                fragments[-1].add_done_callback(lambda _: places.release())
                start += chunk.duration / audio.channels
            progress.total = start
            joined = [fragment.result() for fragment in fragments]
        finally:
            # Where all is joined nobody asks any more; otherwise no chunk is worth going on with.
            abandoned.set()
    transcript = join_fragments(joined, language_code=options.language_code, duration=start)
    transcript = with_languages(transcript, options, decided)
    transcript = with_voices(transcript, joined, options)
    return finished(with_channels(transcript, audio.channels if apart else 0), options, filter_words)


class _Progress:
    """Adds up the chunks' seconds."""

    def __init__(self, on_progress: Callable[[float, float | None], None]) -> None:
        self.total: float | None = None
        self._on_progress = on_progress
        self._done: dict[int, float] = {}
        self._lock = threading.Lock()

    def note(self, index: int, seconds: float) -> None:
        """Tell how far the recording is now that one chunk is so far."""
        with self._lock:
            self._done[index] = seconds
            self._on_progress(sum(self._done.values()), self.total)
