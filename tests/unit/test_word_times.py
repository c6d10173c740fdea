"""Times of words put right by the loudness of the audio."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from batchscribe.domain.ports import SAMPLE_RATE_HERTZ
from batchscribe.domain.transcript import Item, ItemKind
from batchscribe.engines.word_times import sharpened


def sound(*parts: tuple[float, int]) -> NDArray[np.int16]:
    """Return stretches of so many seconds of noise at these levels."""
    chance = np.random.default_rng(5)
    noises = [chance.choice((-1, 1), round(seconds * SAMPLE_RATE_HERTZ)) * level for seconds, level in parts]
    return np.concatenate(noises).astype(np.int16)


def word(start: float, end: float) -> Item:
    """Return a word at these times."""
    return Item(kind=ItemKind.PRONUNCIATION, content="go", start=start, end=end, confidence=1.0)


@pytest.mark.parametrize("quiet", [0, 20, 700])
def test_a_word_begins_after_the_pause_that_the_alignment_gave_it(quiet: int) -> None:
    """Half a second of silence, or of noise, at a word's start is taken away from it."""
    (sharp,) = sharpened([word(0.0, 1.0)], sound((0.5, quiet), (0.5, 9_000)))
    assert sharp.start == pytest.approx(0.5, abs=0.03)
    assert sharp.end == pytest.approx(1.0, abs=0.05)


def test_a_word_before_a_pause_ends_with_its_sound() -> None:
    """Whether the alignment ended it too late or too soon."""
    pcm = sound((1.0, 9_000), (1.0, 0), (1.0, 9_000))
    for end in (0.8, 1.3):
        sharp, _ = sharpened([word(0.5, end), word(2.0, 3.0)], pcm)
        assert sharp.end == pytest.approx(1.0, abs=0.03)


def test_words_that_touch_keep_touching() -> None:
    """Within steady speech there is nothing to go by, and nothing is torn apart."""
    one, two = sharpened([word(0.5, 1.0), word(1.0, 1.5)], sound((2.0, 9_000)))
    assert one.end == two.start


def test_times_outside_the_audio_do_no_harm() -> None:
    """An alignment may end behind the last sample; a scrap of audio tells nothing."""
    assert [item.content for item in sharpened([word(1.5, 4.0)], sound((2.0, 9_000)))] == ["go"]
    assert sharpened([word(0.0, 0.01)], sound((0.01, 9_000))) == [word(0.0, 0.01)]
