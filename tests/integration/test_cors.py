"""Which pages of other origins a browser lets use the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from batchscribe.domain.keys import DEFAULT_SCOPES, Quotas
from batchscribe.domain.origins import read_origins
from batchscribe.errors import ConfigurationError
from batchscribe.settings import load
from batchscribe.web.gate import Access
from running_api import WAV, RunningApi, running_api

APP = "https://app.example.com"
OTHERS = (
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.evil.example",
    "https://xapp.example.com",
    "null",
    "*",
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """Run a server that one page may use, and that asks for keys."""
    folder = tmp_path_factory.mktemp("api")
    with running_api(folder, access=Access(), cors_origins=(APP, "http://localhost:3000")) as running:
        yield running


@pytest.fixture(scope="module")
def key(api: RunningApi) -> str:
    """Return a key."""
    return api.service.ring.create("page", scopes=DEFAULT_SCOPES, quotas=Quotas(), expires_at=None)[1]


def preflight(api: RunningApi, path: str, origin: str, method: str, *headers: str) -> requests.Response:
    """Ask as a browser does before it asks."""
    sent = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        sent["Access-Control-Request-Headers"] = ", ".join(headers)
    return requests.options(api.base_url + path, headers=sent, timeout=10)


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/transcribe-batch-async", "POST", ["authorization", "idempotency-key"]),
        ("/transcribe-job/a", "DELETE", ["x-api-key"]),
        ("/transcribe-job/a/media", "GET", ["range", "authorization"]),
        ("/transcribe-job/a/speakers", "PUT", ["content-type"]),
        ("/transcribe-jobs/events", "GET", ["last-event-id"]),
        ("/files", "POST", ["tus-resumable", "upload-length", "upload-metadata", "idempotency-key"]),
        ("/files/a", "PATCH", ["tus-resumable", "upload-offset", "content-type", "upload-checksum"]),
        ("/files/a", "HEAD", ["tus-resumable"]),
        ("/files/a", "POST", ["x-http-method-override"]),
    ],
)
def test_a_page_that_is_named_may_ask_whatever_there_is(
    api: RunningApi, path: str, method: str, headers: list[str]
) -> None:
    """A preflight brings no key, and is answered."""
    answer = preflight(api, path, APP, method, *headers)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert method in answer.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" in answer.headers["Vary"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("origin", OTHERS)
def test_no_other_page_is_let_in(api: RunningApi, key: str, origin: str) -> None:
    """Its origin is never said back to it, neither by a preflight nor by an answer."""
    refused = preflight(api, "/files", origin, "POST")
    assert refused.status_code == 400
    answer = requests.get(f"{api.base_url}/transcribe-jobs", headers={"Origin": origin, "X-API-Key": key}, timeout=10)
    for each in (refused, answer):
        assert "Access-Control-Allow-Origin" not in each.headers


def test_what_a_page_must_read_is_exposed(api: RunningApi, key: str) -> None:
    """With good answers and with refusals: codes, rates, the way to a job and to an upload."""
    good = requests.get(f"{api.base_url}/transcribe-jobs", headers={"Origin": APP, "X-API-Key": key}, timeout=10)
    no_key = requests.get(f"{api.base_url}/transcribe-jobs", headers={"Origin": APP}, timeout=10)
    missing = requests.get(f"{api.base_url}/transcribe-job/a", headers={"Origin": APP, "X-API-Key": key}, timeout=10)
    assert [good.status_code, no_key.status_code, missing.status_code] == [200, 401, 404]
    for answer in (good, no_key, missing):
        assert answer.headers["Access-Control-Allow-Origin"] == APP
        exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        assert exposed >= {
            "X-Error-Code", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "Location",
            "Upload-Offset", "Upload-Length", "Upload-Expires", "Tus-Resumable", "X-Job-Name",
        }  # fmt: skip


def test_an_unforeseen_error_can_be_read_too(api: RunningApi, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is told the reference as everybody is."""

    def breaks(*_given: object, **_named: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(api.service, "list", breaks)
    answer = requests.get(f"{api.base_url}/transcribe-jobs", headers={"Origin": APP, "X-API-Key": key}, timeout=10)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (500, APP)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Reference: " in answer.json()["error"]


def test_by_default_no_page_is_let_in(tmp_path: Path) -> None:
    """No answer has any of the headers."""
    with running_api(tmp_path) as api:
        for answer in (
            preflight(api, "/files", APP, "POST"),
            requests.get(f"{api.base_url}/transcribe-jobs", headers={"Origin": APP}, timeout=10),
        ):
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_every_page_is_let_in_where_that_is_said_by_name(tmp_path: Path) -> None:
    """Without credentials, so cookies of another site mean nothing."""
    with running_api(tmp_path, cors_origins=("*",)) as api:
        form = {"file": ("a.wav", WAV)}
        answer = requests.post(
            f"{api.base_url}/transcribe-batch-async", headers={"Origin": APP, "Cookie": "a=b"}, files=form, timeout=10
        )
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ()),
        ("https://app.example.com", ("https://app.example.com",)),
        (" HTTPS://App.Example.com/ , http://localhost:3000,", ("https://app.example.com", "http://localhost:3000")),
        ("https://a.example:443,http://a.example:80", ("https://a.example", "http://a.example")),
        ("http://[::1]:3000,http://127.0.0.1", ("http://[::1]:3000", "http://127.0.0.1")),
        ("*", ("*",)),
    ],
)
def test_origins_are_read_as_browsers_write_them(text: str, origins: tuple[str, ...]) -> None:
    """In small letters, without the usual port."""
    assert read_origins(text) == origins


@pytest.mark.parametrize(
    "text",
    [
        "https://*",
        "https://*.example.com",
        "*,https://app.example.com",
        "**",
        "app.example.com",
        "//app.example.com",
        "null",
        "file:///x",
        "ftp://app.example.com",
        "https://",
        "https://app.example.com/path",
        "https://app.example.com?x=1",
        "https://app.example.com#",
        "https://user@app.example.com",
        "https://app.example.com:99999",
        "https://app.example.com:",
        "https://app example.com",
        "https://b\u00fccher.example",
    ],
)
def test_what_is_no_origin_is_refused_at_the_start(text: str) -> None:
    """With a sentence that names the setting: a pattern would be taken for something that it is not."""
    with pytest.raises(ConfigurationError, match="BATCHSCRIBE_CORS_ORIGINS"):
        load(cors_origins=text)
