# ruff: noqa: RUF001  Words and marks of other scripts look like ours.
"""Strategies: transcripts as an engine could give them, of any words in any script, with times to the millisecond."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from batchscribe.domain.transcript import (
    Alternatives,
    Item,
    ItemKind,
    Quality,
    Reading,
    Segment,
    Transcript,
    join_segments,
    with_names,
    with_speakers,
)

#: A law may take as long as a busy machine needs.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

MARKS = tuple(".,?!:;…\"'()[]¿¡—。、！？「」«»।؟<>&-")
WORDS = (
    *("a", "I", "to", "the", "know", "harbor", "Übermut", "don't", "well-known", "<b>", "&", "42", "misunderstanding"),
    *("internationalisation-of-everything", "x" * 41, "y" * 42, "z" * 43, "w" * 120),
    *(
        "我",
        "学生",
        "今天天气很好",
        "的一是不了人我在有他这中大来上国个到说们" * 2,
        "กรุงเทพ",
        "สวัสดีครับ" * 6,
        "नमस्ते",
        "مرحبا",
        "안녕하세요",
    ),
    # Combining marks, joined and coloured emoji, both directions in one word, small kana, Devanagari and Thai marks.
    *(
        "e\u0301te\u0301",
        "n\u0303" * 45,
        "👩‍👩‍👧‍👦",
        "👍🏽" * 30,
        "🇩🇪",
        "אבג123",
        "\u200fنعم\u200e",
        "っ",
        "ー",
        "ラーメン",
        "के",
        "ี่",
    ),
    # What a format might take for its own.
    *("=1+1", "+49", "@home", "-5", "-->", "</v>", "&nbsp;", "{\\an8}", "NOTE", "WEBVTT"),
    # Characters that no engine says and no document may break of.
    *("nul\x00", "\x0bbell\x07", "\x85", "a\u2028b", "\ufeff", "\ufffe"),
)


def _thousandths(low: int, high: int) -> st.SearchStrategy[float]:
    """Return numbers with three digits after the point."""
    return st.integers(low, high).map(lambda number: number / 1000)


#: What an item may be: milliseconds of silence before it and of its length, a word or a mark, and how it is written.
ITEMS = st.tuples(
    st.sampled_from((0, 0, 0, 20, 300, 1500, 6000)),
    st.sampled_from((0, 1, 60, 250, 900, 9000)),
    st.sampled_from(WORDS + MARKS),
    st.none() | _thousandths(0, 1000),
    st.booleans(),
)


@st.composite
def segments(draw: st.DrawFn, start: float = 0.0) -> Segment:
    """Return a segment that begins at or after the start."""
    time = start_milliseconds = round(start * 1000) + draw(st.sampled_from((0, 0, 500, 5000)))
    items: list[Item] = []
    for silence, length, content, confidence, space_before in draw(st.lists(ITEMS, max_size=10)):
        is_word = content not in MARKS
        time += silence if is_word else 0
        end = time + (length if is_word else 0)
        items.append(
            Item(
                kind=ItemKind.PRONUNCIATION if is_word else ItemKind.PUNCTUATION,
                content=content,
                start=time / 1000,
                end=end / 1000,
                confidence=confidence if is_word else None,
                space_before=space_before,
            )
        )
        time = end
    quality = st.builds(
        Quality,
        average_log_probability=_thousandths(-5000, 0),
        compression_ratio=_thousandths(0, 9000),
        no_speech_probability=_thousandths(0, 1000),
    )
    return Segment(
        start=start_milliseconds / 1000, end=time / 1000, items=tuple(items), quality=draw(st.none() | quality)
    )


@st.composite
def conversations(draw: st.DrawFn) -> Transcript:
    """Return a transcript of up to two channels and three speakers, some with names; channels talk at once."""
    channels = draw(st.sampled_from(((None,), ("ch_0",), ("ch_0", "ch_1"))))
    joined: tuple[Segment, ...] = ()
    for channel in channels:
        made: list[Segment] = []
        for _ in range(draw(st.integers(0, 3))):
            drawn = draw(segments(made[-1].end if made else 0.0))
            speaker = draw(st.sampled_from((None, "spk_0", "spk_1", "spk_10")))
            suspect = draw(st.sampled_from((None, "Nothing is heard here.")))
            made.append(replace(drawn, channel_label=channel, speaker_label=speaker, suspect=suspect))
        joined = join_segments(joined, tuple(made))
    end = max((segment.end for segment in joined), default=0.0)
    whole = with_speakers(Transcript(language_code="en-US", duration=end, segments=joined))
    names = draw(st.dictionaries(st.sampled_from(("spk_0", "spk_1", "ch_0")), st.sampled_from(NAMES)))
    return with_names(whole, names)


@st.composite
def alternatives(draw: st.DrawFn) -> Transcript:
    """Return a transcript whose segments have other readings, of other words."""
    whole = draw(transcripts())
    readings = st.builds(Reading, items=segments().map(lambda segment: segment.items))
    return replace(
        whole,
        alternatives=tuple(
            Alternatives(start=each.start, end=each.end, readings=tuple(draw(st.lists(readings, max_size=2))))
            for each in whole.segments
        ),
    )


#: What people call people.
NAMES = (
    "Ann",
    "Zoe\u0308",
    "김민준",
    "אבי",
    "{\\b1}Bob",
    "Dr. O'Neill & Söhne",
    "王小明",
    "=cmd|' /C calc'!A0",
    "<v Bob>",
    "--> nobody",
    "N" * 60,
)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Return a transcript of up to three segments in order."""
    made: list[Segment] = []
    for _ in range(draw(st.integers(0, 3))):
        made.append(draw(segments(made[-1].end if made else 0.0)))
    end = made[-1].end if made else 0.0
    return Transcript(
        language_code=draw(st.sampled_from(("en-US", "zh-CN", "th-TH"))), duration=end, segments=tuple(made)
    )
