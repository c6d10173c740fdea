"""Whatever a client sends, our readers take it or refuse it in words: never another error, never more than was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from batchscribe.client.answers import UnexpectedAnswer
from batchscribe.client.events import EventReader
from batchscribe.database.page_tokens import make_token, read_token
from batchscribe.domain.keys import key_text, read_key_text
from batchscribe.domain.option_fields import read_options
from batchscribe.domain.webhooks import EVENT_TYPES, read_subscription
from batchscribe.egress import EgressRules, check_url
from batchscribe.errors import RequestRefused
from batchscribe.exports.rendering import read_render_options
from batchscribe.web.downloads import _asked_span
from batchscribe.web.json_body import MAX_BODY_BYTES, json_object
from batchscribe.web.live import _read_event_id
from batchscribe.web.pages import read_max_results
from batchscribe.webhooks.attempts import retry_after_seconds

NOW = datetime(2026, 2, 5, tzinfo=UTC)
SIZE = 1000
RULES = EgressRules.read(allow="", ports="443")
#: What headers and queries hold: mostly what the readers know, bent.
HEADER = st.text(st.characters(max_codepoint=255), max_size=60)
RANGE = st.from_regex(r"(bytes|items)\s?=?[-0-9, ]{0,24}", fullmatch=True) | HEADER
OPTION_NAMES = (
    "language_code", "show_speaker_labels", "max_speaker_labels", "channel_identification", "vocabulary_name",
    "vocabulary_filter_name", "vocabulary_filter_method", "redact_types", "max_alternatives", "identify_language",
)  # fmt: skip
OPTION_VALUE = st.sampled_from(["true", "FALSE", "2", "-1", "0", "999999999999", "en-US", "mask", "EMAIL,PHONE", " "])
LISTED = st.dictionaries(st.sampled_from(OPTION_NAMES), OPTION_VALUE | st.text(max_size=40), max_size=5)
RENDERING = ("max_lines", "max_line_chars", "max_chars", "min_seconds", "max_seconds", "gap", "speakers", "x")
HOSTS = (
    "example.com",
    "127.0.0.1",
    "[::1]",
    "0x7f.1",
    "2130706433",
    "user@host",
    "a b",
    "",
    "host:99999",
    "[::ffff:10.0.0.1]",
)


def sentence_of(read: Callable[[], object]) -> str | None:
    """Return the sentence with which something is refused; None where it is taken."""
    try:
        read()
    except RequestRefused as refusal:
        return str(refusal)
    return None


@given(value=RANGE)
def test_a_range_is_within_the_recording_or_refused(value: str) -> None:
    """Or all of it is meant."""
    try:
        span = _asked_span({"range": value}, SIZE, '"etag"')
    except RequestRefused:
        return
    assert span is None or (0 <= span.start < span.stop <= SIZE)


@given(first=st.integers(0, SIZE - 1), last=st.integers(0, 10 * SIZE))
def test_a_plain_range_means_what_it_says(first: int, last: int) -> None:
    """Its end is at most the recording's; one that runs backwards is none."""
    span = _asked_span({"range": f"bytes={first}-{last}"}, SIZE, '"etag"')
    assert span == (range(first, min(last + 1, SIZE)) if last >= first else None)


@given(moment=st.datetimes(timezones=st.just(UTC)), name=st.from_regex(r"[0-9A-Za-z._-]{1,40}", fullmatch=True))
def test_a_pages_token_says_where_the_page_ended(moment: datetime, name: str) -> None:
    """And nothing is lost of it."""
    assert read_token(make_token((moment, name))) == (moment, name)


@given(token=st.text(max_size=80) | st.binary(max_size=60).map(lambda content: content.decode("latin-1")))
def test_any_other_token_is_refused(token: str) -> None:
    """In words; or it is one that we could have written."""
    try:
        moment, name = read_token(token)
    except RequestRefused:
        return
    assert moment.utcoffset() is not None
    assert name.isprintable()


@given(value=st.none() | st.from_regex(r"[0-9]{0,20}(\.[0-9]{0,11}){0,3}", fullmatch=True) | HEADER)
def test_an_id_to_go_on_from_is_three_numbers_or_refused(value: str | None) -> None:
    """None of them below nought, nor larger than a database keeps."""
    try:
        place = _read_event_id(value)
    except RequestRefused:
        return
    assert len(place) == 3
    assert all(0 <= each < 1 << 63 for each in place)


@given(value=HEADER | st.integers().map(str))
def test_the_size_of_a_page_is_from_1_to_100_or_refused(value: str) -> None:
    """Whatever is asked for."""
    with suppress(RequestRefused):
        assert 1 <= read_max_results(value) <= 100


@given(fields=LISTED)
def test_options_are_read_or_refused(fields: dict[str, str]) -> None:
    """With a sentence that names the field and is not longer than what was sent deserves."""
    said = sentence_of(lambda: read_options(fields))
    assert said is None or 0 < len(said) < 1000


@given(query=st.dictionaries(st.sampled_from(RENDERING) | st.text(max_size=8), st.text(max_size=20) | OPTION_VALUE))
def test_rules_for_subtitles_are_read_or_refused(query: dict[str, str]) -> None:
    """So are all other options of a format."""
    assert sentence_of(lambda: read_render_options(query, job_name="job")) != ""


@given(
    url=st.builds("{}://{}{}".format, st.sampled_from(["https", "http", "HTTPS", "file", ""]), st.sampled_from(HOSTS),
                  st.text(max_size=20)) | st.text(max_size=60)
)  # fmt: skip
def test_an_address_that_may_be_tried_names_a_host_and_nothing_else(url: str) -> None:
    """Without user and password, at an allowed port, and no private address by number."""
    said = sentence_of(lambda: check_url(url, RULES))
    if said is not None:
        assert "example.com" not in said
        return
    allowed = urlsplit(url)
    assert (allowed.scheme, allowed.port or 443, allowed.username) == ("https", 443, None)
    assert allowed.hostname
    try:
        assert ip_address(allowed.hostname).is_global
    except ValueError:
        assert not allowed.hostname.startswith("[")


@given(url=st.text(max_size=40), events=st.lists(st.sampled_from(EVENT_TYPES) | st.text(max_size=20)), payload=HEADER)
def test_a_subscription_is_of_known_events_or_refused(url: str, events: list[str], payload: str) -> None:
    """Each once."""
    try:
        read = read_subscription(url, tuple(events), payload)
    except RequestRefused:
        return
    assert set(read.events) <= set(EVENT_TYPES)
    assert len(set(read.events)) == len(read.events) > 0


@given(text=st.text(max_size=100) | st.from_regex(r"bsk_[0-9a-f]{15,17}_[0-9a-f]{63,65}", fullmatch=True))
def test_a_key_is_read_as_it_is_written_or_not_at_all(text: str) -> None:
    """No other spelling opens."""
    read = read_key_text(text)
    assert read is None or key_text(*read) == text


@given(value=HEADER | st.integers().map(str) | st.datetimes().map(lambda moment: f"{moment:%a, %d %b %Y %H:%M:%S GMT}"))
def test_when_to_come_again_is_a_number_of_seconds_or_nothing(value: str) -> None:
    """Never before now, never without end."""
    seconds = retry_after_seconds(value, at=NOW)
    assert seconds is None or 0 <= seconds < 1e12


def body_of(content: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> Any:
    """Read a body that comes in pieces of up to 7,000 bytes."""
    pieces = [content[start : start + 7000] for start in range(0, len(content), 7000)] or [b""]

    async def receive() -> dict[str, Any]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers or []}, receive)
    return asyncio.run(json_object(request))


@given(content=st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode()) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8).map(lambda data: json.dumps(data).encode())
)  # fmt: skip
def test_a_body_is_an_object_of_json_or_refused(content: bytes) -> None:
    """And then it is what any reader of JSON makes of it."""
    try:
        read = body_of(content)
    except RequestRefused:
        return
    assert isinstance(read, dict)
    assert read == (json.loads(content) if content else {})


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 30_000,
        b'{"a":' * 12_000,
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"{" + b" " * MAX_BODY_BYTES + b"}",
        b'{"a": 1, "a": 2}',
        "{}".encode("utf-16"),
    ],
    ids=["deep list", "deep object", "no number", "no end", "long number", "long body", "twice", "UTF-16"],
)
def test_what_is_no_plain_json_is_refused(content: bytes) -> None:
    """Although some readers would take it."""
    with pytest.raises(RequestRefused):
        body_of(content)


@given(lines=st.lists(st.sampled_from(["", ": ", "event: a", "id: 1", "data: {}", "data: [", "data", "x:y"]) | HEADER))
def test_a_stream_of_any_lines_is_read_or_is_none_of_ours(lines: list[str]) -> None:
    """By the Python client."""
    reader = EventReader("job")
    try:
        events = [event for line in lines if (event := reader.read(line)) is not None]
    except UnexpectedAnswer:
        return
    assert all(event.name for event in events) or "event:" in lines or "event: " in lines or "event" in lines
