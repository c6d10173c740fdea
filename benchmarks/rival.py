"""The rival: bare faster-whisper 1.2.1 on the same weights, in a process of its own.

``python -m benchmarks.rival MODEL_FOLDER sequential|batched|words FILE...`` prints one JSON object: texts by file,
seconds of work without imports and model load, processor seconds, peak memory, and in the mode ``words`` (which is
sequential) each word with its times.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class RivalRun:
    """What one run of the rival gave."""

    texts: dict[str, str]
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    #: By file: each word, its start and end in seconds.
    words: dict[str, list[tuple[str, float, float]]] = field(default_factory=dict)


def run(
    model_folder: Path, mode: str, files: list[Path], *, languages: list[str] | None = None, hotwords: str = ""
) -> RivalRun:
    """Run the rival over these files, one after the other, and wait for it."""
    command = [sys.executable, "-m", "benchmarks.rival", str(model_folder), mode, *map(str, files)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "RIVAL_LANGUAGES": ",".join(languages or [])}
    environment["RIVAL_HOTWORDS"] = hotwords
    # A session of its own, as the engine's children have: the system shares a busy machine out by sessions.
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, start_new_session=True)
    return RivalRun(**json.loads(done.stdout))


def main() -> None:
    """Transcribe with faster-whisper's own defaults, or batched (8 windows, beam 5)."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model_folder, mode, *files = sys.argv[1:]
    languages = [each for each in os.environ.get("RIVAL_LANGUAGES", "").split(",") if each] or ["en"] * len(files)
    # The library's thread default and the figure that its own README uses for a machine of two cores are the same.
    model = WhisperModel(model_folder, device="cpu", compute_type="int8", cpu_threads=len(os.sched_getaffinity(0)))
    started, started_cpu = time.perf_counter(), time.process_time()
    texts, words = {}, {}
    for file, language in zip(files, languages, strict=True):
        if mode == "batched":
            segments, _ = BatchedInferencePipeline(model).transcribe(file, language=language, batch_size=8, beam_size=5)
        else:
            segments, _ = model.transcribe(
                file,
                language=language,
                word_timestamps=mode == "words",
                hotwords=os.environ.get("RIVAL_HOTWORDS") or None,
            )
        heard = list(segments)
        texts[file] = "".join(segment.text for segment in heard).strip()
        words[file] = [(word.word, word.start, word.end) for segment in heard for word in segment.words or ()]
    result = {
        "texts": texts,
        "wall_seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - started_cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "words": words,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
