"""Subtitle layout."""

from __future__ import annotations

from dataclasses import replace

import pytest

from batchscribe.domain.cues import Cue, CueLimits, ends_sentence, lay_out_cues
from batchscribe.domain.text_width import columns
from batchscribe.domain.transcript import Item, ItemKind, Segment

WORD_SECONDS = 0.3


def spoken(text: str, start: float = 0.0, *, spaced: bool = True) -> Segment:
    """Return a segment that says the text, a word every 0.3 s; ``|`` in it is a second of silence."""
    items: list[Item] = []
    time = start
    for word in text.split(" "):
        if word == "|":
            time += 1.0
            continue
        bare = word.rstrip(".,?!。、") or word
        end = round(time + WORD_SECONDS, 3)
        items.append(
            Item(kind=ItemKind.PRONUNCIATION, content=bare, start=time, end=end, confidence=0.9, space_before=spaced)
        )
        items.extend(
            Item(kind=ItemKind.PUNCTUATION, content=each, start=end, end=end, space_before=False)
            for each in word[len(bare) :]
        )
        time = end
    return Segment(start=start, end=time, items=tuple(items))


def cues(*segments: Segment) -> list[Cue]:
    """Return all cues of the segments."""
    return list(lay_out_cues(segments))


def test_no_words_give_no_cues() -> None:
    """Silence has no subtitles."""
    assert cues() == []
    assert cues(Segment(start=0.0, end=1.0, items=())) == []


def test_a_short_sentence_is_one_line() -> None:
    """A cue that fits one line has one, and starts and ends with its words."""
    assert cues(spoken("Hello to all of you.", start=2.0)) == [Cue(start=2.0, end=3.5, lines=("Hello to all of you.",))]


def test_a_longer_sentence_is_two_lines_of_like_length() -> None:
    """Two lines are balanced, and break after a comma where one is near the middle."""
    [cue] = cues(spoken("My brother learned to swim, and my sister painted the old harbor."))
    assert cue.lines == ("My brother learned to swim,", "and my sister painted the old harbor.")


def test_sentences_begin_cues_of_their_own() -> None:
    """A cue ends with its sentence when the next would only begin in it."""
    first, second = cues(spoken("This is the first sentence. And here the second one begins and ends."))
    assert first.lines == ("This is the first sentence.",)
    assert second.lines == ("And here the second one begins and ends.",)
    assert second.start == first.end


def test_very_short_sentences_share_a_cue() -> None:
    """A cue of one syllable would flash by."""
    [cue] = cues(spoken("Yes. No. I do not know."))
    assert cue.lines == ("Yes. No. I do not know.",)


def test_no_cue_reaches_over_a_pause() -> None:
    """Words after a second of silence are shown when they are said."""
    first, second = cues(spoken("Wait | for me"))
    assert (first.lines, second.lines) == (("Wait",), ("for me",))
    assert second.start == 1.3


def test_a_short_cue_stays_for_a_second_where_there_is_room() -> None:
    """A single word can be read."""
    first, second = cues(spoken("Stop | | go"))
    assert (first.start, first.end) == (0.0, 1.0)
    assert (second.start, second.end) == (2.3, 3.3)


def test_a_long_sentence_breaks_after_a_comma() -> None:
    """Where a sentence fills more than a cue, the cue ends with a clause."""
    text = "When the rain finally stopped falling, we walked along the empty beach and talked about the years before."
    first, *_ = cues(spoken(text))
    assert " ".join(first.lines) == "When the rain finally stopped falling,"


def test_a_word_too_long_for_a_line_is_cut() -> None:
    """Even a word of 100 letters stays within the lines, and none of its letters is lost."""
    [cue, more] = cues(spoken("a" * 100))
    assert cue.lines == ("a" * 42, "a" * 42)
    assert more.lines == ("a" * 16,)


def test_a_word_that_never_ends_is_not_shown_for_more_than_the_longest_time() -> None:
    """A wrong time of one word does not keep a cue on the screen."""
    item = Item(kind=ItemKind.PRONUNCIATION, content="hm", start=1.0, end=60.0)
    [cue] = cues(Segment(start=1.0, end=60.0, items=(item,)))
    assert (cue.start, cue.end) == (1.0, 8.0)


def test_japanese_breaks_between_any_words_and_counts_two_columns_a_character() -> None:
    """A language without spaces is laid out by characters, and a mark never begins a line."""
    words = "明日 は 友達 と 一緒 に 電車 で 東京 に 行って、 それ から 美術館 を 見る つもり です。"
    [cue] = cues(spoken(words, spaced=False))
    assert "".join(cue.lines) == words.replace(" ", "")
    assert len(cue.lines) == 2
    assert all(columns(line) <= 42 for line in cue.lines)
    assert cue.lines[0].endswith("行って、")


def test_an_opening_mark_stays_with_the_word_after_it() -> None:
    """Neither line nor cue ends with an opening bracket or an inverted question mark."""
    marks = [
        Item(kind=ItemKind.PUNCTUATION, content="¿", start=0.0, end=0.0, space_before=True),
        Item(kind=ItemKind.PRONUNCIATION, content="dónde", start=0.0, end=0.5, space_before=False),
        Item(kind=ItemKind.PRONUNCIATION, content="vives", start=0.5, end=1.0),
        Item(kind=ItemKind.PUNCTUATION, content="?", start=1.0, end=1.0, space_before=False),
    ]
    narrow = CueLimits(line_columns=7)
    [cue] = lay_out_cues([Segment(start=0.0, end=1.0, items=tuple(marks))], narrow)
    assert cue.lines == ("¿dónde", "vives?")


@pytest.mark.parametrize(
    "text", ["End.", "End?", 'End."', "End!)", "終わり。", "「終わり。」", "نهاية؟", "समाप्त।", "…"]
)
def test_sentence_ends_are_known_in_many_scripts(text: str) -> None:
    """A closing quotation mark or bracket does not hide the end."""
    assert ends_sentence(text)


@pytest.mark.parametrize("text", ["", "and", "and,", '"', "¿"])
def test_other_marks_end_no_sentence(text: str) -> None:
    """Only the marks of sentence ends count."""
    assert not ends_sentence(text)


def test_a_short_answer_beside_a_long_sentence_can_be_read() -> None:
    """Of two who speak at once the first is shown for a second, however little it says of all that is said."""
    short = replace(spoken("No.", start=5.0), speaker_label="spk_0")
    long = replace(spoken("and so we went on along the empty beach until", start=5.1), speaker_label="spk_1")
    first, second = lay_out_cues((short, long), names={"spk_0": "Ann", "spk_1": "Bob"})
    assert [(cue.speaker, cue.start) for cue in (first, second)] == [("Ann", 5.0), ("Bob", 6.0)]
    assert first.end == 6.0


def test_marks_stay_on_the_line_of_their_character() -> None:
    """A combining mark takes no column, and small kana begin no line."""
    [cue] = cues(spoken("e\u0301" * 42))
    assert cue.lines == ("e\u0301" * 42,)
    kana = tuple(
        Item(kind=ItemKind.PRONUNCIATION, content=each, start=0.1 * place, end=0.1 * place + 0.1, space_before=False)
        for place, each in enumerate("きょうはとてもいいおてんきだったのでこうえんまであるいていっ" + "ったのです")
    )
    lines = [line for cue in cues(Segment(start=0.0, end=4.0, items=kana)) for line in cue.lines]
    assert len(lines) > 1
    assert not any(line[0] in "っょー" for line in lines)
