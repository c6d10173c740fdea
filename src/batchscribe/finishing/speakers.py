"""Who speaks when over a whole recording, and whose each word is.

Every chunk's voices were told apart window by window (``domain/voices.py``). Here all of them together are made into
people, the windows' answers into turns, and the words are given to whose turn it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.transcript import Fragment, Item, ItemKind, Segment, Transcript, take_openings, with_speakers
from batchscribe.domain.voices import VECTOR_SIZE, VECTOR_TYPE, SpeakerTurn, VoiceWindow
from batchscribe.finishing.clustering import cluster

#: As AWS Transcribe has it.
_MOST_SPEAKERS = 30
#: How finely turns are worked out, in seconds.
_STEP = 0.02
#: Breaks of one speaker shorter than this are no break, and turns shorter than this are none.
_SHORTEST_BREAK = 0.3
_SHORTEST_TURN = 0.1
#: Words for less than so many seconds in the middle of a clause are no change of speaker.
_SHORTEST_CHANGE = 1.0
#: A word with no turn this near (seconds) keeps the speaker of the word before it.
_NEAR = 0.5


def with_voices(transcript: Transcript, fragments: Sequence[Fragment], options: TranscriptionOptions) -> Transcript:
    """Return the transcript with its speakers, from the voices of its chunks, where the options ask who speaks."""
    if not options.show_speaker_labels:
        return transcript
    windows = [window for fragment in fragments for window in fragment.voices]
    return with_speaker_labels(transcript, speaker_turns(windows, options.max_speaker_labels))


def speaker_turns(windows: Sequence[VoiceWindow], most: int | None = None) -> list[SpeakerTurn]:
    """Return who speaks when, of at most so many speakers, by start. The windows may come in any order.

    The same windows give the same turns.
    """
    ordered = sorted(windows, key=lambda window: (window.start, window.end))
    voices = [(number, voice) for number, window in enumerate(ordered) for voice in window.voices]
    known = [index for index, (_, voice) in enumerate(voices) if voice.vector]
    vectors = np.frombuffer(b"".join(voices[each][1].vector for each in known), dtype=VECTOR_TYPE)
    found = cluster(
        vectors.reshape(-1, VECTOR_SIZE).astype(np.float32),
        np.array([voices[each][1].seconds for each in known], dtype=np.float64),
        np.array([voices[each][0] for each in known], dtype=np.int64),
        most=most or _MOST_SPEAKERS,
    )
    people: dict[int, dict[int, int]] = {number: {} for number in range(len(ordered))}
    position = 0
    by_voice = dict(zip(known, found.tolist(), strict=True))
    for number, window in enumerate(ordered):
        for place in range(len(window.voices)):
            if position in by_voice:
                people[number][place] = by_voice[position]
            position += 1
    turns: list[SpeakerTurn] = []
    count = max(by_voice.values(), default=-1) + 1
    for run in _overlapping_runs(ordered):
        turns += _turns_of(run, [ordered[number] for number in run], people, count)
    return _by_first_appearance(_tidied(turns))


def _overlapping_runs(windows: list[VoiceWindow]) -> list[list[int]]:
    """Return the numbers of windows in runs that overlap: a chunk's, or less where nobody speaks between."""
    runs: list[list[int]] = []
    end = -1.0
    for number, window in enumerate(windows):
        if window.start >= end:
            runs.append([])
        runs[-1].append(number)
        end = max(end, window.end)
    return runs


def _turns_of(
    run: list[int], windows: list[VoiceWindow], people: dict[int, dict[int, int]], count: int
) -> list[SpeakerTurn]:
    """Let overlapping windows vote, step by step: how many speak, and who; the middle of a window counts most."""
    begin, end = windows[0].start, max(window.end for window in windows)
    steps = max(1, round((end - begin) / _STEP))
    votes, speaking, weights = np.zeros((count, steps)), np.zeros(steps), np.zeros(steps)
    for number, window in zip(run, windows, strict=True):
        first, last = round((window.start - begin) / _STEP), min(steps, round((window.end - begin) / _STEP))
        weight = np.zeros(steps)
        weight[first:last] = np.hanning(last - first + 2)[1:-1] + 0.05
        weights += weight
        for place, voice in enumerate(window.voices):
            is_heard = np.zeros(steps, dtype=bool)
            for start, stop in voice.turns:
                is_heard[round((start - begin) / _STEP) : round((stop - begin) / _STEP)] = True
            person = people[number].get(place)
            if person is not None:
                speaking += weight * is_heard
                votes[person] = np.maximum(votes[person], 0.0) + weight * is_heard
    wanted = np.rint(speaking / np.maximum(weights, 1e-9)).astype(np.int64)
    ranks = np.argsort(np.argsort(-votes, axis=0, kind="stable"), axis=0)
    is_speaking = (ranks < wanted) & (votes > 0.0)
    return [
        SpeakerTurn(start=begin + first * _STEP, end=begin + last * _STEP, speaker=person)
        for person in range(count)
        for first, last in _runs(is_speaking[person])
    ]


def _runs(is_set: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_set.astype(np.int8), [0]]))).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _tidied(turns: list[SpeakerTurn]) -> list[SpeakerTurn]:
    """Join the turns of each speaker over short breaks, and drop the shortest."""
    result: list[SpeakerTurn] = []
    for _, own in groupby(sorted(turns, key=lambda turn: (turn.speaker, turn.start)), key=lambda turn: turn.speaker):
        joined: list[SpeakerTurn] = []
        for turn in own:
            if joined and turn.start - joined[-1].end < _SHORTEST_BREAK:
                joined[-1] = replace(joined[-1], end=max(turn.end, joined[-1].end))
            else:
                joined.append(turn)
        result += [turn for turn in joined if turn.end - turn.start >= _SHORTEST_TURN]
    return sorted(result, key=lambda turn: (turn.start, turn.end, turn.speaker))


def _by_first_appearance(turns: list[SpeakerTurn]) -> list[SpeakerTurn]:
    """Renumber the speakers in the order in which they first speak."""
    numbers: dict[int, int] = {}
    return [replace(turn, speaker=numbers.setdefault(turn.speaker, len(numbers))) for turn in turns]


def with_speaker_labels(transcript: Transcript, turns: Sequence[SpeakerTurn]) -> Transcript:
    """Return the transcript with a speaker for every segment, cut where the speaker changes.

    ``spk_0`` is who says the first word. Without turns everything is said by one.
    """
    ordered = sorted(turns, key=lambda turn: turn.start)
    labels: dict[int, str] = {}
    segments: list[Segment] = []
    previous: int | None = None
    begin = 0
    longest = max((turn.end - turn.start for turn in ordered), default=0.0)
    for segment in transcript.segments:
        groups: list[tuple[int, list[Item]]] = []
        while begin < len(ordered) and ordered[begin].start < segment.start - longest - _NEAR:
            begin += 1
        near = _starting_before(ordered, begin, segment.end + _NEAR)
        for item in segment.items:
            if item.kind is ItemKind.PRONUNCIATION or previous is None:
                previous = _speaker_of(item, near, previous)
            if not groups or (groups[-1][0] != previous and item.kind is ItemKind.PRONUNCIATION):
                opening = take_openings(groups[-1][1], item) if groups else []
                groups = [group for group in groups if group[1]]
                groups.append((previous, opening))
            groups[-1][1].append(item)
        settled = _settled(groups)
        for speaker, items in settled:
            label = labels.setdefault(speaker, f"spk_{len(labels)}")
            segments.append(_part(segment, items, label, is_whole=len(settled) == 1))
    return with_speakers(replace(transcript, segments=tuple(segments)))


def _starting_before(turns: list[SpeakerTurn], begin: int, time: float) -> list[SpeakerTurn]:
    """Return the turns from one number on that start before a time."""
    end = begin
    while end < len(turns) and turns[end].start < time:
        end += 1
    return turns[begin:end]


def _speaker_of(item: Item, turns: list[SpeakerTurn], previous: int | None) -> int:
    """Return who says a word: who speaks longest during it; the speaker before where that is as likely."""
    shared: dict[int, float] = {}
    for turn in turns:
        overlap = min(item.end, turn.end) - max(item.start, turn.start)
        # A word between turns is given to the nearest: a negative overlap is the distance.
        known = shared.get(turn.speaker, min(overlap, 0.0))
        shared[turn.speaker] = known + overlap if known >= 0.0 < overlap else max(known, overlap)
    best = max(shared.values(), default=-1.0)
    if best < -_NEAR or (previous is not None and shared.get(previous, -1.0) >= best):
        return 0 if previous is None else previous
    return next(speaker for speaker, overlap in shared.items() if overlap == best)


def _settled(groups: list[tuple[int, list[Item]]]) -> list[tuple[int, list[Item]]]:
    """Return the speakers' groups of a segment, where a few words in the middle of a clause are not another's.

    The borders of turns are right to half a second or so. Who takes over pauses, or what was said before ends with a
    mark: words for less than a second that run on without either into the longer words of another are that one's.
    """
    speakers = [speaker for speaker, _ in groups]
    for number, (_, items) in enumerate(groups):
        near = [other for other in (number - 1, number + 1) if 0 <= other < len(groups)]
        longer = [
            other
            for other in near
            if _seconds(groups[other][1]) > _seconds(items) and _runs_on(min(number, other), groups)
        ]
        if longer and _seconds(items) < _SHORTEST_CHANGE:
            speakers[number] = groups[max(longer, key=lambda other: _seconds(groups[other][1]))][0]
    settled: list[tuple[int, list[Item]]] = []
    for speaker, (_, items) in zip(speakers, groups, strict=True):
        if settled and settled[-1][0] == speaker:
            settled[-1][1].extend(items)
        else:
            settled.append((speaker, list(items)))
    return settled


def _seconds(items: list[Item]) -> float:
    return max(item.end for item in items) - items[0].start


def _runs_on(number: int, groups: list[tuple[int, list[Item]]]) -> bool:
    """Whether neither a mark nor a pause stands between a group and the next."""
    last, following = groups[number][1][-1], groups[number + 1][1][0]
    return last.kind is ItemKind.PRONUNCIATION and following.start - last.end < _SHORTEST_BREAK


def _part(segment: Segment, items: list[Item], label: str, *, is_whole: bool) -> Segment:
    """Return one speaker's part of a segment."""
    if is_whole:
        return replace(segment, speaker_label=label)
    start, end = items[0].start, max(item.end for item in items)
    return replace(segment, start=start, end=end, items=tuple(items), speaker_label=label)
