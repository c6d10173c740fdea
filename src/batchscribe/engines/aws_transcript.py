"""AWS Transcribe's transcript file becomes our transcript.

https://docs.aws.amazon.com/transcribe/latest/dg/how-input.html#how-it-works-output shows the file. Every time and
confidence in it is a string; punctuation is an item of its own, without times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from batchscribe.domain.transcript import (
    Alternatives,
    Item,
    ItemKind,
    Reading,
    Segment,
    SpokenLanguage,
    Transcript,
    with_speakers,
)
from batchscribe.errors import EngineFailed

#: Languages that are written without spaces between words.
_SPACELESS = frozenset({"zh", "ja", "th", "km", "lo", "my", "yue"})
#: Marks that end a sentence, and the pause in seconds that ends a stretch where the file has no stretches.
_SENTENCE_ENDS, _PAUSE_SECONDS = frozenset(".?!。?!।"), 2.0


@dataclass(frozen=True, slots=True)
class _Labelled:
    """An item with what the file says of it."""

    item: Item
    speaker: str | None
    stretch: int


def read_transcript(data: Mapping[str, Any], *, language_code: str) -> Transcript:
    """Return the transcript of a file. Raises EngineFailed where it has another shape.

    ``language_code`` is the job's own, which the file does not repeat; one that was identified goes before it.
    """
    try:
        results = data["results"]
        code = str(results.get("language_code") or language_code)
        channels = (results.get("channel_labels") or {}).get("channels")
        if channels:
            segments = [
                replace(segment, channel_label=str(channel["channel_label"]))
                for channel in channels
                for segment in _segments(channel["items"], results, "", code)
            ]
        else:
            segments = _segments(results["items"], results, _running_text(results), code)
        languages = _languages(results)
        alternatives = tuple(_alternatives(each, code) for each in results.get("segments") or ())
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise EngineFailed(f"The transcript that AWS wrote cannot be read ({error!r}).") from error
    segments.sort(key=lambda segment: segment.start)
    ends = [float(each["end_time"]) for each in results.get("audio_segments") or []]
    duration = max([*ends, *(segment.end for segment in segments)], default=0.0)
    return with_speakers(
        Transcript(
            language_code=code,
            duration=duration,
            segments=tuple(segments),
            languages=languages,
            is_redacted=bool(data.get("isRedacted", False)),
            alternatives=alternatives,
        )
    )


def _segments(items: list[Any], results: Mapping[str, Any], text: str, language_code: str) -> list[Segment]:
    labelled = list(_labelled(items, results, text, language_code))
    if not _has_stretches(results):
        labelled = _divided(labelled)
    segments = []
    stretches = results.get("audio_segments") or []
    # Only where several languages were identified does an item have one of its own.
    for (speaker, stretch, language), group in groupby(
        labelled, key=lambda each: (each.speaker, each.stretch, each.item.language_code)
    ):
        members = tuple(each.item for each in group)
        start, end = members[0].start, max(item.end for item in members)
        if stretch < len(stretches) and len(stretches[stretch]["items"]) == len(members):
            start = min(start, float(stretches[stretch]["start_time"]))
            end = max(end, float(stretches[stretch]["end_time"]))
        segments.append(
            Segment(
                start=start,
                end=end,
                items=members,
                speaker_label=speaker,
                language_code=language,
            )
        )
    return segments


def _has_stretches(results: Mapping[str, Any]) -> bool:
    return bool(results.get("audio_segments") or (results.get("speaker_labels") or {}).get("segments"))


def _divided(labelled: list[_Labelled]) -> list[_Labelled]:
    """Divide items by sentences and pauses, where the file does not divide them."""
    divided: list[_Labelled] = []
    for each in labelled:
        last = divided[-1] if divided else replace(each, stretch=0)
        is_word = each.item.kind is ItemKind.PRONUNCIATION
        is_sentence_over = last.item.kind is ItemKind.PUNCTUATION and last.item.content in _SENTENCE_ENDS
        is_new = is_word and (is_sentence_over or each.item.start - last.item.end > _PAUSE_SECONDS)
        divided.append(replace(each, stretch=last.stretch + is_new))
    return divided


def _labelled(items: list[Any], results: Mapping[str, Any], text: str, language_code: str) -> Iterator[_Labelled]:
    """Yield our items, with their speakers and stretches, in the file's order."""
    stretch_of_id = {
        item_id: index for index, each in enumerate(results.get("audio_segments") or []) for item_id in each["items"]
    }
    turn_of_start = {
        str(item["start_time"]): (index, str(turn["speaker_label"]))
        for index, turn in enumerate((results.get("speaker_labels") or {}).get("segments") or [])
        for item in turn["items"]
    }
    stretch, speaker = 0, None
    for each, item in zip(items, _items(items, text, language_code), strict=True):
        if item.kind is ItemKind.PRONUNCIATION:
            stretch, speaker = turn_of_start.get(str(each["start_time"]), (stretch, speaker))
        stretch = stretch_of_id.get(each.get("id"), stretch)
        speaker = each.get("speaker_label") or speaker
        yield _Labelled(item=item, speaker=speaker, stretch=stretch)


def _items(items: list[Any], text: str, language_code: str) -> Iterator[Item]:
    """Yield our items; those of a list of readings hold their content themselves, any other in ``alternatives``."""
    is_spaceless = language_code.partition("-")[0] in _SPACELESS
    end, place = 0.0, 0
    for each in items:
        heard = each["alternatives"][0] if "alternatives" in each else each
        content = str(heard["content"])
        place, has_space = _find(text, place, content)
        is_word = each["type"] == "pronunciation"
        end = float(each["end_time"]) if is_word else end
        yield Item(
            kind=ItemKind.PRONUNCIATION if is_word else ItemKind.PUNCTUATION,
            content=content,
            start=float(each["start_time"]) if is_word else end,
            end=end,
            confidence=float(heard.get("confidence") or 0.0) if is_word else None,
            space_before=(is_word and not is_spaceless) if has_space is None else has_space,
            language_code=each.get("language_code"),
            redaction=_redaction(heard),
            is_filter_match=bool(each.get("vocabularyFilterMatch", False)),
        )


def _alternatives(stretch: Mapping[str, Any], language_code: str) -> Alternatives:
    """Return the readings of a stretch. https://docs.aws.amazon.com/transcribe/latest/dg/how-alternatives.html."""
    return Alternatives(
        start=float(stretch["start_time"]),
        end=float(stretch["end_time"]),
        readings=tuple(
            Reading(items=tuple(_items(each["items"], str(each.get("transcript") or ""), language_code)))
            for each in stretch["alternatives"]
        ),
    )


def _find(text: str, place: int, content: str) -> tuple[int, bool | None]:
    """Return where an item ends in the running text, and whether a space stands before it; None where it is not there.

    The running text knows what the items do not say: how the language is written.
    """
    begin = place
    while begin < len(text) and text[begin].isspace():
        begin += 1
    if not content or not text.startswith(content, begin):
        return place, None
    return begin + len(content), begin > place or place == 0


def _redaction(alternative: Mapping[str, Any]) -> str | None:
    """Return the class of what was taken out here, or None."""
    redactions = alternative.get("redactions")
    return str(redactions[0].get("type") or "PII") if redactions else None


def _languages(results: Mapping[str, Any]) -> tuple[SpokenLanguage, ...]:
    """Return what was identified: one language for the whole, with others that it might be, or several."""
    likely = [
        SpokenLanguage(language_code=str(each["code"]), score=float(each["score"]))
        for each in results.get("language_identification") or []
    ]
    several = [
        SpokenLanguage(language_code=str(each["language_code"]), duration=float(each["duration_in_seconds"]))
        for each in results.get("language_codes") or []
    ]
    return tuple(likely or several)


def _running_text(results: Mapping[str, Any]) -> str:
    return str(results["transcripts"][0]["transcript"]) if results.get("transcripts") else ""
