"""The native JSON format: everything the master transcript holds.

::

    {"schema": "batchscribe.transcript/1", "language_code": "en-US", "duration": 7.25, "text": "Hello, ...",
     "segments": [{"start": 0.31, "end": 2.08, "items": [...], "quality": {...}, "text": "Hello, ..."}, ...]}

``text`` is the running text of the recording, or of the segment. All else is the shape of a transcript in
:mod:`batchscribe.wire`, whose reader reads this document too. ``schema`` changes when a field changes its meaning;
fields may be added without. There is one segment to a line. ``transcript.schema.json`` describes it as JSON Schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchscribe.domain.transcript import Transcript
from batchscribe.exports.rendering import RenderOptions
from batchscribe.wire import segment_to_json, transcript_to_json

SCHEMA = "batchscribe.transcript/1"
SCHEMA_FILE = Path(__file__).parent / "transcript.schema.json"


def render(transcript: Transcript, _options: RenderOptions) -> Iterator[str]:
    """Yield the document a line at a time."""
    head = {"schema": SCHEMA, **transcript_to_json(replace(transcript, segments=())), "text": transcript.text}
    del head["segments"]
    yield _write(head)[:-1] + ', "segments": ['
    separator = "\n"
    for segment in transcript.segments:
        yield separator + _write({**segment_to_json(segment), "text": segment.text})
        separator = ",\n"
    yield "\n]}\n"


def _write(data: dict[str, Any]) -> str:
    """Write one line of JSON."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False)
