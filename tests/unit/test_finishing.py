"""What is done to a transcript before it is stored: the script of Chinese, redaction, vocabulary filters."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from batchscribe.domain.options import PATTERN_TYPES, TranscriptionOptions
from batchscribe.domain.transcript import Item, ItemKind, Quality, Segment, Transcript
from batchscribe.finishing import finished


def said(*texts: str, language_code: str = "en-US", channels: tuple[str | None, ...] = (None,)) -> Transcript:
    """Return a transcript of a segment for each text, a word every half second, marks by themselves."""
    segments: list[Segment] = []
    time = 0.0
    for number, text in enumerate(texts):
        items: list[Item] = []
        for word in text.split():
            core, marks = re.fullmatch(r"(.*?)([,.?!]*)", word).groups()  # type: ignore[union-attr]
            items.append(Item(kind=ItemKind.PRONUNCIATION, content=core, start=time, end=time + 0.4, confidence=0.9))
            for mark in marks:
                items.append(  # noqa: PERF401 - a word and its marks belong together
                    Item(kind=ItemKind.PUNCTUATION, content=mark, start=time + 0.4, end=time + 0.4, space_before=False)
                )
            time += 0.5
        channel = channels[number % len(channels)]
        segments.append(Segment(start=items[0].start, end=items[-1].end, items=tuple(items), channel_label=channel))
    return Transcript(language_code=language_code, duration=time, segments=tuple(segments))


def chinese(*words: str, language_code: str) -> Transcript:
    """Return a transcript of words without spaces."""
    items = tuple(
        Item(kind=ItemKind.PRONUNCIATION, content=word, start=i / 2, end=i / 2 + 0.4, space_before=False)
        for i, word in enumerate(words)
    )
    return Transcript(
        language_code=language_code,
        duration=len(words) / 2,
        segments=(Segment(start=0.0, end=items[-1].end, items=items),),
    )


def redacted(transcript: Transcript, *types: str) -> Transcript:
    """Return the transcript without these classes, or without any."""
    asked = tuple(sorted(types or PATTERN_TYPES))
    return finished(transcript, TranscriptionOptions(language_code=transcript.language_code, redact_types=asked))


def filtered(transcript: Transcript, method: str, *words: str) -> Transcript:
    """Return the transcript with the words of a filter treated."""
    options = TranscriptionOptions(language_code=transcript.language_code, vocabulary_filter_method=method)
    return finished(transcript, options, words)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("My card is 4111 1111 1111 1111, thanks.", "My card is [CREDIT_DEBIT_NUMBER], thanks."),
        ("It is 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, right?", "It is [CREDIT_DEBIT_NUMBER], right?"),
        (f"four one {'one ' * 14}please", "[CREDIT_DEBIT_NUMBER] please"),
        ("four triple one triple one triple one triple one triple one.", "[CREDIT_DEBIT_NUMBER]."),
        ("Call 415-555-2671 or +44 20 7946 0958 now.", "Call [PHONE] or [PHONE] now."),
        ("It is four one five, five five five, two six seven one.", "It is [PHONE]."),
        ("Write to ann.lee@example.com.", "Write to [EMAIL]."),
        ("mail ann dot lee at example dot com please", "mail [EMAIL] please"),
        ("See www.example.com/a?b=1 and example.org.", "See [URL] and [URL]."),
        ("See example dot com today.", "See [URL] today."),
        ("The server is 192.168.1.10, or fe80::1.", "The server is [IP_ADDRESS], or [IP_ADDRESS]."),
        ("Its card is 00:1b:44:11:3a:b7.", "Its card is [MAC_ADDRESS]."),
        ("IBAN DE89 3704 0044 0532 0130 00 and more.", "IBAN [INTERNATIONAL_BANK_ACCOUNT_NUMBER] and more."),
        ("Mine is 536-90-4399.", "Mine is [SSN]."),
        ("Mine is 536 90 4399, yours is not.", "Mine is [SSN], yours is not."),
    ],
)
def test_what_has_a_form_is_found_however_it_is_written(text: str, shown: str) -> None:
    """In one item or in many, in digits or in English words."""
    assert redacted(said(text)).text == shown


@pytest.mark.parametrize(
    "text",
    [
        "In 2024 we sold 1,200,000 units for 15.99 at 10:30.",
        "The ratio 3.5 is better at home dot.",
        "My card is 4111 1111 1111 1112.",
        "IBAN DE89 3704 0044 0532 0131 05 is wrong.",
        "Version 1.2.3.400 and 999.1.1.1 are none.",
        "Chapter one, two, three. Look at me.",
        "Call extension 42.",
    ],
)
def test_what_fails_its_checksum_or_plan_is_left(text: str) -> None:
    """Prices, years, times and wrong numbers are not taken out."""
    assert redacted(said(text)).text == text


@pytest.mark.parametrize(
    ("signs", "reason"),
    [
        ((-0.2, 1.2, 0.01), None),
        ((-0.2, 1.2, 0.9), None),
        ((-0.7, 1.2, 0.9), "Perhaps nobody speaks here."),
        ((-0.2, 3.0, 0.01), "The words repeat themselves."),
        ((-0.7, 1.2, 0.4), "The words are unsure; perhaps this is singing or noise."),
        ((-0.7, 1.2, 0.2), None),
        ((-0.3, 1.2, 0.5), None),
        ((-1.2, 1.2, 0.01), "The words are mostly guessed."),
    ],
)
def test_doubts_are_said_and_nothing_is_left_out(signs: tuple[float, float, float], reason: str | None) -> None:
    """By the engine's own signs; without any there is no doubt, and what the engine says itself stays."""
    log_probability, ratio, no_speech = signs
    quality = Quality(average_log_probability=log_probability, compression_ratio=ratio, no_speech_probability=no_speech)
    [plain] = said("Thanks for watching.").segments
    given = (plain, replace(plain, quality=quality), replace(plain, quality=quality, suspect="Its own."))
    transcript = Transcript(language_code="en-US", duration=2.0, segments=given)
    shown = finished(transcript, TranscriptionOptions())
    assert [segment.suspect for segment in shown.segments] == [None, reason, "Its own."]
    assert [segment.text for segment in shown.segments] == ["Thanks for watching."] * 3


def test_only_the_classes_that_were_asked_for_are_taken_out() -> None:
    """The others stay as they were said."""
    text = "Card 4111 1111 1111 1111, mail ann@example.com."
    assert redacted(said(text), "EMAIL").text == "Card 4111 1111 1111 1111, mail [EMAIL]."


def test_a_number_that_two_segments_share_is_found() -> None:
    """Nothing of it stays behind, and what is around it does."""
    shown = redacted(said("My card is 4111 1111", "1111 1111, got it?"))
    assert [segment.text for segment in shown.segments] == ["My card is [CREDIT_DEBIT_NUMBER]", ", got it?"]


def test_what_stands_for_a_number_has_its_time_and_class() -> None:
    """A player can be silenced there, and the doubt of the worst word is that of the whole."""
    transcript = redacted(said("It is 4111 1111 1111 1111."))
    found = next(item for item in transcript.segments[0].items if item.redaction)
    assert (found.start, found.end, found.redaction) == (1.0, 2.9, "CREDIT_DEBIT_NUMBER")
    assert found.confidence == 0.9
    assert transcript.is_redacted


def test_numbers_on_two_channels_are_not_mixed_up() -> None:
    """Each channel is read by itself, whoever spoke in between."""
    shown = redacted(said("My card is 4111 1111", "I am listening.", "1111 1111.", channels=("ch_0", "ch_1")))
    assert [segment.text for segment in shown.segments] == [
        "My card is [CREDIT_DEBIT_NUMBER]",
        "I am listening.",
        ".",
    ]


def test_digits_as_words_are_english_alone() -> None:
    """Elsewhere a number is found in digits, by the plan of the code's country."""
    german = redacted(said("Rufen Sie 030 901820 an oder vier eins eins.", language_code="de-DE"))
    assert german.text == "Rufen Sie [PHONE] an oder vier eins eins."


def test_a_transcript_that_was_finished_stays_as_it_is() -> None:
    """Finishing twice changes nothing more."""
    once = redacted(said("Card 4111 1111 1111 1111, mail ann@example.com, call 415-555-2671."))
    assert redacted(once) == once


@pytest.mark.parametrize(
    ("method", "shown"),
    [
        ("mask", "The *** seaside ***, is *** damned."),
        ("remove", "The seaside, is damned."),
        ("tag", "The Damn seaside damn, is new York damned."),
    ],
)
def test_words_of_a_filter_are_found_whole_and_whatever_their_capitals(method: str, shown: str) -> None:
    """Phrases too; part of a longer word is not the word."""
    transcript = filtered(said("The Damn seaside damn, is new York damned."), method, "damn", "New York")
    assert transcript.text == shown
    tagged = [item.content for item in transcript.segments[0].items if item.is_filter_match]
    assert tagged == (["Damn", "damn", "new", "York"] if method == "tag" else [])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("My mother-in-law is in.", "My mother-in-law is ***."),
        ("In-house law at law.com.", "In-house *** at law.com."),
        ("The law's end and the 10:10.", "The *** end and the 10:10."),
        ("Is it mother-in-law's?", "Is it mother-in-law's?"),
        ("Rock'n'roll, in 1,10 and 10", "Rock'n'roll, *** 1,10 and ***"),
    ],
)
def test_a_part_of_a_word_that_marks_join_is_not_the_word(text: str, shown: str) -> None:
    """As AWS has it: exact words; a genitive is its word."""
    assert filtered(said(text), "mask", "in", "law", "10", "n").text == shown


def test_a_mask_has_the_time_of_what_it_covers() -> None:
    """One for a phrase, from its first word to its last."""
    items = filtered(said("in New York today"), "mask", "new york").segments[0].items
    assert [(item.content, item.start, item.end) for item in items][1] == ("***", 0.5, 1.4)


def test_a_filter_finds_words_in_a_script_without_spaces() -> None:
    """Wherever they stand, across the pieces that the recogniser makes."""
    transcript = chinese("今天", "天气", "很好", language_code="zh-CN")
    assert filtered(transcript, "mask", "天气").text == "今天***很好"
    assert filtered(transcript, "remove", "气很").text == "今天"


@pytest.mark.parametrize(
    ("language_code", "shown"),
    [
        ("zh-CN", "头发里面后来"),
        ("zh-TW", "頭髮裡面後來"),
        ("zh-HK", "頭髮裏面後來"),
        ("zh", "頭发里面後来"),
    ],
)
def test_chinese_is_in_the_script_of_its_code(language_code: str, shown: str) -> None:
    """Mixed text comes out in one script, word by word with their times; a bare zh is left alone."""
    transcript = chinese("頭发", "里面", "後来", language_code=language_code)
    converted = finished(transcript, TranscriptionOptions(language_code=language_code))
    assert converted.text == shown
    assert [item.start for item in converted.segments[0].items] == [0.0, 0.5, 1.0]


def test_another_language_is_not_touched_by_the_scripts_of_chinese() -> None:
    """Japanese writes with some of the same characters."""
    transcript = chinese("台湾", "発明", language_code="ja-JP")
    assert finished(transcript, TranscriptionOptions(language_code="ja-JP")) == transcript
