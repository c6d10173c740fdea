"""Plain text: the running text, a paragraph to a line, with an empty line between paragraphs."""

from __future__ import annotations

from collections.abc import Iterator

from batchscribe.domain.cues import ends_sentence
from batchscribe.domain.transcript import Item, Transcript, running_text

#: Seconds of silence that end a paragraph after a sentence, and anywhere.
PAUSE_AFTER_SENTENCE_SECONDS = 1.5
PAUSE_ANYWHERE_SECONDS = 5.0


def render(transcript: Transcript) -> Iterator[str]:
    """Yield the text a paragraph at a time; a recording without words gives none."""
    separator = ""
    for items in _paragraphs(transcript):
        text = " ".join(running_text(items).split())
        if text:
            yield f"{separator}{text}\n"
            separator = "\n"


def _paragraphs(transcript: Transcript) -> Iterator[tuple[Item, ...]]:
    """Yield the items of one paragraph after another."""
    pending: list[Item] = []
    for segment in transcript.segments:
        for item in segment.items:
            if pending and _is_paragraph_end(pending, item.start - pending[-1].end):
                yield tuple(pending)
                pending = []
            pending.append(item)
    yield tuple(pending)


def _is_paragraph_end(items: list[Item], pause_seconds: float) -> bool:
    """Whether a paragraph ends after these items, which a pause follows."""
    if pause_seconds >= PAUSE_ANYWHERE_SECONDS:
        return True
    tail = "".join(item.content for item in items[-3:])
    return pause_seconds >= PAUSE_AFTER_SENTENCE_SECONDS and ends_sentence(tail)
