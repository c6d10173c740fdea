"""Plain text: the running text, a paragraph to a line, with an empty line between paragraphs.

Where speakers are known, each paragraph begins with the name and a colon.
"""

from __future__ import annotations

from collections.abc import Iterator

from batchscribe.domain.transcript import Transcript
from batchscribe.exports.paragraphs import paragraphs
from batchscribe.exports.rendering import RenderOptions


def render(transcript: Transcript, _options: RenderOptions) -> Iterator[str]:
    """Yield the text a paragraph at a time; a recording without words gives none."""
    separator = ""
    for paragraph in paragraphs(transcript):
        who = f"{paragraph.speaker}: " if paragraph.speaker else ""
        yield f"{separator}{who}{paragraph.text}\n"
        separator = "\n"
