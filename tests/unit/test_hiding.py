"""Secrets are taken out of what is logged; the search for planted ones finds every spelling."""

from __future__ import annotations

import base64

import pytest

from batchscribe.hiding import Hider
from batchscribe.settings import load, secrets_of
from planted import COLLECTOR_TOKEN, DATABASE_PASSWORD, OBJECT_STORE_SECRET, SERVER_KEY, names_found


def test_known_secrets_are_hidden_wherever_they_stand() -> None:
    """Also as an address has them; one within another leaves nothing of either."""
    hide = Hider(["se/cret&word", "a se/cret&word more", "short"])
    assert hide("x=se/cret&word, ?k=se%2Fcret%26word.") == "x=***, ?k=***."
    assert hide("a se/cret&word more") == "***"
    assert hide("a short word stays") == "a short word stays"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer bsk_0123456789abcdef_0123",
        "GET /hook?token=0123456789&x=1",
        "GET /hook?api_key=0123456789",
        "https://user:0123456789@host/",
        "secret whsec_0123456789+/=",
        "access-token=0123456789;",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    """Although nobody has said that it is one."""
    assert "0123" not in Hider()(text)
    assert "***" in Hider()(text)


def test_what_does_not_look_like_one_stays() -> None:
    """Tokens of pages and ordinary words are none."""
    text = "next_token=abc123 the bearer of news, secretary=Ann, http://host:5001/a@b"
    assert Hider()(text) == text


def test_every_secret_of_the_settings_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's password, AWS's key, the collector's token in its path or behind it, the server's key."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OBJECT_STORE_SECRET)
    settings = load(
        database_url=f"postgresql://user:{DATABASE_PASSWORD}@host/name",
        otlp_traces_url=f"https://host/v1/{COLLECTOR_TOKEN}-in-the-path/traces?token={COLLECTOR_TOKEN}",
        secret_key=SERVER_KEY,
    )
    known = set(secrets_of(settings))
    assert known == {
        SERVER_KEY, DATABASE_PASSWORD, OBJECT_STORE_SECRET, COLLECTOR_TOKEN, f"{COLLECTOR_TOKEN}-in-the-path",
    }  # fmt: skip


@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"xyz"])
@pytest.mark.parametrize("behind", [b"", b"x", b"xy"])
def test_a_secret_within_base64_is_found(before: bytes, behind: bytes) -> None:
    """Wherever in it; and in hexadecimal."""
    content = before + SERVER_KEY.encode() + behind
    secrets = {"key": SERVER_KEY}
    assert names_found(secrets, base64.b64encode(content)) == {"key"}
    assert names_found(secrets, base64.urlsafe_b64encode(content)) == {"key"}
    assert names_found(secrets, content.hex().encode()) == {"key"}
    assert names_found(secrets, base64.b64encode(content[:20])) == set()
