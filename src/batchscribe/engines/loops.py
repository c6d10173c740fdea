"""Cuts loops: now and then Whisper says the same phrase again and again, where it was said once or not at all."""

from __future__ import annotations

#: A phrase that comes this often in a row is said by nobody; a long one, of so many tokens, need not come so often.
_REPETITIONS = 5
_LONG_PHRASE_TOKENS = 5
_LONG_PHRASE_REPETITIONS = 3


def without_loops(tokens: list[int]) -> list[int]:
    """Return the tokens with each phrase that is repeated in a row kept once.

    Only for texts that are known to repeat themselves: people do say "no, no, no, no, no".
    """
    kept: list[int] = []
    place = 0
    while place < len(tokens):
        size, times = _longest_loop(tokens, place)
        if times:
            kept += tokens[place : place + size]
            place += size * times
            # The search is often cut off within the phrase.
            rest = tokens[place:]
            if rest == tokens[place - size : place][: len(rest)]:
                break
        else:
            kept.append(tokens[place])
            place += 1
    return kept


def _longest_loop(tokens: list[int], place: int) -> tuple[int, int]:
    """Return the length of the phrase that loops from here on, and how often it comes; zeros for none."""
    for size in range(1, (len(tokens) - place) // _LONG_PHRASE_REPETITIONS + 1):
        phrase, times = tokens[place : place + size], 1
        while tokens[place + size * times : place + size * (times + 1)] == phrase:
            times += 1
        if times >= (_LONG_PHRASE_REPETITIONS if size >= _LONG_PHRASE_TOKENS else _REPETITIONS):
            return size, times
    return 0, 0
