"""SubRip subtitles (``.srt``). The format has no standard; this is what players agree on.

Where speakers are known, the first cue of every turn begins with the name and a colon.
"""

from __future__ import annotations

from collections.abc import Iterator

from batchscribe.domain.cues import lay_out_cues
from batchscribe.domain.transcript import Transcript
from batchscribe.exports.rendering import RenderOptions, display_names


def render(transcript: Transcript, options: RenderOptions) -> Iterator[str]:
    """Yield a cue at a time; a recording without words gives none."""
    names = display_names(transcript)
    cues = lay_out_cues(transcript.segments, options.cues, names=names, writes_names=True)
    for number, cue in enumerate(cues, start=1):
        # SubRip has no escapes, and this mark would read as a line of times.
        text = "\n".join(cue.lines).replace("-->", "→")
        yield f"{number}\n{_timestamp(cue.start)} --> {_timestamp(cue.end)}\n{text}\n\n"


def _timestamp(seconds: float) -> str:
    """Write a time as ``HH:MM:SS,mmm``."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02},{milliseconds % 1000:03}"
