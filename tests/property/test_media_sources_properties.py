"""Whatever a caller or a host says of a recording's name and place is read without trouble."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from batchscribe.domain.media_sources import best_name, name_in_address, name_in_disposition, read_bucket_address
from batchscribe.errors import AddressNotAllowed
from batchscribe.workflow.download import _retry_after

HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
PARAMETER = st.sampled_from(["filename", "filename*", "filename*0", "filename*1*", 'filename="', "x"])


@settings(deadline=None)
@given(st.lists(st.tuples(PARAMETER, HEADER), max_size=4))
def test_any_header_has_a_name_or_none(parameters: list[tuple[str, str]]) -> None:
    """Hosts write what they like."""
    header = "attachment; " + "; ".join(f"{name}={value}" for name, value in parameters)
    assert isinstance(name_in_disposition(header), str)


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
def test_a_name_in_an_address_is_no_path(rest: str) -> None:
    """Neither a folder nor a way up stands in it."""
    name = name_in_address(f"https://example.com/{rest}".partition("[")[0])
    assert "/" not in name
    assert name != ".."


@settings(deadline=None)
@given(st.text(max_size=40))
def test_a_bucket_address_is_read_back_or_refused(rest: str) -> None:
    """Its parts make the address again, and no part of its key leads elsewhere."""
    try:
        found = read_bucket_address(f"s3://{rest}")
    except AddressNotAllowed:
        return
    assert f"s3://{found.bucket}/{found.key}" == f"s3://{rest}"
    assert not {"", ".", ".."} & set(found.key.split("/"))


@settings(deadline=None)
@given(
    st.text(max_size=30) | st.from_regex(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", fullmatch=True)
)
def test_any_retry_after_is_a_wait(value: str) -> None:
    """A number of seconds, a date, or nothing that means anything."""
    assert _retry_after(value) >= 0.0


def test_a_retry_after_may_be_a_date() -> None:
    """In an hour from now, or in the past."""
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3500 < _retry_after(later) <= 3600
    assert _retry_after("Thu, 05 Feb 2026 10:30:00 GMT") == 0.0
    assert _retry_after("120") == 120.0


@settings(deadline=None)
@given(st.lists(st.text(max_size=10), max_size=4))
def test_the_best_name_is_one_of_those_given(names: list[str]) -> None:
    """Or none where there is none."""
    assert best_name(*names) in {*names, ""}
