"""Doubts about segments, from the engine's own signs: said in a sentence, and nothing is left out for them."""

from __future__ import annotations

from dataclasses import replace

from batchscribe.domain.transcript import Quality, Segment

#: Whisper's own limits (``transcribe.py`` of its open model): text above the ratio repeats itself, a mean below the
#: probability is guessed, and a stretch above the last is taken for silence where the words are unsure as well.
LOOP_RATIO = 2.4
GUESS_LOG_PROBABILITY = -1.0
NO_SPEECH_PROBABILITY = 0.6
#: Words over a stretch that is probably silence are believed where they are surer than this.
UNSURE_LOG_PROBABILITY = -0.5
#: Above this probability, unsure words are doubted: singing and sounds are heard so, clear speech stays below.
DOUBTFUL_SPEECH_PROBABILITY = 0.3


def with_suspicions(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """Return the segments with a reason where their signs speak against one; a reason it has already stays."""
    return tuple(
        replace(segment, suspect=reason)
        if segment.suspect is None and segment.items and segment.quality and (reason := _reason(segment.quality))
        else segment
        for segment in segments
    )


def _reason(quality: Quality) -> str | None:
    is_silence = quality.no_speech_probability > NO_SPEECH_PROBABILITY
    if is_silence and quality.average_log_probability < UNSURE_LOG_PROBABILITY:
        return "Perhaps nobody speaks here."
    if quality.compression_ratio > LOOP_RATIO:
        return "The words repeat themselves."
    if quality.average_log_probability < GUESS_LOG_PROBABILITY:
        return "The words are mostly guessed."
    is_doubtful = quality.no_speech_probability > DOUBTFUL_SPEECH_PROBABILITY
    if is_doubtful and quality.average_log_probability < UNSURE_LOG_PROBABILITY:
        return "The words are unsure; perhaps this is singing or noise."
    return None
