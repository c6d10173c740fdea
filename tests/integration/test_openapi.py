"""The OpenAPI document against the running server, and the page that shows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from pydantic import BaseModel
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from batchscribe.domain.keys import SCOPES, Quotas
from batchscribe.web import schemas
from batchscribe.web.gate import OPEN_PATHS, Access
from running_api import RunningApi, running_api
from tus_requests import BODY_TYPE, TusRequests

schemathesis.serializer.alias(BODY_TYPE, "application/octet-stream")

CONTRACT_ROUTES = {
    ("post", "/transcribe-batch-async"),
    ("get", "/transcribe-job/{job_name}"),
    ("get", "/transcribe-jobs"),
    ("post", "/transcribe-batch"),
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """Run one server for this module."""
    with running_api(tmp_path_factory.mktemp("api"), sync_wait_seconds=0.1) as running:
        yield running


@pytest.fixture(scope="module")
def document(api: RunningApi) -> dict[str, Any]:
    """Return the OpenAPI document as it is served."""
    served: dict[str, Any] = api.get("/openapi.json").json()
    return served


@pytest.fixture(scope="module")
def completed_job(api: RunningApi) -> str:
    """Return the name of a job with a transcript."""
    name = api.submit()
    api.start(name)
    api.complete(name)
    return name


def checked_call(
    excluded: list[Any], there: dict[str, str] | None, headers: dict[str, str]
) -> Callable[[schemathesis.Case[Any]], None]:
    """Return a function that sends one request, of what is there if it is named, and checks the answer."""

    def send(case: schemathesis.Case[Any]) -> None:
        if there is not None:
            case.path_parameters = there
        case.call_and_validate(timeout=30, excluded_checks=excluded, headers=headers)

    return send


def fuzz(
    api: RunningApi,
    *,
    examples: int,
    path_regex: str = "",
    there: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    is_shut: bool = False,
) -> int:
    """Send made-up requests to every operation and check the answers; return how many operations there were."""
    schema = schemathesis.openapi.from_url(f"{api.base_url}/openapi.json").include(path_regex=path_regex)
    # Without a worker it is rightly a 503, which the checks take for a fault.
    schema = schema.exclude(path="/readyz")
    # It never ends.
    schema = schema.exclude(path="/transcribe-jobs/events")
    count = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        # No schema can say what a token, a recording, a language or a speaker of ours looks like, or which addresses
        # are allowed.
        unsaid = (
            "/files",
            "/transcribe-jobs",
            "/transcribe-batch",
            "/vocabular",
            "/webhook-endpoints",
            "/webhook-deliveries",
        )
        cannot_be_said = operation.path.startswith(unsaid) or operation.path.endswith("/speakers")
        excluded = [positive_data_acceptance] if cannot_be_said or is_shut else []
        # tus has statuses of its own, which the check does not take for refusals: 412, 413 and 460.
        excluded += [negative_data_rejection] if operation.path.startswith("/files") else []
        send = checked_call(excluded, there, headers or {})

        cases = operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
        limits = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        seed(1)(limits(given(case=cases)(send)))()
        count += 1
    return count


def test_no_request_brings_an_undocumented_answer(api: RunningApi) -> None:
    """Nor a 5xx, whatever is sent: schemathesis' own checks."""
    assert fuzz(api, examples=25) == 44


@pytest.mark.parametrize("has_key", [True, False], ids=["with a key", "without one"])
def test_no_request_to_a_server_with_keys_brings_an_undocumented_answer(tmp_path: Path, *, has_key: bool) -> None:
    """Neither of who has one, nor of who has none."""
    with running_api(tmp_path, sync_wait_seconds=0.1, access=Access.at("127.0.0.1", is_open=False)) as guarded:
        _, text = guarded.service.ring.create("fuzz", scopes=SCOPES, quotas=Quotas(), expires_at=None)
        headers = {"X-API-Key": text} if has_key else {}
        assert fuzz(guarded, examples=5, headers=headers, is_shut=not has_key) > 30


def test_answers_about_a_job_that_is_there_are_as_documented(api: RunningApi, completed_job: str) -> None:
    """Its transcript and recording among them."""
    assert (
        fuzz(
            api,
            examples=15,
            path_regex=r"job_name}($|/transcript|/speakers|/media|/cancel|/events)",
            there={"job_name": completed_job},
        )
        >= 4
    )


def test_answers_about_an_upload_that_is_there_are_as_documented(api: RunningApi) -> None:
    """Whatever is sent to it; it takes more than the few bytes that are made up here."""
    url = TusRequests(api.base_url).begin(1 << 20)
    assert fuzz(api, examples=25, path_regex="files/", there={"upload_id": url.rpartition("/")[2]}) == 5


def test_the_document_says_how_a_key_is_sent(document: dict[str, Any]) -> None:
    """As a bearer token or in a header of its own, wherever one may be asked for; a server may be open."""
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"] | {"description": ""} == {"type": "http", "scheme": "bearer", "description": ""}
    assert (schemes["apiKey"]["in"], schemes["apiKey"]["name"]) == ("header", "X-API-Key")
    for path, item in document["paths"].items():
        for operation in item.values():
            asked: list[dict[str, list[str]]] = [] if path in OPEN_PATHS else [{"bearer": []}, {"apiKey": []}, {}]
            assert operation["security"] == asked, path


def test_the_document_is_openapi_3_1_and_has_the_contracts_routes(document: dict[str, Any]) -> None:
    """Every operation says what it is for, and what can go wrong."""
    operations = {(method, path) for path, item in document["paths"].items() for method in item}
    assert document["openapi"].startswith("3.1")
    assert operations >= CONTRACT_ROUTES
    for method, path in operations:
        operation = document["paths"][path][method]
        assert operation["summary"]
        assert "422" not in operation["responses"]
        assert {"408", "431", "500", "503"} <= operation["responses"].keys()


def test_the_answers_of_the_contract_are_described_field_by_field(api: RunningApi) -> None:
    """What the server sends is what the shapes say, with no field beyond them."""
    queued, running, done, failed = (api.submit() for _ in range(4))
    for name in (running, done):
        api.start(name)
    api.complete(done)
    api.fail(failed, "reason")
    shapes: dict[str, type[BaseModel]] = {
        queued: schemas.QueuedJob,
        running: schemas.RunningJob,
        done: schemas.CompletedJob,
        failed: schemas.FailedJob,
    }
    for name, shape in shapes.items():
        body = api.get(f"/transcribe-job/{name}").json()
        shape.model_validate(body)
        assert body.keys() <= shape.model_fields.keys()
    page = api.get("/transcribe-jobs?max_results=2").json()
    schemas.JobList.model_validate(page)
    assert page.keys() == schemas.JobList.model_fields.keys()
    for job in page["jobs"]:
        assert job.keys() <= schemas.ListedJob.model_fields.keys()


class _Addresses(HTMLParser):
    """Gathers every address that a page loads something from."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline_scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        values = dict(attrs)
        self.found += [value for name in ("src", "href") if (value := values.get(name))]
        self.inline_scripts += tag == "script" and not values.get("src")


def test_the_documentation_page_loads_nothing_from_another_host(api: RunningApi) -> None:
    """All it refers to is served here, and its policy allows nothing else."""
    answer = api.get("/docs")
    page = _Addresses()
    page.feed(answer.text)
    assert len(page.found) >= 3
    assert page.inline_scripts == 0
    for address in page.found:
        parts = urlsplit(address)
        assert (parts.scheme, parts.netloc) == ("", "")
        assert api.get(address).status_code == 200
    assert not re.search(r"https?:", answer.headers["Content-Security-Policy"])
    assert "script-src 'self';" in answer.headers["Content-Security-Policy"]
    assert '"/openapi.json"' in api.get("/docs/start.js").text


def test_the_assets_of_the_page_give_away_no_other_file(api: RunningApi) -> None:
    """A path that leads out of their folder is not found."""
    for path in ("/docs/assets/../core.py", "/docs/assets/%2e%2e/core.py", "/docs/assets/", "/docs/assets/none.js"):
        request = requests.Request("GET", api.base_url).prepare()
        request.url = api.base_url + path
        with requests.Session() as session:
            assert session.send(request, timeout=30).status_code == 404
