"""Processor seconds and memory to finish and to render a transcript of four hours, in every format.

Each is measured in a process of its own: its peak above what the same process needs to hold the transcript. With
``python -m benchmarks.formats FOLDER`` every document is written there too, to be opened with other programs.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

from batchscribe.domain.options import PATTERN_TYPES, TranscriptionOptions
from batchscribe.domain.transcript import Item, ItemKind, Quality, Segment, Transcript, with_speakers
from batchscribe.exports import FORMATS
from batchscribe.finishing import finished

HOURS = 4.0
SENTENCE = (
    "Last summer we spent two weeks in a small village by the sea, and every morning the fishing boats came home. "
    "Call me at 415-555-2671 or write to ann@example.com, she said."
)


def conversation(hours: float = HOURS) -> Transcript:
    """Return a conversation of two speakers, two and a half words a second, without end."""
    words = SENTENCE.split()
    segments: list[Segment] = []
    time_now = 0.0
    quality = Quality(average_log_probability=-0.2, compression_ratio=1.4, no_speech_probability=0.01)
    while time_now < hours * 3600:
        items: list[Item] = []
        for word in words:
            bare = word.rstrip(",.")
            end = round(time_now + 0.35, 3)
            items.append(Item(kind=ItemKind.PRONUNCIATION, content=bare, start=time_now, end=end, confidence=0.93))
            items.extend(
                Item(kind=ItemKind.PUNCTUATION, content=mark, start=end, end=end, space_before=False)
                for mark in word[len(bare) :]
            )
            time_now = round(time_now + 0.4, 3)
        speaker = f"spk_{len(segments) % 2}"
        segments.append(
            Segment(start=items[0].start, end=items[-1].end, items=tuple(items), quality=quality, speaker_label=speaker)
        )
        time_now = round(time_now + 0.5, 3)
    return with_speakers(Transcript(language_code="en-US", duration=time_now, segments=tuple(segments)))


def measured(name: str, folder: str | None) -> str:
    """Return the row of one format, or of finishing, measured in this process."""
    transcript = conversation()
    before_bytes = _peak_bytes()
    began = time.process_time()
    size = 0
    if name == "finishing":
        words = [f"word{number}" for number in range(5000)]
        options = TranscriptionOptions(
            redact_types=tuple(sorted(PATTERN_TYPES)),
            vocabulary_filter_name="many",
            vocabulary_filter_method="mask",
        )
        finished(transcript, options, words)
    elif folder is None:
        size = sum(len(piece) for piece in FORMATS[name].render(transcript))
    else:
        target = Path(folder) / f"four-hours-{name}.{FORMATS[name].extension}"
        with target.open("wb") as file:
            for piece in FORMATS[name].render(transcript):
                size += file.write(piece)
    seconds = time.process_time() - began
    return f"| {name} | {seconds:.2f} | {(_peak_bytes() - before_bytes) / 1e6:.0f} | {size / 1e6:.2f} |"


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(folder: str | None = None) -> None:
    """Print a row a format."""
    whole = conversation()
    items = sum(len(segment.items) for segment in whole.segments)
    print(f"{HOURS:g} hours, {len(whole.segments)} segments, {items} items\n")
    print("| format | CPU s | MB of memory above the transcript | MB of document |")
    print("|---|---|---|---|")
    for name in (*FORMATS, "finishing"):
        command = [sys.executable, "-m", "benchmarks.formats", "--one", name, *([folder] if folder else [])]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(measured(sys.argv[2], next(iter(sys.argv[3:]), None)))
    else:
        main(next(iter(sys.argv[1:]), None))
