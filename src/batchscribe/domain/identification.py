"""Which languages are spoken: what an engine hears in stretches of speech, and what is made of it.

An engine answers with windows (:class:`LanguageWindow`). For ``identify_language`` those of the recording's first
minutes are weighed together (:func:`ranked`); for ``identify_multiple_languages`` those of a chunk become stretches of
one language each (:func:`stretches`). Both depend on the windows and the options alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchscribe.domain.languages import regional_code, whisper_language
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.transcript import Segment, SpokenLanguage
from batchscribe.errors import LanguageUnclear

#: Below this score an identified language is too unsure to transcribe in, where the caller names no other floor. The
#: shared recordings' right answers score 0.38 and more.
USUAL_FLOOR = 0.3
#: As many as AWS names, and the least that is worth a line.
_MOST_NAMED, _LEAST_SCORE = 5, 0.001
#: What a change of language within a chunk costs, on the scale of seconds of speech times natural logarithms of
#: probability; chosen on the recordings of ``python -m benchmarks languages`` (ADR 57).
CHANGE_COST = 3.0
#: A language is spoken in a chunk only if one window at least is so sure of it, where any window is of any.
_SURE = 0.85
#: No window speaks against a language more than a probability of this would: one that is surely misheard is outvoted.
_LEAST_PROBABILITY = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageWindow:
    """A stretch of speech and how probable each language is in it."""

    #: Seconds.
    start: float
    end: float
    #: Seconds of speech between them.
    speech: float
    #: By the name of ``whisper_language``, 0 to 1, together at most 1; improbable ones may be missing.
    probabilities: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of a chunk, from ``start`` to ``end`` in seconds, in which one language is spoken."""

    start: float
    end: float
    language_code: str


def language_window_to_json(window: LanguageWindow) -> dict[str, Any]:
    """Return a window as values that :mod:`json` can write, whole."""
    return {
        "start": window.start,
        "end": window.end,
        "speech": window.speech,
        "probabilities": dict(window.probabilities),
    }


def language_window_from_json(data: Mapping[str, Any]) -> LanguageWindow:
    """Return the window that :func:`language_window_to_json` wrote. Raises KeyError, TypeError, ValueError."""
    return LanguageWindow(
        start=float(data["start"]),
        end=float(data["end"]),
        speech=float(data["speech"]),
        probabilities={str(name): float(value) for name, value in data["probabilities"].items()},
    )


def ranked(windows: Iterable[LanguageWindow], language_options: tuple[str, ...] = ()) -> tuple[SpokenLanguage, ...]:
    """Return the languages that may be spoken in a recording, the most probable first; none where nobody speaks.

    A score is the mean of the windows' probabilities, each window counting by its seconds of speech. With options only
    their languages are there, and their scores are together 1.
    """
    sums: dict[str, float] = {}
    for window in windows:
        for name, probability in _among(window.probabilities, language_options).items():
            sums[name] = sums.get(name, 0.0) + window.speech * probability
    total = sum(sums.values())
    if total <= 0.0:
        return ()
    order = sorted(sums, key=lambda name: (-sums[name], name))[:_MOST_NAMED]
    return tuple(
        SpokenLanguage(language_code=regional_code(name, language_options), score=sums[name] / total)
        for place, name in enumerate(order)
        if not place or sums[name] / total >= _LEAST_SCORE
    )


def check_sure(languages: Sequence[SpokenLanguage], options: TranscriptionOptions) -> None:
    """Raise LanguageUnclear where the most probable language is below the floor of the options."""
    floor = USUAL_FLOOR if options.min_language_score is None else options.min_language_score
    if not languages or (languages[0].score or 0.0) >= floor:
        return
    likely = ", ".join(f"{each.language_code} {each.score:.2f}" for each in languages[:3])
    raise LanguageUnclear(
        f"The language is unclear: the scores are {likely}, and {floor:g} is needed. Submit the recording again with "
        "its language_code, with the languages to choose from in language_options, or with a lower min_language_score."
    )


def stretches(
    windows: Sequence[LanguageWindow],
    language_options: tuple[str, ...],
    *,
    start: float,
    end: float,
    change_cost: float = CHANGE_COST,
) -> tuple[Stretch, ...]:
    """Return which language is spoken from when to when: stretches in order that fill all from start to end.

    Of all ways to give each window one language, the one is taken that the windows' probabilities speak for most when
    each change costs ``change_cost``. Languages change in the middle of the silence between two windows. Without
    windows there are no stretches.
    """
    heard = [_among(window.probabilities, language_options) for window in windows]
    if not heard:
        return ()
    every = sorted({name for each in heard for name in each})
    # A stretch in which a language changes, or nobody understands a word, must not bring in a third one.
    names = [name for name in every if any(each.get(name, 0.0) >= _SURE for each in heard)] or every
    chosen = _smoothed(
        [
            [_weight(window, each) * math.log(max(each.get(name, 0.0), _LEAST_PROBABILITY)) for name in names]
            for window, each in zip(windows, heard, strict=True)
        ],
        change_cost,
    )
    found: list[Stretch] = []
    for number, (window, choice) in enumerate(zip(windows, chosen, strict=True)):
        code = regional_code(names[choice], language_options)
        begin = start if not number else (windows[number - 1].end + window.start) / 2
        if found and found[-1].language_code == code:
            begin = found.pop().start
        elif found:
            found[-1] = Stretch(start=found[-1].start, end=begin, language_code=found[-1].language_code)
        found.append(Stretch(start=begin, end=end, language_code=code))
    return tuple(found)


def durations(segments: Iterable[Segment], *, otherwise: str) -> tuple[SpokenLanguage, ...]:
    """Return the languages of segments with the seconds of each, the longest first.

    ``otherwise`` is the language of those that name none.
    """
    seconds: dict[str, float] = {}
    for segment in segments:
        code = segment.language_code or otherwise
        seconds[code] = seconds.get(code, 0.0) + segment.end - segment.start
    return tuple(
        SpokenLanguage(language_code=code, duration=seconds[code])
        for code in sorted(seconds, key=lambda code: (-seconds[code], code))
    )


def languages_to_json(languages: Iterable[SpokenLanguage]) -> list[dict[str, Any]]:
    """Return what was identified as values that :mod:`json` can write, to three digits."""
    return [
        {"language_code": each.language_code}
        | ({} if each.score is None else {"score": round(each.score, 3)})
        | ({} if each.duration is None else {"duration": round(each.duration, 3)})
        for each in languages
    ]


def languages_from_json(data: Iterable[Mapping[str, Any]]) -> tuple[SpokenLanguage, ...]:
    """Return the languages that :func:`languages_to_json` wrote. Raises KeyError where a field is missing."""
    return tuple(
        SpokenLanguage(language_code=each["language_code"], score=each.get("score"), duration=each.get("duration"))
        for each in data
    )


def _among(probabilities: Mapping[str, float], language_options: tuple[str, ...]) -> Mapping[str, float]:
    """Return the probabilities of the options' languages, brought to 1 together; all where there are no options."""
    if not language_options:
        return probabilities
    names = dict.fromkeys(whisper_language(code) or "" for code in language_options)
    # Where none of them is heard at all, all of them are as probable.
    masked = {name: max(probabilities.get(name, 0.0), 1e-9) for name in names}
    total = sum(masked.values())
    return {name: value / total for name, value in masked.items()}


def _weight(window: LanguageWindow, heard: Mapping[str, float]) -> float:
    """Return how much a window's word counts: by its seconds of speech, and less the less sure it is of anything."""
    return window.speech * max(heard.values(), default=0.0)


def _smoothed(gains: list[list[float]], change_cost: float) -> list[int]:
    """Return the choices, one a window, with the largest sum of gains less the changes' costs (Viterbi's algorithm)."""
    best = gains[0]
    came_from: list[list[int]] = []
    for row in gains[1:]:
        top = max(range(len(best)), key=lambda name: (best[name], -name))
        before = [name if best[name] >= best[top] - change_cost else top for name in range(len(row))]
        best = [
            gain + best[origin] - (change_cost if origin != name else 0.0)
            for name, (gain, origin) in enumerate(zip(row, before, strict=True))
        ]
        came_from.append(before)
    chosen = [max(range(len(best)), key=lambda name: (best[name], -name))]
    for before in reversed(came_from):
        chosen.append(before[chosen[-1]])
    chosen.reverse()
    return chosen
