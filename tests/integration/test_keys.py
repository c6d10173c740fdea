"""API keys at a running server: who is let in, what they see, and how much they may use."""

from __future__ import annotations

import sqlite3
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from batchscribe.database import keys as key_queries
from batchscribe.domain.keys import DEFAULT_SCOPES, Quotas
from batchscribe.web.gate import Access
from running_api import WAV, RunningApi, running_api

CLOSED = Access()
ON_LOOPBACK = Access(is_open_without_keys=True)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    """Run a server that asks for keys once there is one."""
    with running_api(tmp_path, access=ON_LOOPBACK) as running:
        yield running


def make_key(api: RunningApi, *scopes: str, expires_at: datetime | None = None, **quotas: Any) -> tuple[str, str]:
    """Make a key; return its id and its text."""
    key, text = api.service.ring.create(
        "test", scopes=scopes or DEFAULT_SCOPES, quotas=Quotas(**quotas), expires_at=expires_at
    )
    return key.id, text


def ask(api: RunningApi, text: str | None, path: str, method: str = "GET", **options: Any) -> requests.Response:
    """Ask with a key."""
    headers = {"Authorization": f"Bearer {text}"} if text else {}
    return requests.request(method, api.base_url + path, headers=headers, timeout=30, **options)


def submit(api: RunningApi, text: str | None, **fields: Any) -> requests.Response:
    """Submit a recording with a key."""
    return ask(api, text, "/transcribe-batch-async", "POST", files={"file": ("a.wav", WAV)}, data=fields)


def test_a_server_on_the_loopback_is_open_until_there_is_a_key(api: RunningApi) -> None:
    """And closed from then on, also when the key is revoked."""
    assert submit(api, None).status_code == 201
    key_id, text = make_key(api)
    api.service.ring._looked_at = 0.0
    refused = ask(api, None, "/transcribe-jobs")
    assert (refused.status_code, refused.headers["X-Error-Code"]) == (401, "key_missing")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert ask(api, text, "/transcribe-jobs").status_code == 200
    assert requests.get(f"{api.base_url}/transcribe-jobs", headers={"X-API-Key": text}, timeout=30).status_code == 200
    api.service.ring.revoke(key_id)
    assert ask(api, text, "/transcribe-jobs").headers["X-Error-Code"] == "key_refused"
    assert ask(api, None, "/transcribe-jobs").status_code == 401


@pytest.mark.parametrize(("access", "status"), [(CLOSED, 401), (Access(is_open_always=True), 200)])
def test_elsewhere_it_is_open_only_by_name(tmp_path: Path, access: Access, status: int) -> None:
    """Probes and the documentation are always answered."""
    with running_api(tmp_path, access=access) as api:
        assert ask(api, None, "/transcribe-jobs").status_code == status
        for path in ("/health", "/docs", "/docs/start.js", "/openapi.json"):
            assert ask(api, None, path).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", ""])
def test_without_keys_only_this_machines_own_names_are_served(api: RunningApi, host: str) -> None:
    """A page of another site whose name leads here is refused; with a key it would have needed the key."""
    answer = requests.get(f"{api.base_url}/transcribe-jobs", headers={"Host": host}, timeout=30)
    assert answer.status_code in {421, 400}
    for own in ("localhost:5001", "127.0.0.1", "[::1]:80", "app.localhost"):
        assert requests.get(f"{api.base_url}/transcribe-jobs", headers={"Host": own}, timeout=30).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://localhost:1"]
)
def test_without_keys_pages_of_other_origins_change_nothing(api: RunningApi, origin: str) -> None:
    """A browser would send their forms and texts here unasked; what has a key in it is its sender's own doing."""
    sent = {"Origin": origin}
    form = {"file": ("a.wav", WAV)}
    for answer in (
        requests.post(f"{api.base_url}/transcribe-batch-async", headers=sent, files=form, timeout=10),
        requests.post(f"{api.base_url}/webhook-endpoints", headers=sent, data='{"url": "https://x"}', timeout=10),
        requests.post(f"{api.base_url}/files", headers=sent, timeout=10),
    ):
        assert (answer.status_code, answer.headers["X-Error-Code"]) == (403, "origin_not_allowed")
    assert requests.get(f"{api.base_url}/transcribe-jobs", headers=sent, timeout=10).json()["count"] == 0
    own = {"Origin": api.base_url}
    answer = requests.post(f"{api.base_url}/transcribe-batch-async", headers=own, files=form, timeout=10)
    assert answer.status_code == 201
    _, text = make_key(api)
    answer = ask(api, text, "/transcribe-batch-async", "POST", files=form)
    assert answer.status_code == 201


def test_what_is_no_good_key_opens_nothing(api: RunningApi) -> None:
    """Nonsense, another's secret, an expired one."""
    key_id, text = make_key(api)
    _, other = make_key(api)
    _, expired = make_key(api, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    mixed = f"bsk_{key_id}_{other.rpartition('_')[2]}"
    for bad in ("nonsense", mixed, expired, text[:-1], text + "0", text.upper(), f"bsk_{'0' * 16}_{'0' * 64}"):
        assert ask(api, bad, "/transcribe-jobs").headers["X-Error-Code"] == "key_refused", bad


def test_a_rotated_key_opens_with_both_secrets_for_a_day(api: RunningApi) -> None:
    """And sees the same jobs."""
    key_id, before = make_key(api)
    name = submit(api, before).json()["job_name"]
    after = api.service.ring.rotate(key_id)
    for text in (before, after):
        assert ask(api, text, f"/transcribe-job/{name}").status_code == 200
    [key] = api.service.ring.list()
    secrets = [text.rpartition("_")[2] for text in (before, after)]
    assert [key.opens_with(each, at=datetime.now(UTC) + timedelta(hours=25)) for each in secrets] == [False, True]


def test_a_key_does_what_its_scopes_say(api: RunningApi) -> None:
    """Read, write and metrics are three."""
    (_, reader), (_, writer), (_, counter) = make_key(api, "read"), make_key(api, "write"), make_key(api, "metrics")
    assert ask(api, reader, "/transcribe-jobs").status_code == 200
    assert submit(api, reader).headers["X-Error-Code"] == "scope_missing"
    assert submit(api, writer).status_code == 201
    assert ask(api, writer, "/transcribe-jobs").status_code == 403
    assert ask(api, counter, "/metrics").status_code == 200
    assert ask(api, reader, "/metrics").status_code == 403
    assert ask(api, reader, "/webhook-secret").status_code == 403
    assert ask(api, writer, "/webhook-secret").status_code == 200


def test_nobody_sees_or_touches_anothers_job(api: RunningApi) -> None:
    """On no route; what is answered is what is answered for a job that is not there."""
    (_, mine), (_, theirs) = make_key(api), make_key(api)
    name = submit(api, mine, webhook_url="").json()["job_name"]
    api.start(name)
    api.complete(name)
    gone = "transcribe-00000000-0000-4000-8000-000000000000"
    for method, below in (
        ("GET", ""), ("GET", "?wait=1"), ("GET", "/transcript"), ("GET", "/transcript?since_segment=0"),
        ("GET", "/media"), ("GET", "/events"), ("GET", "/speakers"), ("PATCH", "/speakers"), ("POST", "/cancel"),
        ("DELETE", ""),
    ):  # fmt: skip
        foreign, absent = (
            ask(
                api,
                theirs,
                f"/transcribe-job/{each}{below}",
                method,
                json={"ch_0": "Ann"} if method == "PATCH" else None,
            )
            for each in (name, gone)
        )
        assert (foreign.status_code, absent.status_code) == (404, 404), below
        assert foreign.text.replace(name, gone) == absent.text
        assert foreign.headers.keys() == absent.headers.keys()
    last = ask(api, theirs, f"/transcribe-job/{name}/events").request
    assert requests.get(str(last.url), headers={**last.headers, "Last-Event-ID": "1"}, timeout=30).status_code == 404
    assert ask(api, theirs, "/transcribe-jobs").json()["count"] == 0
    assert ask(api, mine, "/transcribe-jobs").json()["count"] == 1
    assert ask(api, mine, f"/transcribe-job/{name}").json()["status"] == "COMPLETED"
    assert ask(api, mine, f"/transcribe-job/{name}", "DELETE").status_code == 200


def test_a_foreign_job_takes_as_long_as_one_that_is_not_there(api: RunningApi) -> None:
    """The medians of many questions, asked in turn, differ by less than a fifth."""
    (_, mine), (_, theirs) = make_key(api), make_key(api)
    name = submit(api, mine).json()["job_name"]
    gone = "transcribe-00000000-0000-4000-8000-000000000000"
    times: dict[str, list[float]] = {name: [], gone: []}
    with requests.Session() as session:
        session.headers["X-API-Key"] = theirs
        for _ in range(300):
            for each, taken in times.items():
                began = time.perf_counter()
                session.get(f"{api.base_url}/transcribe-job/{each}", timeout=30)
                taken.append(time.perf_counter() - began)
    foreign, absent = (statistics.median(taken) for taken in times.values())
    assert foreign == pytest.approx(absent, rel=0.2)


def test_webhooks_belong_to_their_key_too(api: RunningApi) -> None:
    """Endpoints, secrets and deliveries."""
    (_, mine), (_, theirs) = make_key(api), make_key(api)
    made = ask(api, mine, "/webhook-endpoints", "POST", json={"url": "https://example.com/"}).json()
    path = f"/webhook-endpoints/{made['id']}"
    for method, below in (("GET", ""), ("GET", "/secret"), ("POST", "/test"), ("DELETE", "")):
        assert ask(api, theirs, path + below, method).status_code == 404
    assert ask(api, theirs, "/webhook-endpoints").json()["count"] == 0
    secrets = [ask(api, text, "/webhook-secret").json()["secret"] for text in (mine, theirs)]
    assert secrets[0] != secrets[1]


@pytest.mark.parametrize(("kind", "field"), [("vocabularies", "phrases"), ("vocabulary-filters", "words")])
def test_lists_of_words_belong_to_their_key_too(api: RunningApi, kind: str, field: str) -> None:
    """Two lists of one name are two; nobody reads, names, replaces or deletes another's."""
    (_, mine), (_, theirs), (_, reader) = make_key(api), make_key(api), make_key(api, "read")
    path = f"/{kind}/names"

    def put(text: str, word: str) -> int:
        return ask(api, text, path, "PUT", json={"language_code": "en-US", field: [word]}).status_code

    listed = kind.replace("-", "_")
    asked = (
        {"vocabulary_name": "names"}
        if kind == "vocabularies"
        else {"vocabulary_filter_name": "names", "vocabulary_filter_method": "mask"}
    )
    assert put(mine, "Ann") == 201
    assert ask(api, theirs, path).headers["X-Error-Code"] == "vocabulary_not_found"
    assert ask(api, theirs, f"/{kind}").json()[listed] == []
    assert ask(api, theirs, path, "DELETE").status_code == 404
    refused = submit(api, theirs, **asked)
    assert refused.status_code == 400
    assert "named names" in refused.json()["error"]
    assert put(theirs, "Bob") == 201
    assert put(theirs, "Bea") == 200
    assert [ask(api, text, path).json()[field] for text in (mine, theirs)] == [["Ann"], ["Bea"]]
    assert ask(api, theirs, path, "DELETE").status_code == 200
    assert ask(api, mine, f"/{kind}").json()["count"] == 1
    assert submit(api, mine, **asked).status_code == 201
    assert (put(reader, "Eve"), ask(api, reader, path, "DELETE").status_code) == (403, 403)
    assert ask(api, reader, path).status_code == 404


def test_the_same_idempotency_key_of_two_keys_makes_two_jobs(api: RunningApi) -> None:
    """Nobody is told of another's."""
    names = set()
    for _, text in (make_key(api), make_key(api)):
        for _ in range(2):
            headers = {"X-API-Key": text, "Idempotency-Key": "same"}
            files = {"file": ("a.wav", WAV)}
            answer = requests.post(f"{api.base_url}/transcribe-batch-async", headers=headers, files=files, timeout=30)
            names.add(answer.json()["job_name"])
    assert len(names) == 2


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))])
def test_the_quota_of_jobs_is_exact_under_fifty_clients(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """Seven of fifty are accepted; when one ends, one more is."""
    options = {} if kind == "sqlite" else {"database_url": request.getfixturevalue("postgres_url")}
    with running_api(tmp_path, access=ON_LOOPBACK, **options) as api:
        _, text = make_key(api, jobs=7)
        answers: list[requests.Response] = []
        threads = [threading.Thread(target=lambda: answers.append(submit(api, text))) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(each.status_code for each in answers) == [201] * 7 + [429] * 43
        refused = next(each for each in answers if each.status_code == 429)
        assert (refused.headers["X-Error-Code"], refused.headers["Retry-After"]) == ("quota_used_up", "5")
        name = next(each for each in answers if each.status_code == 201).json()["job_name"]
        api.fail(name, "Damaged.")
        assert [submit(api, text).status_code for _ in range(2)] == [201, 429]
        assert api.unfinished_uploads() == []


def test_the_minutes_of_a_day_are_counted_although_jobs_are_deleted(api: RunningApi) -> None:
    """Two and a half seconds a job, one second granted: the second job is refused."""
    key_id, text = make_key(api, audio_minutes=1 / 60)
    name = submit(api, text).json()["job_name"]
    api.start(name)
    api.complete(name)
    ask(api, text, f"/transcribe-job/{name}", "DELETE")
    assert submit(api, text).headers["X-Error-Code"] == "quota_used_up"
    with api.database.connect() as connection:
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        assert key_queries.used_seconds(connection, key_id, at=tomorrow) == 0.0


def test_the_rate_of_requests_is_kept_and_told(api: RunningApi) -> None:
    """Of forty at once as many as the second allows; others' keys are not touched."""
    (_, text), (_, other) = make_key(api, requests_per_second=10.0), make_key(api)
    answers = [ask(api, text, "/transcribe-jobs") for _ in range(12)]
    assert answers[0].headers["RateLimit-Limit"] == "10"
    assert answers[0].headers["RateLimit-Remaining"] == "9"
    began = time.monotonic()
    granted = [ask(api, text, "/transcribe-jobs").status_code for _ in range(60)].count(200)
    assert granted <= 10 * (time.monotonic() - began) + 10
    while (refused := ask(api, text, "/transcribe-jobs")).status_code == 200:
        assert time.monotonic() - began < 20
    assert refused.headers["X-Error-Code"] == "rate_exceeded"
    assert int(refused.headers["Retry-After"]) >= 1
    assert "RateLimit-Limit" not in ask(api, other, "/transcribe-jobs").headers


def test_a_key_is_kept_nowhere_in_clear(api: RunningApi, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the database nor in the log nor in an answer."""
    caplog.set_level("DEBUG")
    _, text = make_key(api)
    secret = text.rpartition("_")[2]
    answers = [
        submit(api, text),
        ask(api, text, "/transcribe-jobs"),
        ask(api, text + "x", "/transcribe-jobs"),
    ]
    assert all(secret not in each.text + str(each.headers) for each in answers)
    connection = sqlite3.connect(api.data_dir / "batchscribe.sqlite")
    assert secret not in "\n".join(connection.iterdump())
    connection.close()
    assert secret not in caplog.text
