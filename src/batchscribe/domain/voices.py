"""Who can be heard when, before anybody is told apart over the whole recording."""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Numbers in a voice's vector, and how each is kept (numpy's name): half precision, little-endian.
VECTOR_SIZE = 192
VECTOR_TYPE = "<f2"
#: Digits after the point of seconds that are kept.
_DIGITS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One speaker within one window: the same person is another voice in every window."""

    #: When the voice is heard, as pairs of seconds from the recording's start, in order.
    turns: tuple[tuple[float, float], ...]
    #: Seconds of speech that the vector was made from.
    seconds: float
    #: What the voice sounds like: :data:`VECTOR_SIZE` numbers of :data:`VECTOR_TYPE`; empty where too little was said.
    vector: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceWindow:
    """A stretch of a recording in which voices were told apart; the windows of a chunk overlap."""

    #: Seconds from the recording's start.
    start: float
    end: float
    voices: tuple[Voice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerTurn:
    """A stretch in which one speaker speaks, in seconds from the recording's start; turns of two may overlap."""

    start: float
    end: float
    #: 0 is the first speaker of the recording.
    speaker: int


def one_sided_vector(number: int) -> bytes:
    """Return a vector of length 1 that has nothing in common with those of most other numbers: for scripted voices."""
    values = [0.0] * VECTOR_SIZE
    values[number % VECTOR_SIZE] = 1.0
    return struct.pack(f"<{VECTOR_SIZE}e", *values)


def shift_voice_window(window: VoiceWindow, seconds: float) -> VoiceWindow:
    """Move a window and its turns later by this many seconds."""
    voices = tuple(
        Voice(
            turns=tuple((start + seconds, end + seconds) for start, end in voice.turns),
            seconds=voice.seconds,
            vector=voice.vector,
        )
        for voice in window.voices
    )
    return VoiceWindow(start=window.start + seconds, end=window.end + seconds, voices=voices)


def voice_window_to_json(window: VoiceWindow) -> dict[str, Any]:
    """Return a window of voices as values that :mod:`json` can write; a vector is base64 of its bytes."""
    return {
        "start": round(window.start, _DIGITS),
        "end": round(window.end, _DIGITS),
        "voices": [
            {
                "turns": [[round(start, _DIGITS), round(end, _DIGITS)] for start, end in voice.turns],
                "seconds": round(voice.seconds, _DIGITS),
                "vector": b64encode(voice.vector).decode(),
            }
            for voice in window.voices
        ],
    }


def voice_window_from_json(data: Mapping[str, Any]) -> VoiceWindow:
    """Return the window that :func:`voice_window_to_json` wrote. Raises KeyError, TypeError or ValueError."""
    voices = tuple(
        Voice(
            turns=tuple((float(start), float(end)) for start, end in voice["turns"]),
            seconds=float(voice["seconds"]),
            vector=b64decode(voice["vector"], validate=True),
        )
        for voice in data["voices"]
    )
    return VoiceWindow(start=float(data["start"]), end=float(data["end"]), voices=voices)
