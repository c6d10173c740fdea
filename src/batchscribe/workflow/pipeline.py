"""A job's way: probe and cut the recording, recognise its chunks, join them, finish.

Every function here may be run again from its start at any time, by the same worker or another: what is done is read
from our own rows, and each change is one transaction that is refused where the job has moved on. So the durable engine
needs to promise no more than to run each of them until it returns.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy import Engine as Database

from batchscribe.database import chunks, identification, jobs, transcripts, word_lists
from batchscribe.database.chunks import Chunk
from batchscribe.domain.chunks import ChunkLimits
from batchscribe.domain.job import Failure, JobStatus, TranscriptionJob, work_prefix
from batchscribe.domain.ports import (
    BYTES_PER_SAMPLE,
    SAMPLE_RATE_HERTZ,
    ChunkAudio,
    DecodedAudio,
    Decoder,
    Engine,
    MediaStore,
)
from batchscribe.domain.transcript import Fragment, SpokenLanguage, Transcript, join_fragments
from batchscribe.domain.word_lists import WordListKind
from batchscribe.errors import Cancelled, MediaMissing, RecordingFailed
from batchscribe.finishing import finished
from batchscribe.finishing.speakers import with_voices
from batchscribe.workflow.channels import one_after_the_other, recognise_chunk, with_channels
from batchscribe.workflow.cutting import cut
from batchscribe.workflow.dispatch import Dispatcher, chunk_priority
from batchscribe.workflow.identifying import Listener, with_languages, with_stored_language
from batchscribe.workflow.in_flight import InFlight

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The parts that a job passes through, and the way through them."""

    database: Database
    store: MediaStore
    decoder: Decoder
    engine: Engine
    dispatcher: Dispatcher
    in_flight: InFlight
    #: How many recordings are read from their decoders at once; each waits its turn anew for every chunk.
    decoding: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(2))

    def transcribe(self, job_name: str) -> None:
        """Take a job from its recording to recognised chunks; a recording of one chunk to its end.

        Raises RecordingFailed where the same may succeed when it is tried again; otherwise the job ends FAILED.
        """
        with self.in_flight.hold(job_name):
            job = self._begin(job_name)
            if job is None:
                self.store.delete_prefix(work_prefix(job_name))
                return
            try:
                self._plan(job)
            except Cancelled:
                self.store.delete_prefix(work_prefix(job_name))
            except RecordingFailed as failure:
                if failure.retryable:
                    raise
                self.fail(job_name, Failure(code=failure.code, reason=str(failure)))

    def recognise(self, job_name: str, index: int) -> None:
        """Recognise one chunk, once, and finish the job when it was the last. Raises as :meth:`transcribe` does."""
        with self.in_flight.hold(job_name):
            try:
                self._recognise(job_name, index)
            except Cancelled:
                self.store.delete_prefix(work_prefix(job_name))
            except RecordingFailed as failure:
                if failure.retryable:
                    raise
                self.fail(job_name, Failure(code=failure.code, reason=str(failure)))

    def fail(self, job_name: str, failure: Failure) -> None:
        """End a job FAILED, unless it has ended already."""
        with self.database.begin() as connection:
            failed = jobs.move_job(connection, job_name, JobStatus.FAILED, at=datetime.now(UTC), failure=failure)
        self.store.delete_prefix(work_prefix(job_name))
        if failed:
            logger.info("job failed", extra={"job_name": job_name, "code": failure.code})

    def _begin(self, job_name: str) -> TranscriptionJob | None:
        """Move a job to IN_PROGRESS; None where it has ended or is gone."""
        with self.database.begin() as connection:
            jobs.move_job(connection, job_name, JobStatus.IN_PROGRESS, at=datetime.now(UTC))
            job = jobs.find_job(connection, job_name)
        return None if job is None or job.status.is_final else job

    def _plan(self, job: TranscriptionJob) -> None:
        """Decode the recording, and hand each chunk on as soon as it is cut."""
        with self.database.connect() as connection:
            planned = chunks.planned_count(connection, job.name)
        if planned is None:
            job = with_stored_language(self.database, job, lambda: self._listen(job))
            apart = job.options.channel_identification
            with self.store.open(job.media_key) as media, self.decoder.open(media, channels_apart=apart) as audio:
                self._describe(job.name, audio)
                planned = self._cut(job, audio)
        if planned == 1:
            # Not worth another wait in a queue: most recordings are short.
            self._recognise(job.name, 0)
        else:
            self._finish_if_complete(job.name)

    def _listen(self, job: TranscriptionJob) -> tuple[SpokenLanguage, ...]:
        """Find out which language is spoken in a recording."""
        listener = Listener(
            engine=self.engine,
            decoding=self.decoding,
            is_cancelled=lambda: self.in_flight.is_ended(job.name),
        )
        priority = float(chunk_priority(job.priority.rank, 0))
        with self.store.open(job.media_key) as media, self.decoder.open(media) as audio:
            return listener.languages(audio, job.options, job_name=job.name, priority=priority)

    def _describe(self, job_name: str, audio: DecodedAudio) -> None:
        with self.database.begin() as connection:
            jobs.describe_media(
                connection,
                job_name,
                media_sample_rate_hertz=audio.info.sample_rate_hertz,
                media_duration=audio.info.declared_duration,
            )

    def _cut(self, job: TranscriptionJob, audio: DecodedAudio) -> int:
        """Store each chunk's audio and row; return how many there are."""
        channels = audio.channels
        pieces = cut(audio.blocks(), ChunkLimits.around(job.chunk_seconds), channels=channels)
        start, index = 0.0, 0
        with self.decoding:
            pcm = next(pieces, None)
        while pcm is not None:
            if self.in_flight.is_ended(job.name):
                raise Cancelled("Cancelled by request.")
            with self.decoding:
                following = next(pieces, None)
            duration = len(pcm) / channels / BYTES_PER_SAMPLE / SAMPLE_RATE_HERTZ
            chunk = Chunk(
                job_name=job.name,
                index=index,
                start=start,
                duration=duration,
                audio_key=f"{work_prefix(job.name)}{index}.pcm",
                is_recognised=False,
                channels=channels,
            )
            is_only = index == 0 and following is None
            self._add_chunk(job, chunk, one_after_the_other(pcm, channels), is_only=is_only)
            start, index, pcm = start + duration, index + 1, following
        with self.database.begin() as connection:
            jobs.describe_media(
                connection, job.name, media_duration=start, chunk_count=index, warnings=list(audio.warnings)
            )
        return index

    def _add_chunk(self, job: TranscriptionJob, chunk: Chunk, pcm: bytes, *, is_only: bool) -> None:
        """Store one chunk, unless an interrupted run has had it recognised already."""
        with self.database.connect() as connection:
            known = chunks.find_chunk(connection, chunk.job_name, chunk.index)
        if known is not None and known.is_recognised:
            return
        self.store.put(chunk.audio_key, pcm)
        with self.database.begin() as connection:
            if known is None and not chunks.add_chunk(connection, chunk):
                raise Cancelled("The job has ended.")
            if not is_only:
                self.dispatcher.enqueue_chunk(connection, chunk.job_name, chunk.index, priority_rank=job.priority.rank)

    def _recognise(self, job_name: str, index: int) -> None:
        with self.database.begin() as connection:
            chunk = chunks.begin_chunk(connection, job_name, index)
            job = jobs.find_job(connection, job_name)
        if chunk is None or job is None or job.status.is_final:
            self.store.delete_prefix(work_prefix(job_name))
            return
        pcm = None if chunk.is_recognised else self._read_audio(chunk)
        if pcm is not None:
            fragment = self._fragment(job, chunk, pcm)
            with self.database.begin() as connection:
                chunks.save_fragment(
                    connection, job_name, index, fragment.segments, voices=fragment.voices, at=datetime.now(UTC)
                )
        self.store.delete(chunk.audio_key)
        self._finish_if_complete(job_name)

    def _fragment(self, job: TranscriptionJob, chunk: Chunk, pcm: bytes) -> Fragment:
        """Recognise a chunk's audio, and its voices where it was asked who speaks."""
        options = job.options
        if options.vocabulary_name is not None:
            with self.database.connect() as connection:
                phrases = word_lists.words_of(connection, job.name, WordListKind.VOCABULARY)
            options = replace(options, phrases=phrases)
        audio = ChunkAudio(
            job_name=job.name,
            index=chunk.index,
            start=chunk.start,
            pcm=pcm,
            priority=float(chunk_priority(job.priority.rank, chunk.index)),
        )
        logger.debug("chunk goes to the engine", extra={"job_name": job.name, "chunk": chunk.index})
        return recognise_chunk(
            self.engine,
            audio,
            chunk.channels,
            options,
            on_progress=lambda seconds: self.in_flight.note_progress(job.name, chunk.index, seconds),
            is_cancelled=lambda: self.in_flight.is_ended(job.name),
        )

    def _read_audio(self, chunk: Chunk) -> bytes | None:
        """Return a chunk's audio, or None where another worker was faster. Raises MediaMissing."""
        try:
            return self.store.get(chunk.audio_key)
        except MediaMissing:
            # Whoever has recognised a chunk removes its audio; a worker that was frozen may come for it too late.
            with self.database.connect() as connection:
                known = chunks.find_chunk(connection, chunk.job_name, chunk.index)
            if known is None or known.is_recognised:
                return None
            raise

    def _finish_if_complete(self, job_name: str) -> None:
        """Join the fragments and end the job COMPLETED, when every chunk is recognised."""
        with self.database.connect() as connection:
            if not chunks.is_complete(connection, job_name):
                return
            job = jobs.find_job(connection, job_name)
            fragments = chunks.fragments(connection, job_name)
        if job is None or job.status.is_final:
            return
        transcript = self._joined(job, fragments)
        with self.database.begin() as connection:
            # Two workers may both have seen the last chunk done: the first transition wins, the second changes nothing.
            if job.options.identify_multiple_languages:
                identification.note_languages(connection, job_name, transcript.language_code, transcript.languages)
            if jobs.move_job(connection, job_name, JobStatus.COMPLETED, at=datetime.now(UTC)):
                transcripts.save_transcript(connection, job_name, transcript)
                chunks.forget_fragments(connection, job_name)
        self.store.delete_prefix(work_prefix(job_name))

    def _joined(self, job: TranscriptionJob, fragments: list[Fragment]) -> Transcript:
        """Return the transcript of a job as it is stored: joined, and finished as was asked for."""
        with self.database.connect() as connection:
            channels = chunks.channel_count(connection, job.name) if job.options.channel_identification else 0
            words = word_lists.words_of(connection, job.name, WordListKind.VOCABULARY_FILTER)
        joined = join_fragments(fragments, language_code=job.options.language_code, duration=job.media_duration or 0.0)
        joined = with_languages(joined, job.options, job.languages)
        return finished(with_channels(with_voices(joined, fragments, job.options), channels), job.options, words)
