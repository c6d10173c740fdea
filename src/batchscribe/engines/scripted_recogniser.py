"""A recogniser without a model, to see what the pool does when a child crashes, hangs or is slow.

Its audio is made of stretches of one constant sample value: each stretch is a window, 0 is silence, and the window of
value 7 says "w7", or as a phrase has it: "W7". What else happens to a value is told by ``acts``.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from batchscribe.domain.identification import LanguageWindow
from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.domain.transcript import Item, ItemKind, Segment
from batchscribe.domain.voices import Voice, VoiceWindow, one_sided_vector
from batchscribe.engines.recogniser import RecogniserChoice
from batchscribe.engines.windows import Window
from batchscribe.errors import ModelUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from batchscribe.engines.whisper import WindowAudio


def scripted_choice(
    *,
    acts: dict[int, str] | None = None,
    max_batch: int = 4,
    seconds_per_window: float = 0.0,
    diary: Path | None = None,
    unavailable: str | None = None,
    dies_at_start: bool = False,
) -> RecogniserChoice:
    """Choose the scripted recogniser.

    ``acts`` says what happens when a sample value is recognised: ``crash`` (killed by a signal), ``crash once`` (the
    first time, by the diary), ``hang``, ``raise``; ``crash at cut`` when it is looked for. ``diary`` is a file to which
    each batch adds a line of JSON: process id, values, bucket. ``unavailable`` is the sentence with which the model
    cannot be loaded.
    """
    arguments = {
        "acts": {str(value): act for value, act in (acts or {}).items()},
        "max_batch": max_batch,
        "seconds_per_window": seconds_per_window,
        "diary": None if diary is None else str(diary),
        "unavailable": unavailable,
        "dies_at_start": dies_at_start,
    }
    return RecogniserChoice(name="scripted", model="scripted", arguments=arguments)


class ScriptedRecogniser:
    """Says which sample values it was given; see :func:`scripted_choice` for the arguments."""

    def __init__(
        self,
        *,
        acts: dict[str, str],
        max_batch: int,
        seconds_per_window: float,
        diary: str | None,
        unavailable: str | None,
        dies_at_start: bool,
    ) -> None:
        if dies_at_start:
            _crash()
        if unavailable is not None:
            raise ModelUnavailable(unavailable)
        self.max_batch = max_batch
        self._acts = {int(value): act for value, act in acts.items()}
        self._seconds_per_window = seconds_per_window
        self._diary = None if diary is None else Path(diary)

    def find_windows(self, pcm: NDArray[np.int16]) -> list[Window]:
        """Return each stretch of one value but 0; a window's bucket is its length in seconds, rounded up."""
        borders = [0, *(np.flatnonzero(np.diff(pcm)) + 1).tolist(), len(pcm)]
        windows = []
        for start, end in pairwise(borders):
            if pcm[start] == 0:
                continue
            if self._acts.get(int(pcm[start])) == "crash at cut":
                _crash()
            windows.append(Window(start=start, end=end, bucket=math.ceil((end - start) / SAMPLE_RATE_HERTZ)))
        return windows

    def find_voices(self, pcm: NDArray[np.int16]) -> tuple[VoiceWindow, ...]:
        """Return one voice for each stretch of one value but 0; the same value is the same voice."""
        voices = []
        for window in self.find_windows(pcm):
            start, end = window.start / SAMPLE_RATE_HERTZ, window.end / SAMPLE_RATE_HERTZ
            vector = one_sided_vector(int(pcm[window.start]))
            voice = Voice(turns=((start, end),), seconds=end - start, vector=vector)
            voices.append(VoiceWindow(start=start, end=end, voices=(voice,)))
        return tuple(voices)

    def find_languages(self, pcm: NDArray[np.int16], *, by_stretch: bool) -> tuple[LanguageWindow, ...]:  # noqa: ARG002
        """Hear English in stretches of an odd value and Spanish in those of an even one; both ways the same."""
        return tuple(
            LanguageWindow(
                start=window.start / SAMPLE_RATE_HERTZ,
                end=window.end / SAMPLE_RATE_HERTZ,
                speech=(window.end - window.start) / SAMPLE_RATE_HERTZ,
                probabilities={"en": 0.9, "es": 0.1} if int(pcm[window.start]) % 2 else {"en": 0.1, "es": 0.9},
            )
            for window in self.find_windows(pcm)
        )

    def recognise(self, windows: list[WindowAudio]) -> list[tuple[Segment, ...]]:
        """Return one word a window, or do what the script says."""
        values = [int(window.pcm[0]) for window in windows]
        met_before = self._diary is not None and self._diary.exists() and self._diary.read_text()
        if self._diary is not None:
            with self._diary.open("a") as diary:
                diary.write(json.dumps({"pid": os.getpid(), "values": values, "bucket": windows[0].bucket}) + "\n")
        for value in values:
            self._act(self._acts.get(value), is_first=f"{value}" not in str(met_before))
        time.sleep(self._seconds_per_window * len(windows))
        return [
            _say(_spelt(f"w{value}", window.phrases), len(window.pcm))
            for value, window in zip(values, windows, strict=True)
        ]

    @staticmethod
    def _act(act: str | None, *, is_first: bool) -> None:
        """Do what the script says of one value."""
        if act == "crash" or (act == "crash once" and is_first):
            _crash()
        if act == "raise":
            raise RuntimeError("The script says so.")
        while act == "hang":
            time.sleep(1.0)


def _say(word: str, samples: int) -> tuple[Segment, ...]:
    """Return one word that lasts as long as its window."""
    end = samples / SAMPLE_RATE_HERTZ
    item = Item(kind=ItemKind.PRONUNCIATION, content=word, start=0.0, end=end, confidence=1.0)
    return (Segment(start=0.0, end=end, items=(item,)),)


def _spelt(word: str, phrases: tuple[str, ...]) -> str:
    """Return a word as a phrase spells it, if one does."""
    return next((phrase for phrase in phrases if phrase.casefold() == word), word)


def _crash() -> None:
    """End this process as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
