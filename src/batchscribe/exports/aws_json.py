"""The file that AWS Transcribe leaves of a job, field for field, so that whatever reads those reads this.

As AWS writes it since 2023: every time and confidence is a string, punctuation is an item without times, items are
numbered, and ``audio_segments`` names them. ``speaker_labels`` and ``channel_labels`` stand there only where somebody
asked for them; a speaker who was given a name has it in the place of ``spk_0``. What was redacted reads ``[PII]``.
Where an engine gave several readings they are in ``segments``, as AWS has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from batchscribe.domain.transcript import Alternatives, Item, ItemKind, Reading, Segment, Transcript, running_text
from batchscribe.exports.rendering import RenderOptions

#: What AWS writes for an account; nobody's.
ACCOUNT_ID = "000000000000"
REDACTED = "[PII]"


def render(transcript: Transcript, options: RenderOptions) -> Iterator[str]:
    """Yield the document a segment at a time."""
    names = {speaker.label: speaker.name for speaker in transcript.speakers if speaker.name}
    segments = transcript.segments
    head: dict[str, Any] = {"jobName": options.job_name, "accountId": ACCOUNT_ID}
    if transcript.is_redacted:
        head["isRedacted"] = True
    yield f'{_write(head)[:-1]}, "results": {{'
    yield from _members(_languages(transcript))
    yield f'"transcripts": [{_write({"transcript": _text(segments)})}]'
    if any(segment.speaker_label for segment in segments):
        labels = {segment.speaker_label for segment in segments} - {None}
        yield f', "speaker_labels": {{"channel_label": "ch_0", "speakers": {len(labels)}, "segments": ['
        yield from _separated(_speaker_segment(segment, names) for segment in segments if segment.speaker_label)
        yield "]}"
    numbered = _numbered(segments)
    channels = [each.label for each in transcript.speakers if each.label.startswith("ch_")]
    if channels:
        yield ', "channel_labels": {"channels": ['
        for number, channel in enumerate(channels):
            yield f'{", " if number else ""}{{"channel_label": {json.dumps(names.get(channel, channel))}, "items": ['
            yield from _separated(_item(each, names) for each in numbered if each.segment.channel_label == channel)
            yield "]}"
        yield f'], "number_of_channels": {len(channels)}}}'
    yield ', "items": ['
    yield from _separated(_item(each, names) for each in numbered)
    yield '], "audio_segments": ['
    yield from _separated(_audio_segments(segments, numbered, names))
    yield "]"
    if transcript.alternatives:
        yield ', "segments": ['
        yield from _separated(_alternatives(each) for each in transcript.alternatives)
        yield "]"
    yield '}, "status": "COMPLETED"}\n'


def _languages(transcript: Transcript) -> dict[str, Any]:
    """Return what AWS says of languages that it identified: one for the whole, or several with their durations."""
    if not transcript.languages:
        return {}
    if any(each.duration is not None for each in transcript.languages):
        codes = [
            {"language_code": each.language_code, "duration_in_seconds": _number(each.duration or 0.0)}
            for each in transcript.languages
        ]
        return {"language_codes": codes}
    scores = [{"score": _number(each.score or 0.0), "code": each.language_code} for each in transcript.languages]
    return {"language_code": transcript.language_code, "language_identification": scores}


class _Numbered(NamedTuple):
    """An item with its number, and its segment with its place."""

    number: int
    item: Item
    segment: Segment
    place: int


def _numbered(segments: tuple[Segment, ...]) -> list[_Numbered]:
    """Return the items with their numbers, which follow time: words of two channels stand among one another.

    A mark of punctuation stays with the word before it.
    """
    ordered: list[tuple[float, Item, Segment, int]] = []
    for place, segment in enumerate(segments):
        start = segment.start
        for item in segment.items:
            start = item.start if item.kind is ItemKind.PRONUNCIATION else start
            ordered.append((start, item, segment, place))
    ordered.sort(key=lambda each: each[0])
    return [_Numbered(number, *each[1:]) for number, each in enumerate(ordered)]


def _item(numbered: _Numbered, names: dict[str, str]) -> dict[str, Any]:
    number, item, segment, _ = numbered
    data: dict[str, Any] = {"id": number, "type": item.kind.value, "alternatives": [_alternative(item)]}
    if item.kind is ItemKind.PRONUNCIATION:
        data |= {"start_time": _number(item.start), "end_time": _number(item.end)}
    if item.is_filter_match:
        data["vocabularyFilterMatch"] = True
    return data | _labels(segment, names) | _language(item, segment)


def _alternative(item: Item) -> dict[str, Any]:
    """Return what is heard in an item, with its class where it was redacted."""
    confidence = "0.0" if item.confidence is None else str(round(item.confidence, 4))
    alternative: dict[str, Any] = {"confidence": confidence, "content": _content(item)}
    if item.redaction is not None:
        alternative["redactions"] = [{"confidence": confidence, "type": item.redaction, "category": "PII"}]
    return alternative


def _language(item: Item, segment: Segment) -> dict[str, str]:
    code = item.language_code or segment.language_code
    return {"language_code": code} if code else {}


def _labels(segment: Segment, names: dict[str, str]) -> dict[str, str]:
    given = {"speaker_label": segment.speaker_label, "channel_label": segment.channel_label}
    return {key: names.get(label, label) for key, label in given.items() if label is not None}


def _speaker_segment(segment: Segment, names: dict[str, str]) -> dict[str, Any]:
    """Return a turn with its words, as ``speaker_labels`` holds it."""
    label = names.get(segment.speaker_label or "", segment.speaker_label)
    times = {"start_time": _number(segment.start), "end_time": _number(segment.end), "speaker_label": label}
    words = [item for item in segment.items if item.kind is ItemKind.PRONUNCIATION]
    return times | {
        "items": [
            {"start_time": _number(word.start), "end_time": _number(word.end), "speaker_label": label} for word in words
        ]
    }


def _audio_segments(
    segments: Iterable[Segment], numbered: list[_Numbered], names: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield the segments with the numbers of their items."""
    ids: dict[int, list[int]] = {}
    for each in numbered:
        ids.setdefault(each.place, []).append(each.number)
    for place, segment in enumerate(segments):
        yield {
            "id": place,
            "transcript": _text((segment,)),
            "start_time": _number(segment.start),
            "end_time": _number(segment.end),
            "items": ids.get(place, []),
        } | _labels(segment, names)


def _alternatives(stretch: Alternatives) -> dict[str, Any]:
    """Return the readings of a stretch; in them AWS writes content and confidence into the item itself."""
    return {
        "start_time": _number(stretch.start),
        "end_time": _number(stretch.end),
        "alternatives": [
            {"transcript": _text((reading,)), "items": [_flat_item(item) for item in reading.items]}
            for reading in stretch.readings
        ],
    }


def _flat_item(item: Item) -> dict[str, Any]:
    is_word = item.kind is ItemKind.PRONUNCIATION
    times = {"start_time": _number(item.start), "end_time": _number(item.end)} if is_word else {}
    return times | _alternative(item) | {"type": item.kind.value}


def _text(segments: Iterable[Segment | Reading]) -> str:
    """Return the running text, with what was redacted as AWS writes it."""
    items = (item for segment in segments for item in segment.items)
    return running_text(tuple(item if item.redaction is None else replace(item, content=REDACTED) for item in items))


def _content(item: Item) -> str:
    return item.content if item.redaction is None else REDACTED


def _members(data: dict[str, Any]) -> Iterator[str]:
    """Yield the members of an object that goes on."""
    for key, value in data.items():
        yield f"{json.dumps(key)}: {_write(value)}, "


def _separated(values: Iterable[Any]) -> Iterator[str]:
    separator = ""
    for value in values:
        yield separator + _write(value)
        separator = ",\n"


def _number(value: float) -> str:
    """Write a time or a confidence as AWS does: ``0.49``, ``1.0``."""
    return str(round(value, 3))


def _write(value: Any) -> str:  # noqa: ANN401 - whatever json can write
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
