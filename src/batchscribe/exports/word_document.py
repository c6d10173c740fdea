"""A Word document (``.docx``): a paragraph with its time, its speaker in bold, and what is said.

Paragraphs of Arabic, Hebrew and the like run from right to left.

Unlike the others it cannot be written piece by piece: the file is a ZIP archive around one XML document, which
python-docx builds in memory. ``benchmarks/formats.py`` says how much that takes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from io import BytesIO

from batchscribe.domain.transcript import Transcript
from batchscribe.exports.paragraphs import paragraphs
from batchscribe.exports.rendering import RenderOptions

_BLOCK_BYTES = 1 << 16
#: Characters that XML 1.0 (section 2.2) cannot hold; whatever an engine says, the document opens.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(transcript: Transcript, options: RenderOptions) -> Iterator[bytes]:
    """Yield the file in blocks."""
    from docx import Document
    from docx.oxml import OxmlElement

    document = Document()
    title = options.job_name or "Transcript"
    document.core_properties.title = title
    document.core_properties.author = "BatchScribe"
    document.core_properties.language = transcript.language_code
    document.add_heading(title, level=1)
    document.add_paragraph(f"{transcript.language_code} · {_clock(transcript.duration)}")
    for each in paragraphs(transcript):
        paragraph = document.add_paragraph()
        paragraph.add_run(f"[{_clock(each.start)}] ")
        if each.speaker:
            paragraph.add_run(f"{_plain(each.speaker)}: ").bold = True
        said = paragraph.add_run(_plain(each.text))
        if _is_right_to_left(each.text):
            paragraph.paragraph_format.element.get_or_add_pPr().append(OxmlElement("w:bidi"))
            said.font.rtl = True
    file = BytesIO()
    document.save(file)
    file.seek(0)
    while block := file.read(_BLOCK_BYTES):
        yield block


def _is_right_to_left(text: str) -> bool:
    """Whether a paragraph runs from right to left: its first letter does (Unicode Standard Annex 9, rule P2)."""
    directions = (unicodedata.bidirectional(character) for character in text)
    return next((each for each in directions if each in {"L", "R", "AL"}), "L") != "L"


def _clock(seconds: float) -> str:
    """Write a time as ``H:MM:SS``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _plain(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
