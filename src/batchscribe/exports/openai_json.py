"""What OpenAI's ``POST /v1/audio/transcriptions`` answers with ``response_format=verbose_json`` and both granularities.

Fields that only its own models fill (``seek``, ``tokens``, ``temperature``) are there with values that say nothing,
because its client libraries demand them. ``speaker`` is the one of its diarized format.
"""

# ruff: noqa: SIM905  A table of names reads better as words than as a list of strings.
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from batchscribe.domain.languages import whisper_language
from batchscribe.domain.transcript import Item, ItemKind, Segment, Transcript
from batchscribe.exports.rendering import RenderOptions, display_names

#: The English names that OpenAI writes for Whisper's languages (``tokenizer.py`` of its open model).
_NAMES = dict(
    pair.split("=")
    for pair in """
    af=afrikaans am=amharic ar=arabic as=assamese az=azerbaijani ba=bashkir be=belarusian bg=bulgarian bn=bengali
    bo=tibetan br=breton bs=bosnian ca=catalan cs=czech cy=welsh da=danish de=german el=greek en=english es=spanish
    et=estonian eu=basque fa=persian fi=finnish fo=faroese fr=french gl=galician gu=gujarati ha=hausa haw=hawaiian
    he=hebrew hi=hindi hr=croatian ht=haitian_creole hu=hungarian hy=armenian id=indonesian is=icelandic it=italian
    ja=japanese jw=javanese ka=georgian kk=kazakh km=khmer kn=kannada ko=korean la=latin lb=luxembourgish ln=lingala
    lo=lao lt=lithuanian lv=latvian mg=malagasy mi=maori mk=macedonian ml=malayalam mn=mongolian mr=marathi ms=malay
    mt=maltese my=myanmar ne=nepali nl=dutch nn=nynorsk no=norwegian oc=occitan pa=punjabi pl=polish ps=pashto
    pt=portuguese ro=romanian ru=russian sa=sanskrit sd=sindhi si=sinhala sk=slovak sl=slovenian sn=shona so=somali
    sq=albanian sr=serbian su=sundanese sv=swedish sw=swahili ta=tamil te=telugu tg=tajik th=thai tk=turkmen tl=tagalog
    tr=turkish tt=tatar uk=ukrainian ur=urdu uz=uzbek vi=vietnamese yi=yiddish yo=yoruba zh=chinese
    """.split()
)


def render(transcript: Transcript, _options: RenderOptions) -> Iterator[str]:
    """Yield the document a segment at a time."""
    names = display_names(transcript)
    head = {
        "task": "transcribe",
        "language": language_name(transcript.language_code),
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
    }
    yield _write(head)[:-1] + ', "words": ['
    words = [item for segment in transcript.segments for item in segment.items if _is_word(item)]
    # Words of two channels stand among one another.
    yield from _separated(_word(item) for item in sorted(words, key=lambda item: item.start))
    yield '], "segments": ['
    yield from _separated(_segment(number, each, names) for number, each in enumerate(transcript.segments))
    yield "]}\n"


def language_name(code: str) -> str:
    """Return OpenAI's name of a language: ``english`` for ``en-US``; the code itself where it has none."""
    return _NAMES.get(whisper_language(code) or "", code).replace("_", " ")


def _segment(number: int, segment: Segment, names: dict[str, str]) -> dict[str, Any]:
    quality = segment.quality
    label = segment.speaker_label or segment.channel_label
    data: dict[str, Any] = {
        "id": number,
        "seek": 0,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0 if quality is None else round(quality.average_log_probability, 3),
        "compression_ratio": 1.0 if quality is None else round(quality.compression_ratio, 3),
        "no_speech_prob": 0.0 if quality is None else round(quality.no_speech_probability, 3),
    }
    return data if label is None else data | {"speaker": names.get(label, label)}


def _word(item: Item) -> dict[str, Any]:
    return {"word": item.content, "start": round(item.start, 3), "end": round(item.end, 3)}


def _is_word(item: Item) -> bool:
    return item.kind is ItemKind.PRONUNCIATION


def _separated(values: Iterable[dict[str, Any]]) -> Iterator[str]:
    separator = ""
    for value in values:
        yield separator + _write(value)
        separator = ",\n"


def _write(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
