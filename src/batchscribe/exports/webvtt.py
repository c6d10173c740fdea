"""WebVTT subtitles (``.vtt``), after the W3C's "WebVTT: The Web Video Text Tracks Format".

Where speakers are known, every cue is a voice span (section 4.2.2) of its speaker.
"""

from __future__ import annotations

from collections.abc import Iterator

from batchscribe.domain.cues import lay_out_cues
from batchscribe.domain.transcript import Transcript
from batchscribe.exports.rendering import RenderOptions, display_names

#: Section 4.2.2: what may not stand in a cue's text as it is. ``>`` is among them so that ``-->`` never does.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def render(transcript: Transcript, options: RenderOptions) -> Iterator[str]:
    """Yield the header, then a cue at a time."""
    yield "WEBVTT\n"
    for cue in lay_out_cues(transcript.segments, options.cues, names=display_names(transcript)):
        voice = f"<v {cue.speaker.translate(_ESCAPES)}>" if cue.speaker else ""
        text = "\n".join(cue.lines).translate(_ESCAPES)
        yield f"\n{_timestamp(cue.start)} --> {_timestamp(cue.end)}\n{voice}{text}\n"


def _timestamp(seconds: float) -> str:
    """Write a time as ``HH:MM:SS.mmm``."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"
