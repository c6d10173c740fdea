"""A transcript in paragraphs, for people who read: by speaker, and by pauses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from batchscribe.domain.cues import ends_sentence
from batchscribe.domain.transcript import Item, Transcript, running_text
from batchscribe.exports.rendering import display_names

#: Seconds of silence that end a paragraph after a sentence, and anywhere.
PAUSE_AFTER_SENTENCE_SECONDS = 1.5
PAUSE_ANYWHERE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """What one speaker says without a long pause."""

    #: Seconds from the recording's start.
    start: float
    text: str
    #: As people read it; None where nobody asked who speaks.
    speaker: str | None


def paragraphs(transcript: Transcript) -> Iterator[Paragraph]:
    """Yield one paragraph after another; none is empty."""
    names = display_names(transcript)
    pending: list[Item] = []
    speaker: str | None = None
    for segment in transcript.segments:
        label = segment.speaker_label or segment.channel_label
        speaks_now = None if label is None else names.get(label, label)
        for item in segment.items:
            if pending and (speaks_now != speaker or _is_end(pending, item.start - pending[-1].end)):
                yield from _paragraph(pending, speaker)
                pending = []
            speaker = speaks_now
            pending.append(item)
    yield from _paragraph(pending, speaker)


def _paragraph(items: list[Item], speaker: str | None) -> Iterator[Paragraph]:
    """Yield the paragraph of these items, unless it has no text."""
    text = " ".join(running_text(tuple(items)).split())
    if text:
        yield Paragraph(start=items[0].start, text=text, speaker=speaker)


def _is_end(items: list[Item], pause_seconds: float) -> bool:
    """Whether a paragraph ends after these items, which a pause follows."""
    if pause_seconds >= PAUSE_ANYWHERE_SECONDS:
        return True
    tail = "".join(item.content for item in items[-3:])
    return pause_seconds >= PAUSE_AFTER_SENTENCE_SECONDS and ends_sentence(tail)
