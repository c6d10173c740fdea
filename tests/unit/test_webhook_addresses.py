"""Receivers' addresses are kept sealed, and those that were kept in clear before are still read."""

from __future__ import annotations

import pytest

from batchscribe.domain.webhooks import Subscription
from batchscribe.errors import WebhooksNotSetUp
from batchscribe.sealing import Seal
from batchscribe.webhooks.addresses import AddressSeal

URL = "https://hooks.example.com:443/T0KEN?token=T0KEN"
KEY = b"a server's key"


def test_a_subscription_is_kept_with_no_more_of_its_address_than_the_host() -> None:
    """And it is what it was when it is opened; the same address is not the same text twice."""
    seal = AddressSeal(KEY)
    kept = seal.sealed(Subscription(url=URL, events=("job.failed",)))
    assert "T0KEN" not in repr(kept)
    assert kept.origin == "https://hooks.example.com:443"
    assert kept.events == ("job.failed",)
    assert seal.open(kept.url) == URL
    assert seal.sealed(Subscription(url=URL)).url != kept.url


@pytest.mark.parametrize("kept", [URL, "HTTP://10.0.0.1/", ""])
@pytest.mark.parametrize("key", [KEY, None])
def test_what_was_kept_in_clear_is_read_as_it_is(kept: str, key: bytes | None) -> None:
    """With a key or without."""
    assert AddressSeal(key).open(kept) == kept


def test_what_another_key_sealed_cannot_be_read() -> None:
    """Nor what was sealed for another purpose, without any key, or broken."""
    kept = AddressSeal(KEY).seal(URL)
    assert AddressSeal(b"another").open(kept) is None
    assert AddressSeal(None).open(kept) is None
    assert AddressSeal(KEY).open(kept[:-5]) is None
    assert AddressSeal(KEY).open("sealed:" + Seal(KEY, purpose="media addresses").seal(URL)) is None


def test_without_a_key_nothing_is_kept() -> None:
    """Least of all in clear."""
    with pytest.raises(WebhooksNotSetUp):
        AddressSeal(None).sealed(Subscription(url=URL))


def test_fingerprints_of_submissions_are_those_of_the_version_before() -> None:
    """A retry after an upgrade is known for the same submission."""
    expected = (
        "Subscription(url='https://a.example/', events=('job.completed', 'job.failed'), "
        "payload=<PayloadFormat.STANDARD: 'standard'>)"
    )
    assert str(Subscription(url="https://a.example/")) == expected
