"""Rules that hold for every route: security headers, no coded bodies, one range, bounded JSON, foreign pages."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from running_api import WAV, RunningApi, running_api
from tus_requests import TusRequests

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """Run one server for this module."""
    with running_api(tmp_path_factory.mktemp("api")) as running:
        yield running


def test_every_answer_has_the_security_headers(api: RunningApi) -> None:
    """Good ones, refusals, pages, streams and recordings; what is no page can load nothing and be framed nowhere."""
    name = api.submit()
    api.start(name)
    api.complete(name)
    tus = TusRequests(api.base_url)
    url = tus.begin(5)
    answers = [
        api.get("/health"),
        api.get("/metrics"),
        api.get("/openapi.json"),
        api.get("/no-such-path"),
        api.get("/transcribe-jobs"),
        api.get("/transcribe-jobs?max_results=x"),
        api.get("/transcribe-job/none"),
        api.get(f"/transcribe-job/{name}"),
        api.get(f"/transcribe-job/{name}/transcript?format=srt"),
        api.get(f"/transcribe-job/{name}/events"),
        api.get(f"/transcribe-job/{name}/media"),
        api.get(f"/transcribe-job/{name}/media", headers={"Range": "bytes=0-3"}),
        api.get("/docs/start.js"),
        requests.delete(f"{api.base_url}/health", timeout=10),
        requests.options(f"{api.base_url}/health", timeout=10),
        requests.options(f"{api.base_url}/files", timeout=10),
        tus.head(url),
        tus.patch(url, b"RIFF", at=0),
        tus.patch(url, b"x", at=0),
        tus.create(-1),
    ]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in ALWAYS} == ALWAYS, answer.url
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"], answer.url
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], answer.url
    media = answers[10]
    assert "sandbox" in media.headers["Content-Security-Policy"]
    assert media.headers["Content-Disposition"].startswith("attachment;")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, identity"])
def test_a_coded_body_is_refused_by_every_route_that_takes_one(api: RunningApi, coding: str) -> None:
    """Nothing is unpacked, so nothing small can become large."""
    headers = {"Content-Encoding": coding}
    body = gzip.compress(b"{}")
    url = TusRequests(api.base_url).begin(5)
    refused = [
        requests.put(f"{api.base_url}/vocabularies/a", data=body, headers=headers, timeout=10),
        requests.post(f"{api.base_url}/webhook-endpoints", data=body, headers=headers, timeout=10),
        requests.post(f"{api.base_url}/transcribe-batch-async", data=body, headers=headers, timeout=10),
        requests.post(f"{api.base_url}/transcribe-batch", data=body, headers=headers, timeout=10),
        TusRequests(api.base_url).patch(url, body[:5], at=0, headers=headers),
        TusRequests(api.base_url).create(5, body=body[:5], headers=headers),
    ]
    assert [answer.status_code for answer in refused] == [400, 400, 400, 400, 415, 415]
    assert all("Content-Encoding" in answer.json()["error"] for answer in refused)


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,3-4", "bytes=0-0," * 500 + "bytes=1-1", "bytes=" + "0-," * 1000, "items=0-1"]
)
def test_several_ranges_are_answered_with_the_whole(api: RunningApi, asked: str) -> None:
    """One is served; many would cost more than they are worth."""
    name = api.submit()
    answer = api.get(f"/transcribe-job/{name}/media", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, WAV)


@pytest.mark.parametrize("asked", [f"bytes={'9' * 4000}-", f"bytes=0-{'9' * 4000}", f"bytes=-{'9' * 4000}"])
def test_a_range_of_a_thousand_digits_does_no_harm(api: RunningApi, asked: str) -> None:
    """Whatever it is answered with, it is no error of the server."""
    name = api.submit()
    assert api.get(f"/transcribe-job/{name}/media", headers={"Range": asked}).status_code in {200, 206, 416}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('{"words": ' + "[" * 30 + "]" * 30 + "}", "nested deeper"),
        ('{"words": ' + "[" * 30_000 + "]" * 30_000 + "}", ""),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, ""),
        ('{"language_code": NaN}', "not JSON"),
        ('{"language_code": -Infinity}', "not JSON"),
        ('{"language_code": ' + "9" * 10_000 + "}", ""),
        ("[]", "not a JSON object"),
        ("\ufeff{}", ""),
        ('{"language_code": "en-US", "phrases": ["\\ud800"]}', "characters that no text has"),
        ('{"language_code": "en-US", "phrases": ["\\u0000"]}', "characters that no text has"),
        (json.dumps({"language_code": "en-US", "phrases": ["a" * (300 << 10)]}), "longer than"),
    ],
)
def test_json_that_is_no_good_is_refused(api: RunningApi, body: str, sentence: str) -> None:
    """Too deep, too long, no JSON, or with what no database keeps: 400, never an error of the server."""
    answer = requests.put(f"{api.base_url}/vocabularies/a", data=body.encode(), timeout=10)
    assert answer.status_code == 400, answer.text
    assert sentence in answer.json()["error"]


def test_twenty_levels_of_json_are_read(api: RunningApi) -> None:
    """The limit is where it is said to be; what is too deep for a field is refused for that."""
    inner: Any = "x"
    for _ in range(19):
        inner = [inner]
    answer = requests.put(f"{api.base_url}/vocabularies/a", json={"language_code": inner}, timeout=10)
    assert "Invalid language_code" in answer.json()["error"]
    answer = requests.put(f"{api.base_url}/vocabularies/a", json={"language_code": [[inner]]}, timeout=10)
    assert "nested deeper than 20" in answer.json()["error"]
