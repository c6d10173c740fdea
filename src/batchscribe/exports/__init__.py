"""Export formats: each renders the master transcript as text.

A new format is one module with a ``render`` function and one line in :data:`FORMATS`; the routes, the command line and
the contract suite take it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from batchscribe.domain.transcript import Transcript
from batchscribe.exports import native_json, plain_text, subrip, webvtt


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One export format."""

    #: As a caller names it in ``?format=``.
    name: str
    #: Of a file name, without the dot.
    extension: str
    content_type: str
    #: Yields the document piece by piece; joined and encoded as UTF-8 they are the file. Never raises.
    render: Callable[[Transcript], Iterator[str]]


FORMATS: dict[str, Export] = {
    each.name: each
    for each in (
        Export(name="json", extension="json", content_type="application/json", render=native_json.render),
        Export(name="txt", extension="txt", content_type="text/plain; charset=utf-8", render=plain_text.render),
        Export(name="srt", extension="srt", content_type="application/x-subrip; charset=utf-8", render=subrip.render),
        Export(name="vtt", extension="vtt", content_type="text/vtt; charset=utf-8", render=webvtt.render),
    )
}
