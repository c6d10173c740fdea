"""The master transcript that every engine fills and every export renders."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from batchscribe.domain.voices import VoiceWindow
from batchscribe.errors import InvalidRequest

_OPENING_CATEGORIES = frozenset({"Ps", "Pi"})
_OPENING_MARKS = frozenset("¿¡")


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
    #: Where several languages are spoken; None means that of the segment.
    language_code: str | None = None
    #: The class of what was taken out here, such as ``EMAIL``; ``content`` then says only that something was.
    redaction: str | None = None
    #: Whether a vocabulary filter of the method ``tag`` names the word.
    is_filter_match: bool = False


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
    #: Who speaks: ``spk_0`` is the first speaker of the transcript.
    speaker_label: str | None = None
    #: The channel of the recording, where each was transcribed apart: ``ch_0`` is the first.
    channel_label: str | None = None
    #: Where several languages are spoken; None means that of the transcript.
    language_code: str | None = None
    #: Why the words may not have been said, in a sentence; None where nothing speaks against them.
    suspect: str | None = None

    @property
    def text(self) -> str:
        """The running text of the segment."""
        return running_text(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """A speaker, or a channel, with the name that somebody gave it."""

    #: ``spk_0`` or ``ch_0``.
    label: str
    #: None until it is given one.
    name: str | None = None

    @property
    def display_name(self) -> str:
        """What people read: the name, or ``Speaker 1`` for ``spk_0`` and ``Channel 1`` for ``ch_0``."""
        if self.name:
            return self.name
        kind, _, number = self.label.partition("_")
        word = {"spk": "Speaker", "ch": "Channel"}.get(kind)
        return f"{word} {int(number) + 1}" if word and number.isascii() and number.isdecimal() else self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenLanguage:
    """A language that was identified in a recording."""

    language_code: str
    #: Probability (0 to 1); None where the engine gives none.
    score: float | None = None
    #: Seconds in which it is spoken; None where one language was identified for the whole.
    duration: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One way to hear a stretch: words and marks as in a segment."""

    items: tuple[Item, ...]

    @property
    def text(self) -> str:
        """The running text of the reading."""
        return running_text(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternatives:
    """A stretch with the ways in which an engine can hear it, in seconds; stretches need not be the segments."""

    start: float
    end: float
    #: The likeliest first.
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What was said in a recording."""

    language_code: str
    #: Seconds of decoded audio.
    duration: float
    segments: tuple[Segment, ...]
    #: Speakers and channels, each once, in order; without them nobody asked who speaks.
    speakers: tuple[Speaker, ...] = ()
    #: What was identified, the surest or longest first; empty where nobody asked.
    languages: tuple[SpokenLanguage, ...] = ()
    #: Whether redaction was asked for, found or not.
    is_redacted: bool = False
    #: What else may have been said, by stretches in order; only of an engine that knows, where somebody asked.
    alternatives: tuple[Alternatives, ...] = ()

    @property
    def text(self) -> str:
        """The running text of the whole recording: segments joined by a space, except where none belongs."""
        return running_text(tuple(item for segment in self.segments for item in segment.items))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """The result of one chunk: segments in seconds from the recording's start, within the chunk's stretch."""

    index: int
    segments: tuple[Segment, ...]
    #: Who can be heard, where it was asked who speaks.
    voices: tuple[VoiceWindow, ...] = ()


def is_opening(mark: str) -> bool:
    """Whether a mark of one character belongs to the word after it: an opening bracket or quotation mark, ``¿``."""
    return mark in _OPENING_MARKS or unicodedata.category(mark) in _OPENING_CATEGORIES


def take_openings(items: list[Item], following: Item) -> list[Item]:
    """Take the marks off the end of ``items`` that belong to the word after them; return them with its beginning."""
    count = len(items)
    while count and items[count - 1].kind is ItemKind.PUNCTUATION and is_opening(items[count - 1].content[-1]):
        count -= 1
    taken = [replace(mark, start=following.start, end=following.start) for mark in items[count:]]
    del items[count:]
    return taken


def running_text(items: tuple[Item, ...]) -> str:
    """Write items as running text."""
    return "".join((" " if item.space_before else "") + item.content for item in items).strip()


def shift_segment(segment: Segment, seconds: float) -> Segment:
    """Move a segment and all its items later by this many seconds."""
    items = tuple(replace(item, start=item.start + seconds, end=item.end + seconds) for item in segment.items)
    return replace(segment, start=segment.start + seconds, end=segment.end + seconds, items=items)


def join_segments(one: tuple[Segment, ...], other: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """Join two runs of segments, each in order, by their starts; at the same time, one's come first.

    Associative: however many are joined, and in whichever pairs, the result is the same.
    """
    return tuple(sorted((*one, *other), key=lambda segment: segment.start))


def join_fragments(fragments: list[Fragment], *, language_code: str, duration: float) -> Transcript:
    """Join the fragments of a recording's chunks, in any order, into one transcript."""
    ordered = sorted(fragments, key=lambda fragment: fragment.index)
    segments = tuple(segment for fragment in ordered for segment in fragment.segments)
    return with_speakers(
        Transcript(language_code=language_code, duration=duration, segments=join_segments(segments, ()))
    )


def with_speakers(transcript: Transcript) -> Transcript:
    """Return the transcript with every label of its segments among its speakers; those known already stay."""
    known = {speaker.label: speaker for speaker in transcript.speakers}
    for segment in transcript.segments:
        for label in (segment.speaker_label, segment.channel_label):
            if label is not None:
                known.setdefault(label, Speaker(label=label))
    return replace(transcript, speakers=tuple(known[label] for label in sorted(known, key=_label_order)))


def with_names(transcript: Transcript, names: Mapping[str, str]) -> Transcript:
    """Return the transcript with these names, by label."""
    speakers = tuple(replace(each, name=names.get(each.label, each.name)) for each in transcript.speakers)
    return replace(transcript, speakers=speakers)


def check_labels(transcript: Transcript, labels: Iterable[str]) -> None:
    """Raise InvalidRequest for a label that is no speaker's and no channel's."""
    known = {speaker.label for speaker in transcript.speakers}
    unknown = next((label for label in labels if label not in known), None)
    if unknown is not None:
        there = ", ".join(sorted(known, key=_label_order)) or "nobody, because nobody asked who speaks"
        raise InvalidRequest(f"There is no speaker {unknown[:50]!r} in this transcript. It has: {there}")


def _label_order(label: str) -> tuple[int, int, str]:
    """Sort ``spk_10`` after ``spk_2``, and channels after speakers."""
    kind, _, number = label.partition("_")
    return (kind != "spk", int(number) if number.isascii() and number.isdecimal() else 0, label)
