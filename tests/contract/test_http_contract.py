"""The HTTP contract, asked of a real server word for word; the tests play the worker behind it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import update

from batchscribe.database.schema import transcripts
from batchscribe.errors import RequestRefused
from batchscribe.web.errors import STATUSES
from running_api import WAV, RunningApi, running_api

JOB_NAME = re.compile(r"transcribe-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SUBMIT = "/transcribe-batch-async"
SUPPORTED = "mp3, mp4, wav, flac, ogg, amr, webm, m4a"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """Run one server for this module."""
    with running_api(tmp_path_factory.mktemp("api"), sync_wait_seconds=1.5) as running:
        yield running


@pytest.fixture
def empty_api(tmp_path: Path) -> Iterator[RunningApi]:
    """Run a server that has no jobs."""
    with running_api(tmp_path / "api") as running:
        yield running


def post(api: RunningApi, path: str = SUBMIT, **options: Any) -> requests.Response:
    """Ask with POST."""
    return requests.post(api.base_url + path, timeout=30, **options)


def refusal(answer: requests.Response) -> tuple[int, dict[str, str], str]:
    """Return what makes up a refusal: the status, the body, the stable code."""
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status_code, answer.json(), answer.headers["X-Error-Code"]


def later(seconds: float, action: Any, *arguments: Any) -> None:
    """Do something after a while."""
    threading.Timer(seconds, action, arguments).start()


def test_a_submission_is_answered_201_with_the_fields_of_the_document(api: RunningApi) -> None:
    """All seven fields are there, and the address and the endpoint name the job."""
    answer = post(api, files={"file": ("audio.mp3", b"ID3" + bytes(100))}, data={"language_code": "en-US"})
    body = answer.json()
    name = body["job_name"]
    assert answer.status_code == 201
    assert JOB_NAME.fullmatch(name)
    assert body["status"] in {"QUEUED", "IN_PROGRESS"}
    assert re.fullmatch(rf"s3://[a-z-]+/audio/batch/\d{{4}}-\d\d-\d\d/{name}\.mp3", body["s3_url"])
    assert body["upload_time_seconds"] >= 0
    assert body["language_code"] == "en-US"
    assert body["message"] == "Transcription job started. Use /transcribe-job/<job_name> to check status."
    assert body["status_endpoint"] == f"/transcribe-job/{name}"
    assert len(body) == 7


def test_the_language_is_en_us_where_none_or_an_empty_one_is_sent(api: RunningApi) -> None:
    """A form with an empty field is what a browser sends for a field that was left alone."""
    for fields in ({}, {"language_code": ""}):
        answer = post(api, files={"file": ("a.wav", WAV)}, data=fields)
        assert answer.json()["language_code"] == "en-US"


def test_the_language_may_come_after_the_file(api: RunningApi) -> None:
    """The order of a form's fields is the client's choice."""
    answer = post(api, files=[("file", ("a.wav", WAV)), ("language_code", (None, "zh-CN"))])
    assert answer.json()["language_code"] == "zh-CN"


@pytest.mark.parametrize("path", [SUBMIT, "/transcribe-batch"])
@pytest.mark.parametrize(
    ("request_options", "sentence"),
    [
        ({"data": {"language_code": "en-US"}}, "No file provided"),
        ({"json": {"file": "audio.mp3"}}, "No file provided"),
        ({}, "No file provided"),
        ({"files": {"audio": ("a.wav", WAV)}}, "No file provided"),
        ({"files": {"file": (None, "text")}}, "No file provided"),
        ({"files": {"file": (None, "x" * 100_000)}}, "No file provided"),
        ({"files": {"file": ("notes.txt", b"text")}}, f"Unsupported file format: txt. Supported formats: {SUPPORTED}"),
        ({"files": {"file": ("NOTES.TXT", b"text")}}, f"Unsupported file format: TXT. Supported formats: {SUPPORTED}"),
    ],
)
def test_a_bad_upload_is_refused_in_the_words_of_the_original(
    api: RunningApi, path: str, request_options: dict[str, Any], sentence: str
) -> None:
    """The body is the sentence alone; the code stands in a header."""
    status, body, code = refusal(post(api, path, **request_options))
    assert (status, body) == (400, {"error": sentence})
    assert code in {"invalid_request", "unsupported_media_format"}


def test_an_empty_file_name_is_no_selected_file(api: RunningApi) -> None:
    """A browser sends this where nobody chose a file."""
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--b--\r\n'
    answer = post(api, data=form, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert refusal(answer)[:2] == (400, {"error": "No file selected"})


def test_an_unknown_language_is_refused_before_or_after_the_file(api: RunningApi) -> None:
    """The sentence names what was sent."""
    file, language = ("file", ("a.wav", WAV)), ("language_code", (None, "xx-XX"))
    for parts in ([file, language], [language, file]):
        status, body, code = refusal(post(api, files=parts))
        assert (status, code) == (400, "unsupported_language")
        assert "xx-XX" in body["error"]


def test_a_queued_job_says_so(api: RunningApi) -> None:
    """The message names the status."""
    body = api.get(f"/transcribe-job/{api.submit()}").json()
    assert body["status"] == "QUEUED"
    assert body["message"] == "Job status: QUEUED"


def test_a_job_in_progress_has_the_fields_of_the_document(api: RunningApi) -> None:
    """The start time is there and the message is the document's."""
    name = api.submit(language_code="fr-FR")
    api.start(name)
    body = api.get(f"/transcribe-job/{name}").json()
    assert (
        body.items()
        >= {
            "job_name": name,
            "status": "IN_PROGRESS",
            "language_code": "fr-FR",
            "message": "Transcription is still in progress. Check again in a few seconds.",
        }.items()
    )
    assert body["creation_time"] < body["start_time"]


def test_a_completed_job_has_the_fields_of_the_document(api: RunningApi) -> None:
    """Among them the transcript, and the recording's own format and rate."""
    name = api.submit()
    api.start(name)
    api.complete(name)
    body = api.get(f"/transcribe-job/{name}").json()
    assert body["status"] == "COMPLETED"
    assert body["transcript"] == "Hello there."
    assert body["media_format"] == "wav"
    assert body["media_sample_rate_hz"] == 44100
    assert body["s3_url"].endswith(f"/{name}.wav")
    assert body["creation_time"] < body["completion_time"]
    assert body["completion_time"].endswith("+00:00")


def test_a_failed_job_has_its_reason_and_no_completion_time(api: RunningApi) -> None:
    """So does the document's."""
    name = api.submit()
    api.fail(name, "The media format is not supported")
    body = api.get(f"/transcribe-job/{name}").json()
    assert body["status"] == "FAILED"
    assert body["failure_reason"] == "The media format is not supported"
    assert "completion_time" not in body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/transcribe-job/{}"),
        ("DELETE", "/transcribe-job/{}"),
        ("GET", "/transcribe-job/{}?wait=1"),
        ("GET", "/transcribe-job/{}/transcript"),
        ("GET", "/transcribe-job/{}/media"),
        ("POST", "/transcribe-job/{}/cancel"),
    ],
)
@pytest.mark.parametrize("name", ["transcribe-invalid-job-name", "..%00", "%ff", "x" * 300])
def test_an_unknown_job_is_a_404_with_a_message(api: RunningApi, method: str, path: str, name: str) -> None:
    """Whatever is asked of it, and however odd its name is."""
    answer = requests.request(method, api.base_url + path.format(name), timeout=30)
    status, body, code = refusal(answer)
    assert (status, code) == (404, "job_not_found")
    assert body["error"].startswith("Job not found: ")
    assert body["message"] == "The transcription job does not exist or has been deleted."
    assert len(body) == 2


def test_a_list_has_all_jobs_latest_first(empty_api: RunningApi) -> None:
    """Times that are not there are null, a reason only stands where a job failed, and the filters are echoed."""
    first, second = empty_api.submit(), empty_api.submit()
    empty_api.fail(first, "Insufficient audio data")
    body = empty_api.get("/transcribe-jobs").json()
    assert [job["job_name"] for job in body["jobs"]] == [second, first]
    assert body["count"] == 2
    assert body["filters"] == {"status": "all", "max_results": 20}
    assert body.keys() == {"jobs", "count", "filters"}
    queued, failed = body["jobs"]
    times = {"creation_time", "start_time", "completion_time"}
    assert queued.keys() == {"job_name", "status", "language_code"} | times
    assert queued["start_time"] is None
    assert failed["failure_reason"] == "Insufficient audio data"


def test_a_list_is_filtered_in_capitals_or_not_and_echoes_what_was_sent(empty_api: RunningApi) -> None:
    """The original did so too."""
    name = empty_api.submit()
    empty_api.submit()
    empty_api.start(name)
    for sent in ("IN_PROGRESS", "in_progress", "In_Progress"):
        body = empty_api.get(f"/transcribe-jobs?status={sent}").json()
        assert [job["job_name"] for job in body["jobs"]] == [name]
        assert body["filters"]["status"] == sent
    assert empty_api.get("/transcribe-jobs?status=").json()["filters"]["status"] == "all"


def test_a_list_is_read_on_with_its_token(empty_api: RunningApi) -> None:
    """The last page has no token."""
    names = [empty_api.submit() for _ in range(3)]
    first = empty_api.get("/transcribe-jobs?max_results=2").json()
    assert first["message"]
    last = empty_api.get("/transcribe-jobs", params={"max_results": 2, "next_token": first["next_token"]}).json()
    assert [job["job_name"] for job in first["jobs"] + last["jobs"]] == names[::-1]
    assert "next_token" not in last


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("status=DONE", "Invalid status filter. Must be one of: QUEUED, IN_PROGRESS, COMPLETED, FAILED"),
        ("max_results=abc", "Invalid max_results. Must be a whole number of at least 1"),
        ("max_results=0", "Invalid max_results. Must be a whole number of at least 1"),
        ("max_results=-1", "Invalid max_results. Must be a whole number of at least 1"),
        ("max_results=", "Invalid max_results. Must be a whole number of at least 1"),
        ("max_results=%D9%A3", "Invalid max_results. Must be a whole number of at least 1"),
        ("next_token=nonsense", None),
    ],
)
def test_a_bad_parameter_of_a_list_is_a_400(api: RunningApi, query: str, sentence: str | None) -> None:
    """The original answered 500 to some of these."""
    status, body, code = refusal(api.get(f"/transcribe-jobs?{query}"))
    assert (status, code) == (400, "invalid_request")
    assert body.keys() == {"error"}
    assert sentence in {None, body["error"]}


def test_max_results_is_capped_at_100(api: RunningApi) -> None:
    """More is not refused."""
    assert api.get("/transcribe-jobs?max_results=5000").json()["filters"]["max_results"] == 100


def test_a_wait_is_answered_as_soon_as_the_job_changes(api: RunningApi) -> None:
    """Long before the wait is over."""
    name = api.submit()
    later(0.3, api.start, name)
    began_at = time.monotonic()
    body = api.get(f"/transcribe-job/{name}?wait=20").json()
    assert body["status"] == "IN_PROGRESS"
    assert 0.25 < time.monotonic() - began_at < 15


def test_a_wait_ends_with_the_job_as_it_is(api: RunningApi) -> None:
    """When nothing has happened."""
    name = api.submit()
    began_at = time.monotonic()
    assert api.get(f"/transcribe-job/{name}?wait=0.3").json()["status"] == "QUEUED"
    assert 0.25 < time.monotonic() - began_at < 15


def test_a_job_that_has_ended_is_not_waited_for(api: RunningApi) -> None:
    """It will never change again."""
    name = api.submit()
    api.fail(name, "reason")
    began_at = time.monotonic()
    assert api.get(f"/transcribe-job/{name}?wait=60").json()["status"] == "FAILED"
    assert time.monotonic() - began_at < 30


def test_a_job_deleted_while_it_is_waited_for_is_a_404(api: RunningApi) -> None:
    """At once."""
    name = api.submit()
    later(0.2, api.service.delete, name)
    assert api.get(f"/transcribe-job/{name}?wait=20").status_code == 404


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "", "1e3", "nan", "inf", "1_0", "1e999"])
def test_a_bad_wait_is_a_400(api: RunningApi, wait: str) -> None:
    """Whether or not the job has ended."""
    name = api.submit()
    assert refusal(api.get(f"/transcribe-job/{name}?wait={wait}"))[0] == 400
    api.fail(name, "reason")
    assert refusal(api.get(f"/transcribe-job/{name}?wait={wait}"))[0] == 400


def test_a_cancelled_job_is_failed_and_cannot_be_cancelled_again(api: RunningApi) -> None:
    """The answer is the job as it is then."""
    name = api.submit()
    answer = post(api, f"/transcribe-job/{name}/cancel")
    assert answer.status_code == 200
    assert answer.json().items() >= {"status": "FAILED", "failure_reason": "Cancelled by request."}.items()
    assert refusal(post(api, f"/transcribe-job/{name}/cancel"))[::2] == (409, "job_already_ended")


def test_a_deleted_job_is_gone(api: RunningApi) -> None:
    """The answer names it; a second deletion finds nothing."""
    name = api.submit()
    answer = requests.delete(f"{api.base_url}/transcribe-job/{name}", timeout=30)
    assert (answer.status_code, answer.json()["job_name"]) == (200, name)
    assert requests.delete(f"{api.base_url}/transcribe-job/{name}", timeout=30).status_code == 404


def test_a_transcript_is_read_in_every_format(api: RunningApi) -> None:
    """Plain text is what is read where no format is named."""
    name = api.submit()
    api.start(name)
    api.complete(name)
    read = {each: api.get(f"/transcribe-job/{name}/transcript?format={each}") for each in ("txt", "json", "srt", "vtt")}
    assert read["json"].json()["segments"][0]["items"][0]["content"] == "Hello"
    assert read["vtt"].text.startswith("WEBVTT")
    assert "-->" in read["srt"].text
    assert "Hello there." in read["txt"].text
    assert api.get(f"/transcribe-job/{name}/transcript").text == read["txt"].text
    assert f'filename="{name}.srt"' in read["srt"].headers["Content-Disposition"]


def test_an_unknown_format_is_a_400_that_names_the_known_ones(api: RunningApi) -> None:
    """Whatever the job."""
    status, body, _ = refusal(api.get(f"/transcribe-job/{api.submit()}/transcript?format=doc"))
    assert status == 400
    assert all(name in body["error"] for name in ("txt", "json", "srt", "vtt"))


def test_a_transcript_that_is_not_there_yet_is_a_409(api: RunningApi) -> None:
    """The same goes for a job that failed."""
    name = api.submit()
    assert refusal(api.get(f"/transcribe-job/{name}/transcript"))[::2] == (409, "job_not_finished")
    api.fail(name, "reason")
    assert refusal(api.get(f"/transcribe-job/{name}/transcript"))[::2] == (409, "job_not_finished")


def test_the_recording_comes_back_as_it_was_sent(api: RunningApi) -> None:
    """As a download that no browser runs."""
    name = api.submit()
    answer = api.get(f"/transcribe-job/{name}/media")
    assert (answer.status_code, answer.content) == (200, WAV)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}.wav"'
    assert answer.headers["Content-Type"] == "audio/wav"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        ("bytes=0-3", 206, slice(0, 4)),
        ("bytes=4-", 206, slice(4, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=-9999", 206, slice(None)),
        ("bytes=10-99999", 206, slice(10, None)),
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=5-4", 200, slice(None)),
        ("bytes=0-1,4-5", 200, slice(None)),
        ("bytes=-", 200, slice(None)),
        ("lines=0-1", 200, slice(None)),
    ],
)
def test_one_range_of_the_recording_is_served(api: RunningApi, asked: str, status: int, expected: slice) -> None:
    """What is no single range is answered with the whole (RFC 9110, section 14.2)."""
    answer = api.get(f"/transcribe-job/{api.submit()}/media", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (status, WAV[expected])
    if status == 206:
        start = len(WAV) - len(answer.content) if expected.start is None or expected.start < 0 else expected.start
        assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(answer.content) - 1}/{len(WAV)}"


@pytest.mark.parametrize("asked", ["bytes=999999-", "bytes=-0"])
def test_a_range_beyond_the_recording_is_a_416(api: RunningApi, asked: str) -> None:
    """The answer says how long the recording is."""
    answer = api.get(f"/transcribe-job/{api.submit()}/media", headers={"Range": asked})
    assert refusal(answer)[::2] == (416, "invalid_range")
    assert answer.headers["Content-Range"] == f"bytes */{len(WAV)}"


def test_a_range_of_another_recording_is_not_served(api: RunningApi) -> None:
    """``If-Range`` names the recording that the client has the beginning of."""
    path = f"/transcribe-job/{api.submit()}/media"
    etag = api.get(path).headers["ETag"]
    assert api.get(path, headers={"Range": "bytes=1-", "If-Range": etag}).status_code == 206
    assert api.get(path, headers={"Range": "bytes=1-", "If-Range": '"other"'}).status_code == 200


def test_the_synchronous_route_answers_with_the_transcript_and_leaves_no_job(empty_api: RunningApi) -> None:
    """The fields are the original's."""

    def work() -> None:
        while not (found := empty_api.get("/transcribe-jobs").json()["jobs"]):
            time.sleep(0.02)
        empty_api.start(found[0]["job_name"])
        empty_api.complete(found[0]["job_name"])

    later(0, work)
    answer = post(empty_api, "/transcribe-batch", files={"file": ("a.wav", WAV)})
    body = answer.json()
    assert answer.status_code == 200
    assert body.items() >= {"transcript": "Hello there.", "mode": "batch"}.items()
    assert body.keys() == {
        "transcript",
        "mode",
        "upload_time_seconds",
        "total_processing_time_seconds",
        "s3_url",
    }
    assert empty_api.job_count() == 0


def test_the_synchronous_route_says_why_a_recording_failed(empty_api: RunningApi) -> None:
    """With a 500, as the original did; the job stays."""

    def work() -> None:
        while not (found := empty_api.get("/transcribe-jobs").json()["jobs"]):
            time.sleep(0.02)
        empty_api.fail(found[0]["job_name"], "The recording is damaged.")

    later(0, work)
    answer = post(empty_api, "/transcribe-batch", files={"file": ("a.wav", WAV)})
    assert refusal(answer)[:2] == (500, {"error": "Transcription failed: The recording is damaged."})
    assert empty_api.job_count() == 1


def test_the_synchronous_route_gives_up_waiting_with_a_408(api: RunningApi) -> None:
    """The job goes on."""
    answer = post(api, "/transcribe-batch", files={"file": ("a.wav", WAV)})
    assert refusal(answer)[:2] == (408, {"error": "Transcription timeout. Job may still be processing."})


def test_health_is_the_original_answer(api: RunningApi) -> None:
    """It says that the process lives, and no more."""
    assert api.get("/health").json() == {"status": "healthy"}


def test_readiness_names_what_is_not_ready(api: RunningApi) -> None:
    """Here no worker runs."""
    answer = api.get("/readyz")
    assert answer.status_code == 503
    parts = answer.json()["parts"]
    assert parts["database"]["ok"]
    assert not parts["worker"]["ok"]


def test_unknown_paths_and_methods_are_refused_in_the_same_shape(api: RunningApi) -> None:
    """A method that a path does not have is answered with those it has."""
    assert refusal(api.get("/nothing"))[::2] == (404, "not_found")
    assert refusal(api.get("/transcribe-jobs/"))[::2] == (404, "not_found")
    answer = requests.put(f"{api.base_url}/transcribe-job/name", timeout=30)
    assert refusal(answer)[::2] == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS"
    assert refusal(api.get(SUBMIT))[0] == 405


def test_options_names_the_methods_and_head_is_get_without_a_body(api: RunningApi) -> None:
    """On the routes that send files, too."""
    answer = requests.options(api.base_url + SUBMIT, timeout=30)
    assert (answer.status_code, answer.headers["Allow"]) == (204, "OPTIONS, POST")
    name = api.submit()
    for path in ("/health", "/transcribe-jobs", f"/transcribe-job/{name}", f"/transcribe-job/{name}/media"):
        answer = requests.head(api.base_url + path, timeout=30)
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["Content-Length"]) == len(api.get(path).content)


def test_every_answer_carries_the_security_headers(api: RunningApi) -> None:
    """Refusals do too."""
    for path in ("/health", "/nothing", "/transcribe-jobs?status=x"):
        headers = api.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "Server" not in headers


def test_an_unforeseen_error_is_a_500_with_a_reference_into_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees nothing of the cause; the log has it under the reference."""
    with running_api(tmp_path / "api") as api:
        name = api.submit()
        api.start(name)
        api.complete(name)
        with api.database.begin() as connection:
            connection.execute(update(transcripts).values(body="{}"))
        answer = api.get(f"/transcribe-job/{name}/transcript")
    status, body, code = refusal(answer)
    assert (status, code) == (500, "internal_error")
    reference = re.fullmatch(r"Internal error\. Reference: ([0-9a-f]{32})", body["error"])
    assert reference
    assert reference[1] in caplog.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_every_refusal_has_its_status() -> None:
    """The one table knows every error that a request can be refused with."""

    def codes(kind: type[RequestRefused]) -> set[str]:
        return {kind.code}.union(*(codes(each) for each in kind.__subclasses__()))

    assert codes(RequestRefused) == STATUSES.keys()
