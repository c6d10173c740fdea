"""What every engine promises (``domain/ports.py``): one suite for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import jiwer
import numpy as np
import pytest
from whisper_normalizer.basic import BasicTextNormalizer

from batchscribe.domain.identification import LanguageWindow, ranked, stretches
from batchscribe.domain.languages import WHISPER_LANGUAGES
from batchscribe.domain.options import IDENTIFICATION_OPTIONS, TranscriptionOptions
from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ, ChunkAudio, Engine
from batchscribe.domain.transcript import Segment
from batchscribe.engines.catalogue import ModelCatalogue
from batchscribe.engines.pool import LocalEngine
from batchscribe.engines.recogniser import whisper_choice
from batchscribe.engines.scripted import ScriptedEngine
from batchscribe.engines.scripted_recogniser import scripted_choice
from batchscribe.errors import Cancelled, EngineClosed

if TYPE_CHECKING:
    from conftest import Clip


def read_clip(path: Path) -> bytes:
    """Return a recording's samples as an engine wants them."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HERTZ)
    with av.open(str(path)) as container:
        frames = [each for frame in container.decode(audio=0) for each in resampler.resample(frame)]
    frames += resampler.resample(None)
    return b"".join(frame.to_ndarray().tobytes() for frame in frames)


def silence(seconds: float) -> bytes:
    """Return zeros."""
    return bytes(round(seconds * SAMPLE_RATE_HERTZ) * BYTES_PER_SAMPLE)


def tone(value: int, seconds: float) -> bytes:
    """Return samples that the scripted recogniser hears as one word."""
    return np.full(round(seconds * SAMPLE_RATE_HERTZ), value, dtype="<i2").tobytes()


@dataclass
class Subject:
    """An engine under test, how to make another, and audio in which it hears words."""

    engine: Engine
    make: Callable[[], Engine]
    speech: bytes
    #: A phrase that the engine hears in the speech where it is favoured, and does not write so by itself.
    phrase: str

    def recognise(
        self,
        pcm: bytes,
        *,
        job_name: str = "job",
        start: float = 0.0,
        phrases: tuple[str, ...] = (),
        on_progress: Callable[[float], None] = lambda _: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> tuple[Segment, ...]:
        """Recognise one chunk of English."""
        chunk = ChunkAudio(job_name=job_name, index=0, start=start, pcm=pcm)
        options = TranscriptionOptions(phrases=phrases)
        return self.engine.recognise(chunk, options, on_progress=on_progress, is_cancelled=is_cancelled)


def words(segments: tuple[Segment, ...]) -> str:
    """Return all the text of some segments."""
    return " ".join(segment.text for segment in segments)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Put the bundled model together."""
    return ModelCatalogue(tmp_path_factory.mktemp("models")).resolve("base")


@pytest.fixture(scope="module", params=["scripted engine", "scripted children", "whisper"])
def subject(request: pytest.FixtureRequest, clips: list[Clip]) -> Iterator[Subject]:
    """Give every engine in turn."""
    make: Callable[[], Engine]
    if request.param == "scripted engine":
        make, speech, phrase = ScriptedEngine, tone(3, 4.0), "Ann Lee"
    elif request.param == "scripted children":
        choice = scripted_choice()
        make, phrase = (lambda: LocalEngine(choice, processes=2)), "W4"
        speech = tone(3, 2.0) + silence(1.0) + tone(4, 1.5)
    else:
        whisper = whisper_choice(request.getfixturevalue("model_folder"), quality="fast")
        make, phrase = (lambda: LocalEngine(whisper, processes=1)), "Quick Brown Fox"
        speech = read_clip(clips[0].path)
    engine = make()
    yield Subject(engine=engine, make=make, speech=speech, phrase=phrase)
    engine.close()


def test_segments_come_in_order_and_lie_within_the_chunk_on_the_recordings_scale(subject: Subject) -> None:
    """Times are seconds from the recording's start, not the chunk's."""
    pcm = subject.speech + silence(1.0) + subject.speech
    segments = subject.recognise(pcm, start=1000.0)
    items = [item for segment in segments for item in segment.items]
    times = [time for item in items for time in (item.start, item.end)]
    assert len(items) >= 2
    assert times == sorted(times)
    assert times[0] >= 1000.0
    assert times[-1] <= 1000.0 + len(pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE_HERTZ + 0.001
    assert all(segment.start <= segment.items[0].start for segment in segments)
    assert all(segment.end >= segment.items[-1].end for segment in segments)


def test_silence_gives_no_segments_and_is_done_at_once(subject: Subject) -> None:
    """Nobody invents words, and progress still arrives at the end."""
    told: list[float] = []
    assert subject.recognise(silence(3.0), on_progress=told.append) == ()
    assert told[-1] == pytest.approx(3.0)


def test_a_chunk_without_samples_gives_no_segments(subject: Subject) -> None:
    """Nothing is a kind of silence."""
    assert subject.recognise(b"") == ()


def test_words_do_not_depend_on_the_job_or_on_who_else_is_served(subject: Subject) -> None:
    """A chunk recognised among others reads as it does alone."""
    alone = subject.recognise(subject.speech, job_name="first")
    half = subject.speech[: len(subject.speech) // 4 * 2]
    with ThreadPoolExecutor(6) as threads:
        others = [threads.submit(subject.recognise, half, job_name=f"other-{i}") for i in range(3)]
        again = [threads.submit(subject.recognise, subject.speech, job_name=f"second-{i}") for i in range(3)]
        assert all(each.result() for each in others)
        assert [each.result() for each in again] == [alone] * 3


def test_progress_grows_and_ends_at_the_chunks_duration(subject: Subject) -> None:
    """Progress is told in seconds of the chunk, in the caller's own thread."""
    told: list[float] = []
    threads: set[int] = set()

    def note(seconds: float) -> None:
        told.append(seconds)
        threads.add(threading.get_ident())

    subject.recognise(subject.speech, start=50.0, on_progress=note)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(len(subject.speech) / BYTES_PER_SAMPLE / SAMPLE_RATE_HERTZ)
    assert threads == {threading.get_ident()}


def test_a_phrase_that_is_favoured_is_heard_as_it_is_given(subject: Subject) -> None:
    """For the job that names the vocabulary alone, in every chunk of it alike, and without a gap or an overlap."""
    assert "vocabulary_name" in subject.engine.capabilities.options
    phrases = ("Zyxthorpe", subject.phrase)
    with ThreadPoolExecutor(2) as threads:
        plain = threads.submit(subject.recognise, subject.speech, job_name="plain")
        favoured = threads.submit(subject.recognise, subject.speech, job_name="favoured", phrases=phrases)
        assert subject.phrase not in words(plain.result())
        segments = favoured.result()
    assert subject.phrase in words(segments)
    assert subject.recognise(subject.speech, phrases=phrases) == segments
    times = [time for segment in segments for item in segment.items for time in (item.start, item.end)]
    assert times == sorted(times)


def test_a_cancelled_chunk_raises_soon(subject: Subject) -> None:
    """Whatever the engine is doing for it is given up."""
    begun = time.monotonic()
    with pytest.raises(Cancelled):
        subject.recognise(subject.speech, is_cancelled=lambda: True)
    assert time.monotonic() - begun < 20.0


def test_an_error_of_the_callers_own_comes_through_and_leaves_the_engine_well(subject: Subject) -> None:
    """A progress callback that raises ends its call, and no other."""

    def fail(seconds: float) -> None:
        raise LookupError(f"after {seconds} seconds")

    with pytest.raises(LookupError):
        subject.recognise(subject.speech, on_progress=fail)
    assert subject.recognise(subject.speech)


def test_english_is_among_the_languages(subject: Subject) -> None:
    """The contract's default language is known."""
    assert "en-US" in subject.engine.capabilities.language_codes


def test_a_closed_engine_takes_no_more_chunks(subject: Subject) -> None:
    """Closing is final, and harmless twice."""
    engine = subject.make()
    engine.close()
    engine.close()
    chunk = ChunkAudio(job_name="job", index=0, start=0.0, pcm=subject.speech)
    with pytest.raises(EngineClosed):
        engine.recognise(chunk, TranscriptionOptions(), on_progress=lambda _: None, is_cancelled=lambda: False)


def test_whisper_hears_what_is_said(model_folder: Path, clips: list[Clip]) -> None:
    """Each of our own recordings comes out with at most one word in six wrong."""
    engine = LocalEngine(whisper_choice(model_folder, quality="accurate"), processes=2)

    def hear(clip: Clip) -> str:
        chunk = ChunkAudio(job_name=clip.path.stem, index=0, start=0.0, pcm=read_clip(clip.path))
        options = TranscriptionOptions(language_code=clip.language_code)
        return words(engine.recognise(chunk, options, on_progress=lambda _: None, is_cancelled=lambda: False))

    try:
        with ThreadPoolExecutor(len(clips)) as threads:
            heard = list(threads.map(hear, clips))
    finally:
        engine.close()
    normalise = BasicTextNormalizer(split_letters=False)
    for clip, text in zip(clips, heard, strict=True):
        measure = jiwer.cer if clip.language_code.startswith(("ja", "zh")) else jiwer.wer
        assert measure(normalise(clip.text), normalise(text)) <= 1 / 6, (clip.text, text)


def test_voices_lie_within_the_chunk_on_the_recordings_scale(subject: Subject) -> None:
    """Whoever speaks is heard, nobody is in silence, and the same audio sounds the same each time."""
    pcm = subject.speech + silence(1.0)
    chunk = ChunkAudio(job_name="job", index=0, start=1000.0, pcm=pcm)
    windows = subject.engine.find_voices(chunk, is_cancelled=lambda: False)
    turns = [time for window in windows for voice in window.voices for turn in voice.turns for time in turn]
    assert turns
    assert min(turns) >= 1000.0
    assert max(turns) <= 1000.0 + chunk.duration + 0.001
    assert subject.engine.find_voices(chunk, is_cancelled=lambda: False) == windows
    quiet = ChunkAudio(job_name="job", index=1, start=0.0, pcm=silence(3.0))
    assert subject.engine.find_voices(quiet, is_cancelled=lambda: False) == ()


def test_looking_for_voices_ends_when_it_is_cancelled(subject: Subject) -> None:
    """Nobody waits for what is not wanted any more."""
    chunk = ChunkAudio(job_name="job", index=0, start=0.0, pcm=subject.speech)
    with pytest.raises(Cancelled):
        subject.engine.find_voices(chunk, is_cancelled=lambda: True)


@pytest.mark.parametrize("by_stretch", [False, True])
def test_languages_are_heard_within_the_chunk_on_the_recordings_scale(subject: Subject, *, by_stretch: bool) -> None:
    """Whoever speaks is heard in some language, nobody is in silence, and the same audio sounds the same each time."""
    chunk = ChunkAudio(job_name="job", index=0, start=1000.0, pcm=subject.speech + silence(1.0))

    def hear(chunk: ChunkAudio) -> tuple[LanguageWindow, ...]:
        return subject.engine.find_languages(chunk, by_stretch=by_stretch, is_cancelled=lambda: False)

    windows = hear(chunk)
    assert windows
    times = [time for window in windows for time in (window.start, window.end)]
    assert times == sorted(times)
    assert times[0] >= 1000.0
    assert times[-1] <= 1000.0 + chunk.duration + 0.001
    for window in windows:
        assert 0.0 < window.speech <= window.end - window.start + 0.001
        assert 0.0 < sum(window.probabilities.values()) <= 1.001
        assert window.probabilities.keys() <= WHISPER_LANGUAGES
    assert hear(chunk) == windows
    assert hear(ChunkAudio(job_name="job", index=1, start=0.0, pcm=silence(3.0))) == ()
    assert hear(ChunkAudio(job_name="job", index=2, start=0.0, pcm=b"")) == ()


def test_listening_for_languages_ends_when_it_is_cancelled(subject: Subject) -> None:
    """Nobody waits for what is not wanted any more."""
    chunk = ChunkAudio(job_name="job", index=0, start=0.0, pcm=subject.speech)
    with pytest.raises(Cancelled):
        subject.engine.find_languages(chunk, by_stretch=False, is_cancelled=lambda: True)


def test_every_engine_that_identifies_says_so(subject: Subject) -> None:
    """What is refused is refused before a recording is sent."""
    assert subject.engine.capabilities.options >= IDENTIFICATION_OPTIONS


def test_whisper_knows_in_which_language_each_of_our_recordings_is(model_folder: Path, clips: list[Clip]) -> None:
    """Three seconds are enough for these; in three of them joined each stretch has its own."""
    engine = LocalEngine(whisper_choice(model_folder, quality="fast"), processes=1)

    def hear(pcm: bytes, *, by_stretch: bool) -> tuple[LanguageWindow, ...]:
        chunk = ChunkAudio(job_name="job", index=0, start=0.0, pcm=pcm)
        return engine.find_languages(chunk, by_stretch=by_stretch, is_cancelled=lambda: False)

    by_name = {clip.path.stem: clip for clip in clips}
    try:
        for name in ("en-fox", "en-story", "es-park", "ja-train"):
            found = ranked(hear(read_clip(by_name[name].path), by_stretch=False))
            assert found[0].language_code == by_name[name].language_code
            assert (found[0].score or 0.0) > 0.5
        parts = [read_clip(by_name[name].path) + silence(0.5) for name in ("es-book", "en-story", "ja-weather")]
        joined = b"".join(parts)
        ends = np.cumsum([len(part) / BYTES_PER_SAMPLE / SAMPLE_RATE_HERTZ for part in parts]).tolist()
        spoken = stretches(hear(joined, by_stretch=True), (), start=0.0, end=ends[-1])
        assert [each.language_code for each in spoken] == ["es-ES", "en-US", "ja-JP"]
        assert [each.end for each in spoken] == pytest.approx(ends, abs=0.7)
    finally:
        engine.close()
