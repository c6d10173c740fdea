"""The engine child: a process of one thread that loads a model once and recognises what its parent sends.

Started as ``python -P -m batchscribe.engines.child PARENT_PID`` with a stream socket as standard input. It takes frames
(``framing.py``) and answers each with one:

- first ``{"name": …, "arguments": …}``, the recogniser; answered ``{"max_batch": 8}``, or ``{"unavailable": SENTENCE}``
  and the end;
- ``{"do": "find_windows"}`` with a chunk's samples; answered ``{"windows": [[start, end, bucket], …]}``;
- ``{"do": "find_voices"}`` with a chunk's samples; answered ``{"voices": [VOICE_WINDOW, …]}`` as
  ``domain/voices.py`` writes them;
- ``{"do": "find_language"}`` or ``{"do": "find_languages"}`` (by stretch) with a chunk's samples; answered
  ``{"languages": [LANGUAGE_WINDOW, …]}`` as ``domain/identification.py`` writes them;
- ``{"do": "recognise", "bucket": 8, "vocabularies": [["Ann Lee", …], …], "windows": [{"size_bytes": …, "language":
  "en", "vocabulary": 0}, …]}`` with the windows' samples one after another; answered ``{"results": [[SEGMENT, …], …]}``
  with segments as ``wire.py`` writes them.

Every answer but ``unavailable`` carries ``rss_bytes``. Anything that goes wrong ends the process; its parent sees that.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from batchscribe.domain.identification import language_window_to_json
from batchscribe.domain.voices import voice_window_to_json
from batchscribe.engines.framing import Header, receive_frame, send_frame
from batchscribe.engines.recogniser import build_recogniser
from batchscribe.errors import ModelUnavailable
from batchscribe.wire import segment_to_json

if TYPE_CHECKING:
    from batchscribe.engines.recogniser import Recogniser

_NICENESS = 10
_PR_SET_PDEATHSIG = 1
#: Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def main() -> None:
    """Serve one parent until it closes the channel or dies."""
    _die_with_parent(int(sys.argv[1]))
    os.nice(_NICENESS)
    channel = _take_standard_input()
    try:
        header, _ = receive_frame(channel)
        try:
            recogniser = build_recogniser(header["name"], header["arguments"])
        except ModelUnavailable as error:
            send_frame(channel, {"unavailable": str(error)})
            return
        _keep_memory()
        send_frame(channel, {"max_batch": recogniser.max_batch, "rss_bytes": _rss_bytes()})
        while True:
            header, body = receive_frame(channel)
            answer = _answer(recogniser, header, body)
            send_frame(channel, answer | {"rss_bytes": _rss_bytes()})
    except (EOFError, ConnectionError):
        return  # The parent closed the channel: the ordinary end.


def _answer(recogniser: Recogniser, header: Header, body: bytearray) -> Header:
    """Do what one frame asks."""
    from batchscribe.engines.whisper import WindowAudio

    samples = np.frombuffer(body, dtype="<i2")
    if header["do"] == "find_windows":
        windows = recogniser.find_windows(samples)
        return {"windows": [[int(each.start), int(each.end), int(each.bucket)] for each in windows]}
    if header["do"] == "find_voices":
        return {"voices": [voice_window_to_json(each) for each in recogniser.find_voices(samples)]}
    if header["do"] in {"find_language", "find_languages"}:
        heard = recogniser.find_languages(samples, by_stretch=header["do"] == "find_languages")
        return {"languages": [language_window_to_json(each) for each in heard]}
    vocabularies = [tuple(phrases) for phrases in header["vocabularies"]]
    ends = np.cumsum([each["size_bytes"] // samples.itemsize for each in header["windows"]])
    batch = [
        WindowAudio(
            pcm=pcm, bucket=header["bucket"], language=each["language"], phrases=vocabularies[each["vocabulary"]]
        )
        for pcm, each in zip(np.split(samples, ends[:-1]), header["windows"], strict=True)
    ]
    results = recogniser.recognise(batch)
    return {"results": [[segment_to_json(segment) for segment in segments] for segments in results]}


def _take_standard_input() -> socket.socket:
    """Move the channel away from descriptor 0, so that no library reads from it."""
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    return channel


def _die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies; elsewhere than on Linux the channel's end must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)  # It died before we asked.


def _keep_memory() -> None:
    """Have glibc keep memory that was freed, from here on.

    Otherwise each large tensor is mapped and unmapped anew: a twelfth of all time goes into page faults. GLIBC_TUNABLES
    in the environment would do the same from the start, but then what only loading needed is kept too (400 MB).
    """
    libc = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(libc, "mallopt"):
        libc.malloc_trim(0)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _rss_bytes() -> int:
    """Return this process's resident memory; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
