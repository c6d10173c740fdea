"""When each word of a recording is said, by aligning its known text with PocketSphinx.

It shares nothing with Whisper: hidden Markov models over frames of 10 ms, which find the silences between words too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pocketsphinx
from numpy.typing import NDArray

_FRAME_SECONDS = 0.01
_NOT_A_WORD = re.compile(r"[<\[+]")


@dataclass(frozen=True)
class TrueWord:
    """A word as it is said, in seconds from the recording's start."""

    text: str
    start: float
    end: float
    #: Seconds of silence before it.
    pause: float


class Aligner:
    """Aligns English texts of which the dictionary knows every word."""

    def __init__(self) -> None:
        self._decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")

    def align(self, pcm: NDArray[np.int16], text: str) -> list[TrueWord] | None:
        """Return the words of a text with their times; None where a word is unknown or the text does not fit.

        ``pcm`` holds 16 kHz samples.
        """
        plain = plain_words(text)
        if re.search(r"\d", text) or any(self._decoder.lookup_word(word) is None for word in plain):
            return None
        self._decoder.set_align_text(" ".join(plain))
        self._decoder.start_utt()
        self._decoder.process_raw(pcm.tobytes(), full_utt=True)
        self._decoder.end_utt()
        found: list[TrueWord] = []
        spoken_until = 0.0
        for part in self._decoder.seg() or ():
            if _NOT_A_WORD.match(part.word):
                continue
            start, end = part.start_frame * _FRAME_SECONDS, (part.end_frame + 1) * _FRAME_SECONDS
            text = part.word.partition("(")[0]
            found.append(TrueWord(text=text, start=start, end=end, pause=start - spoken_until))
            spoken_until = end
        return found if len(found) == len(plain) else None


def plain_words(text: str) -> list[str]:
    """Return the words of an English text in lower case, without marks."""
    return re.findall(r"[a-z']+", text.lower().replace("\u2019", "'"))
