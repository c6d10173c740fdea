"""What a caller may say about how a transcript is rendered, and what several formats ask of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from batchscribe.domain.cues import CueLimits
from batchscribe.domain.transcript import Transcript
from batchscribe.errors import InvalidRequest

#: The words that a query may have beside ``format``, with the least and most they may say.
CUE_PARAMETERS: dict[str, tuple[float, float]] = {
    "max_line_characters": (10, 200),
    "max_lines": (1, 2),
    "min_cue_seconds": (0, 10),
    "max_cue_seconds": (1, 60),
    "max_characters_per_second": (5, 1000),
}
WHOLE_PARAMETERS = frozenset({"max_line_characters", "max_lines"})
#: What a row of a table may be.
CSV_ROWS = ("segment", "word")

_NUMBER = re.compile(r"[0-9]{1,100}(\.[0-9]{1,100})?([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    """How to render, and what the document says of where it comes from."""

    job_name: str = ""
    cues: CueLimits = field(default_factory=CueLimits)
    #: What a row of a table is: one of :data:`CSV_ROWS`.
    csv_rows: str = "segment"


def read_render_options(query: Mapping[str, str], *, job_name: str = "") -> RenderOptions:
    """Read a query's parameters; what is missing has its default. Raises InvalidRequest with a sentence."""
    given = {name: _number(name, query[name]) for name in CUE_PARAMETERS if name in query}
    standard = CueLimits()
    longest = given.get("max_cue_seconds", standard.longest)
    cues = replace(
        standard,
        line_columns=int(given.get("max_line_characters", standard.line_columns)),
        lines=int(given.get("max_lines", standard.lines)),
        shortest=min(given.get("min_cue_seconds", standard.shortest), longest),
        longest=longest,
        columns_per_second=given.get("max_characters_per_second", standard.columns_per_second),
    )
    rows = query.get("csv_rows", "segment")
    if rows not in CSV_ROWS:
        raise InvalidRequest(f"Invalid csv_rows. Must be one of: {', '.join(CSV_ROWS)}")
    return RenderOptions(job_name=job_name, cues=cues, csv_rows=rows)


def display_names(transcript: Transcript) -> dict[str, str]:
    """Return what people read for each label of a transcript."""
    return {speaker.label: speaker.display_name for speaker in transcript.speakers}


def _number(name: str, text: str) -> float:
    """Return a parameter's number. Raises InvalidRequest for one out of its range."""
    least, most = CUE_PARAMETERS[name]
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not least <= value <= most or (name in WHOLE_PARAMETERS and value != int(value)):
        kind = "whole number" if name in WHOLE_PARAMETERS else "number"
        raise InvalidRequest(f"Invalid {name}. Must be a {kind} from {least:g} to {most:g}")
    return value
