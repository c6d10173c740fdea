"""The master transcript that every engine fills and every export renders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class ItemKind(Enum):
    """What an item is."""

    PRONUNCIATION = "pronunciation"
    PUNCTUATION = "punctuation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """The smallest timed unit: a word, or one mark of punctuation."""

    kind: ItemKind
    content: str
    #: Seconds from the recording's start. Punctuation has the end of the word before it twice.
    start: float
    end: float
    #: Probability (0 to 1) that the item is right; None where the engine gives none (punctuation).
    confidence: float | None = None
    #: Whether a space stands before the item in running text: the engine knows, whatever the language.
    space_before: bool = True
    #: The language that the item is said in, where the engine tells it of each item.
    language_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """An engine's own signs of how far a segment can be trusted."""

    #: Mean natural logarithm of the tokens' probabilities; near 0 is sure, below -1 is guessing.
    average_log_probability: float
    #: Length of the text over its length when compressed; above 2.4 it repeats itself.
    compression_ratio: float
    #: Probability (0 to 1) that the stretch holds no speech.
    no_speech_probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of speech by one speaker, in seconds from the recording's start."""

    start: float
    end: float
    items: tuple[Item, ...]
    quality: Quality | None = None
    #: The anonymous speaker of one transcript, such as ``spk_0``; None where speakers are not told apart.
    speaker_label: str | None = None
    #: The channel of the recording, such as ``ch_0``; None where channels are not transcribed apart.
    channel_label: str | None = None
    #: The language of the stretch, where it is told of each.
    language_code: str | None = None

    @property
    def text(self) -> str:
        """The running text of the segment."""
        return running_text(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What was said in a recording."""

    language_code: str
    #: Seconds of decoded audio.
    duration: float
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The running text of the whole recording: segments joined by a space, except where none belongs."""
        return running_text(tuple(item for segment in self.segments for item in segment.items))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """The result of one chunk: segments in seconds from the recording's start, within the chunk's stretch."""

    index: int
    segments: tuple[Segment, ...]


def running_text(items: tuple[Item, ...]) -> str:
    """Write items as running text."""
    return "".join((" " if item.space_before else "") + item.content for item in items).strip()


def shift_segment(segment: Segment, seconds: float) -> Segment:
    """Move a segment and all its items later by this many seconds."""
    items = tuple(replace(item, start=item.start + seconds, end=item.end + seconds) for item in segment.items)
    return replace(segment, start=segment.start + seconds, end=segment.end + seconds, items=items)


def join_fragments(fragments: list[Fragment], *, language_code: str, duration: float) -> Transcript:
    """Join the fragments of a recording's chunks, in any order, into one transcript."""
    ordered = sorted(fragments, key=lambda fragment: fragment.index)
    segments = tuple(segment for fragment in ordered for segment in fragment.segments)
    return Transcript(language_code=language_code, duration=duration, segments=segments)
