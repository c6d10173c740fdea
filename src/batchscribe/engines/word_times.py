"""When words are said: Whisper's alignment, put right by the loudness of the audio.

The alignment (cross-attention, dynamic time warping) has two habits: a word begins where the one before it ended, so
that it takes in the pause between them, and every border is a little early. Both were measured against PocketSphinx's
alignment of the known text (``benchmarks/word_times.py``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.domain.transcript import Item, ItemKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Loudness is looked at in frames of this many samples.
_LEVEL_SAMPLES = 320
_LEVEL_SECONDS = _LEVEL_SAMPLES / SAMPLE_RATE_HERTZ
#: How much too early the alignment is on average.
EARLY_SECONDS = 0.03
#: A frame is quiet below this share of the loud frames' level; so many quiet frames (0.16 s) are a pause.
_QUIET_SHARE = 0.06
_PAUSE_FRAMES = 8
#: Where there is noise, quiet is what is below twice the quietest frames' level, up to this share of the loud ones'.
_NOISE_FACTOR = 2.0
_NOISY_QUIET_SHARE = 0.2
_SHORTEST_WORD_FRAMES = 4
#: A gap after a word, in seconds, from which on the word's end is looked for in the audio, and how far.
_GAP_SECONDS = 0.1
_LONGEST_FADE_FRAMES = 25


def sharpened(items: list[Item], pcm: NDArray[np.int16]) -> list[Item]:
    """Take pauses out of words, and let those before a pause end where their sound does.

    ``pcm`` holds the 16 kHz samples that the items' times count from; times may leave it by a little.
    """
    is_quiet = _quiet_frames(pcm)
    if len(is_quiet) == 0:
        return items
    items = [_begun_after_pause(_later(item), is_quiet) for item in items]
    following = len(is_quiet) * _LEVEL_SECONDS
    for place in range(len(items) - 1, -1, -1):
        item = items[place]
        if item.kind is ItemKind.PRONUNCIATION:
            items[place] = _ended_with_sound(item, following, is_quiet)
            following = item.start
    return items


def _quiet_frames(pcm: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Return for each frame whether it is quiet beside the recording's speech."""
    frames = len(pcm) // _LEVEL_SAMPLES
    if frames == 0:
        return np.zeros(0, dtype=np.bool_)
    levels = np.abs(pcm[: frames * _LEVEL_SAMPLES].astype(np.int32)).reshape(frames, _LEVEL_SAMPLES).mean(axis=1)
    quietest, loud = np.quantile(levels, (0.05, 0.95))
    limit = max(_QUIET_SHARE * loud, min(_NOISE_FACTOR * quietest, _NOISY_QUIET_SHARE * loud))
    return np.asarray(levels < limit)


def _later(item: Item) -> Item:
    return replace(item, start=item.start + EARLY_SECONDS, end=item.end + EARLY_SECONDS)


def _begun_after_pause(item: Item, is_quiet: NDArray[np.bool_]) -> Item:
    """Let a word begin after the last pause within it, so long as enough of the word is left."""
    if item.kind is not ItemKind.PRONUNCIATION:
        return item
    first, last = int(item.start / _LEVEL_SECONDS), min(int(item.end / _LEVEL_SECONDS), len(is_quiet))
    run = sound = 0
    start = first
    for frame in range(first, last - _SHORTEST_WORD_FRAMES):
        run, sound = (run + 1, sound) if is_quiet[frame] else (0, sound + 1)
        # After sound, a pause that reaches to the end is one behind the word.
        if run >= _PAUSE_FRAMES and (sound < _PAUSE_FRAMES or not is_quiet[frame + 1 : last].all()):
            start = frame + 1
    return item if start == first else replace(item, start=start * _LEVEL_SECONDS)


def _ended_with_sound(item: Item, following: float, is_quiet: NDArray[np.bool_]) -> Item:
    """Let a word that is followed by a gap end where its sound ends; ``following`` is where the next one begins."""
    frame = int(item.end / _LEVEL_SECONDS)
    if following - item.end < _GAP_SECONDS or frame >= len(is_quiet):
        return item
    if is_quiet[frame]:
        earliest = int(item.start / _LEVEL_SECONDS) + _SHORTEST_WORD_FRAMES
        while frame > earliest and is_quiet[frame - 1]:
            frame -= 1
    else:
        latest = min(int(following / _LEVEL_SECONDS), frame + _LONGEST_FADE_FRAMES, len(is_quiet))
        while frame < latest and not is_quiet[frame]:
            frame += 1
    return replace(item, end=min(frame * _LEVEL_SECONDS, following))
