"""Export formats: each renders the master transcript, piece by piece.

A new format is one module with a ``render`` function and one line in :data:`FORMATS`; the routes, the command line and
the contract suite take it from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from batchscribe.domain.transcript import Transcript
from batchscribe.exports import (
    aws_json,
    native_json,
    openai_json,
    plain_text,
    spreadsheet,
    subrip,
    webvtt,
    word_document,
)
from batchscribe.exports.rendering import RenderOptions

__all__ = ["FORMATS", "Export", "RenderOptions"]


class Renderer(Protocol):
    """Writes a transcript in one format."""

    def __call__(self, transcript: Transcript, options: RenderOptions, /) -> Iterable[str] | Iterable[bytes]:
        """Yield the document piece by piece, text to be encoded as UTF-8. Never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One export format."""

    #: As a caller names it in ``?format=``.
    name: str
    #: Of a file name, without the dot.
    extension: str
    content_type: str
    renderer: Renderer

    def render(self, transcript: Transcript, options: RenderOptions | None = None) -> Iterator[bytes]:
        """Yield the file's bytes, piece by piece."""
        for piece in self.renderer(transcript, options or RenderOptions()):
            yield piece.encode() if isinstance(piece, str) else piece


_JSON = "application/json"
_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

FORMATS: dict[str, Export] = {
    each.name: each
    for each in (
        Export(name="json", extension="json", content_type=_JSON, renderer=native_json.render),
        Export(name="txt", extension="txt", content_type="text/plain; charset=utf-8", renderer=plain_text.render),
        Export(name="srt", extension="srt", content_type="application/x-subrip; charset=utf-8", renderer=subrip.render),
        Export(name="vtt", extension="vtt", content_type="text/vtt; charset=utf-8", renderer=webvtt.render),
        Export(name="aws", extension="json", content_type=_JSON, renderer=aws_json.render),
        Export(name="openai", extension="json", content_type=_JSON, renderer=openai_json.render),
        Export(name="csv", extension="csv", content_type="text/csv; charset=utf-8", renderer=spreadsheet.render),
        Export(name="docx", extension="docx", content_type=_DOCX, renderer=word_document.render),
    )
}
