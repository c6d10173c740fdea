"""The native JSON format: everything the master transcript holds.

::

    {"schema": "batchscribe.transcript/1", "language_code": "en-US", "duration": 7.25, "text": "Hello, ...",
     "segments": [{"start": 0.31, "end": 2.08, "items": [...], "quality": {...}, "text": "Hello, ..."}, ...]}

``text`` is the running text of the recording, of the segment, or of a reading of ``alternatives``, which stand after
the segments where there are any. All else is the shape of a transcript in :mod:`batchscribe.wire`, whose reader reads
this document too. ``schema`` changes when a field changes its meaning; fields may be added without. There is one
segment to a line. ``transcript.schema.json`` describes it as JSON Schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchscribe.domain.transcript import Alternatives, Transcript
from batchscribe.exports.rendering import RenderOptions
from batchscribe.wire import segment_to_json, transcript_to_json
from batchscribe.wire_items import alternatives_to_json

SCHEMA = "batchscribe.transcript/1"
SCHEMA_FILE = Path(__file__).parent / "transcript.schema.json"


def render(transcript: Transcript, _options: RenderOptions) -> Iterator[str]:
    """Yield the document a line at a time."""
    bare = replace(transcript, segments=(), alternatives=())
    head = {"schema": SCHEMA, **transcript_to_json(bare), "text": transcript.text}
    del head["segments"]
    yield _write(head)[:-1] + ', "segments": ['
    separator = "\n"
    for segment in transcript.segments:
        yield separator + _write({**segment_to_json(segment), "text": segment.text})
        separator = ",\n"
    yield "\n]"
    separator = ', "alternatives": [\n'
    for each in transcript.alternatives:
        yield separator + _write(_with_texts(each))
        separator = ",\n"
    yield "\n]}\n" if transcript.alternatives else "}\n"


def _with_texts(alternatives: Alternatives) -> dict[str, Any]:
    """Return the readings of a stretch, each with its running text."""
    data = alternatives_to_json(alternatives)
    for reading, written in zip(alternatives.readings, data["readings"], strict=True):
        written["text"] = reading.text
    return data


def _write(data: dict[str, Any]) -> str:
    """Write one line of JSON."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False)
