"""Jobs at AWS: real servers and workers with AWS's own client library, over the fake Transcribe and moto."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from sqlalchemy import text

from batchscribe.database.connection import connect
from conftest import Clip, Server, running_server
from fake_transcribe.app import AwsError, Script
from fake_transcribe.running import RunningAws, running_aws
from object_servers import BUCKET, ObjectServer, moto_server, use_environment

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("aws")
long = pytest.mark.skipif(os.environ.get("FAULTS") != "full", reason="runs with FAULTS=full")


@pytest.fixture(scope="module")
def objects() -> Iterator[ObjectServer]:
    """Return moto's server, of these tests alone: its rules hear every event."""
    with moto_server() as running:
        yield running


@pytest.fixture
def aws(objects: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningAws]:
    """Return an AWS whose variables are set."""
    with running_aws(objects) as running:
        for key in running.keys(""):
            running.client("s3").delete_object(Bucket=BUCKET, Key=key)
        use_environment(monkeypatch, running.environment())
        yield running


@pytest.fixture
def serve(aws: RunningAws, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server with the AWS engine."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(**settings: str) -> Server:
            asked: dict[str, Any] = aws.settings() | {"aws_poll_seconds": "1", "log_level": "WARNING"} | settings
            return stack.enter_context(running_server(tmp_path / "data", **asked))

        yield start


def submit(server: Server, clip: Clip, *, expected: int = 201, **fields: Any) -> dict[str, Any]:
    """Submit a clip and return the answer."""
    with clip.path.open("rb") as media:
        answer = requests.post(
            f"{server.base_url}/transcribe-batch-async", files={"file": media}, data=fields, timeout=30
        )
    assert answer.status_code == expected, answer.text
    body: dict[str, Any] = answer.json()
    return body


def ended(server: Server, job_name: str, seconds: float = 40.0) -> dict[str, Any]:
    """Wait until a job has ended, and return it."""
    until = time.monotonic() + seconds
    while (job := server.get(f"/transcribe-job/{job_name}?wait=10"))["status"] not in {"COMPLETED", "FAILED"}:
        assert time.monotonic() < until, job
    return job


def eventually(is_so: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it did not come so"
        time.sleep(0.05)


def test_the_test_script_gets_a_transcript(serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]) -> None:
    """From upload to transcript over HTTP, with one start and one look, and no copy left."""
    server = serve()
    command = [sys.executable, str(ROOT / "test_async_batch.py"), str(clips[0].path)]
    environment = server.environment | {"BATCHSCRIBE_URL": server.base_url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the quick brown fox jumps over the lazy dog says" in done.stdout
    assert aws.fake.count()["StartTranscriptionJob"] == aws.fake.count()["GetTranscriptionJob"] == 1
    eventually(lambda: not aws.keys("audio/"))
    assert len(aws.keys("transcripts/")) == 1


def test_a_job_tells_its_engine_and_its_cost(serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]) -> None:
    """Fifteen seconds are the least that is billed; /metrics adds up."""
    server = serve(aws_price_per_minute="0.03")
    job = ended(server, submit(server, clips[0])["job_name"])
    assert job["engine"] == "aws"
    assert job["media_sample_rate_hz"] == 16000
    assert job["media_duration_seconds"] == pytest.approx(clips[0].seconds, abs=0.1)
    assert (job["billed_seconds"], job["estimated_cost_usd"]) == (15.0, 0.0075)
    metrics = requests.get(f"{server.base_url}/metrics", timeout=30).text
    assert "batchscribe_billed_seconds_total 15.0\n" in metrics
    assert "batchscribe_estimated_cost_usd_total 0.0075\n" in metrics
    assert aws.fake.highest_running == 1


def test_options_reach_aws_and_come_back_as_labels(
    serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]
) -> None:
    """Speakers, a vocabulary and the identified language."""
    aws.fake.vocabularies.add("ours")
    server = serve()
    asked: dict[str, Any] = {
        "identify_language": "true",
        "language_options": "fr-FR,en-US",
        "show_speaker_labels": "true",
    }
    name = submit(server, clips[0], **asked, max_speaker_labels="2", vocabulary_name="ours")["job_name"]
    job = ended(server, name)
    assert job["language_code"] == "fr-FR"
    started = aws.fake.jobs[name]
    assert started["Settings"] == {"ShowSpeakerLabels": True, "MaxSpeakerLabels": 2, "VocabularyName": "ours"}
    transcript = server.get(f"/transcribe-job/{name}/transcript?format=json")
    assert {segment["speaker_label"] for segment in transcript["segments"]} == {"spk_0", "spk_1"}


def test_other_readings_are_in_the_transcript(serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]) -> None:
    """As many as were asked for, in our own format and in AWS's."""
    server = serve()
    name = submit(server, clips[0], max_alternatives="3")["job_name"]
    ended(server, name)
    assert aws.fake.jobs[name]["Settings"] == {"ShowAlternatives": True, "MaxAlternatives": 3}
    [stretch] = server.get(f"/transcribe-job/{name}/transcript?format=json")["alternatives"]
    likeliest, *others = [reading["text"] for reading in stretch["readings"]]
    assert likeliest == server.get(f"/transcribe-job/{name}")["transcript"]
    assert [other.startswith(likeliest.rstrip(".")) for other in others] == [True, True]
    [segment] = server.get(f"/transcribe-job/{name}/transcript?format=aws")["results"]["segments"]
    assert [each["transcript"] for each in segment["alternatives"]] == [likeliest, *others]


def test_what_an_engine_cannot_do_is_refused_at_once(serve: Callable[..., Server], clips: list[Clip]) -> None:
    """With a sentence that names field and engine, whatever is the default."""
    server = serve(engine="scripted", other_engines="aws")
    sentence = submit(server, clips[0], expected=400, max_alternatives="3")["error"]
    assert sentence == "The scripted engine cannot do max_alternatives. Leave the field out."
    assert "from 2 to 10" in submit(server, clips[0], expected=400, engine="aws", max_alternatives="11")["error"]
    assert "Must be one of: scripted, aws" in submit(server, clips[0], expected=400, engine="local")["error"]
    assert "engine" not in ended(server, submit(server, clips[0])["job_name"])
    assert ended(server, submit(server, clips[0], engine="aws")["job_name"])["engine"] == "aws"


def test_failures_are_told_in_the_words_of_aws(
    serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]
) -> None:
    """And with a code of ours."""
    codes = {
        "Unsupported media format.": "media_not_recognised",
        "The media format provided does not match the detected media format.": "media_not_recognised",
        "Invalid file size: file size too large. Maximum audio duration is 4.000000 hours.": "media_too_long",
        "Invalid number of channels: number of channels too large.": "engine_failed",
    }
    left = list(codes)
    aws.fake.script = lambda _request: Script(failure_reason=left.pop())
    server = serve()
    jobs = [ended(server, submit(server, clips[0])["job_name"]) for _ in codes]
    assert {job["status"] for job in jobs} == {"FAILED"}
    assert {job["failure_reason"]: job["failure_code"] for job in jobs} == codes


def test_what_aws_does_not_take_fails_with_its_sentence(
    serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]
) -> None:
    """An unknown vocabulary, and a bucket that it may not read."""
    server = serve()
    job = ended(server, submit(server, clips[0], vocabulary_name="nobody-s")["job_name"])
    assert job["failure_code"] == "engine_refused"
    assert job["failure_reason"].startswith("The requested vocabulary couldn't be found.")
    aws.fake.unreadable_buckets.add(BUCKET)
    job = ended(server, submit(server, clips[0])["job_name"])
    assert job["failure_reason"].startswith("The S3 URI that you provided can't be accessed.")
    eventually(lambda: not aws.keys("audio/"))


@long
def test_throttling_fails_no_job(serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]) -> None:
    """Each call is refused twice, as AWS refuses and as its servers break: every job in another order."""
    errors = (
        ("ThrottlingException", "Rate exceeded", 400),
        ("LimitExceededException", "You have too many jobs running.", 400),
        ("InternalFailureException", "An internal error occurred.", 500),
    )
    calls: dict[tuple[str, str], int] = {}
    places: dict[str, int] = {}

    def trouble(operation: str, request: dict[str, Any]) -> None:
        name = request.get("TranscriptionJobName", "")
        count = calls[operation, name] = calls.get((operation, name), 0) + 1
        if name and count <= 2:
            raise AwsError(*errors[(places.setdefault(name, len(places)) + count) % len(errors)])

    aws.fake.trouble = trouble
    server = serve()
    names = [submit(server, clips[0])["job_name"] for _ in range(3)]
    assert all(ended(server, name, 90)["status"] == "COMPLETED" for name in names)
    assert sorted(aws.fake.begun) == sorted(names)


@pytest.mark.parametrize("events", [pytest.param(0, marks=long), 3])
def test_lost_and_doubled_events_change_nothing(
    serve: Callable[..., Server], aws: RunningAws, clips: list[Clip], events: int
) -> None:
    """Lost ones are made up for by the list, doubled ones are harmless."""
    aws.fake.script = lambda _request: Script(events=events)
    server = serve()
    names = [submit(server, clips[0])["job_name"] for _ in range(3)]
    assert all(ended(server, name)["status"] == "COMPLETED" for name in names)
    assert aws.fake.count()["GetTranscriptionJob"] == 3


def test_a_start_whose_answer_was_lost_starts_one_job(
    serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]
) -> None:
    """The second try finds the name taken, by a job of the same recording."""
    granted = aws.fake._granted

    async def answer(operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        body = await granted(operation, asked)
        if operation == "StartTranscriptionJob":
            raise AwsError("InternalFailureException", "The answer is lost.", 500)
        return body

    aws.fake._granted = answer  # type: ignore[method-assign]
    server = serve()
    name = submit(server, clips[0])["job_name"]
    assert ended(server, name)["status"] == "COMPLETED"
    assert aws.fake.begun == [name]
    assert aws.fake.count()["StartTranscriptionJob"] == 2


@long
def test_a_worker_that_is_killed_again_and_again_starts_each_job_once(
    serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]
) -> None:
    """Wherever it was: what is not known to have been started is started again under the same name."""
    aws.fake.script = lambda _request: Script(seconds=1.0)
    server = serve()
    names = [submit(server, clips[0])["job_name"] for _ in range(8)]
    for _ in range(3):
        time.sleep(0.4)
        for child in psutil.Process(server.process.pid).children():
            if "worker" in child.cmdline():
                child.kill()
    assert all(ended(server, name, 90)["status"] == "COMPLETED" for name in names)
    assert sorted(aws.fake.begun) == sorted(names)


def test_a_job_of_another_recording_under_our_name_is_not_ours(
    serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]
) -> None:
    """It is not taken over, and not deleted."""

    def trouble(operation: str, request: dict[str, Any]) -> None:
        name = request.get("TranscriptionJobName", "")
        if operation == "StartTranscriptionJob" and name not in aws.fake.jobs:
            aws.fake.jobs[name] = {
                "TranscriptionJobName": name,
                "TranscriptionJobStatus": "COMPLETED",
                "Media": {"MediaFileUri": "s3://neighbours/talk.mp3"},
            }

    aws.fake.trouble = trouble
    server = serve()
    name = submit(server, clips[0])["job_name"]
    job = ended(server, name)
    assert (job["status"], job["failure_code"]) == ("FAILED", "engine_refused")
    assert name in aws.fake.jobs


def test_a_job_that_somebody_deleted_at_aws_fails(
    serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]
) -> None:
    """The list is where that is seen."""
    aws.fake.script = lambda _request: Script(seconds=60)
    server = serve()
    name = submit(server, clips[0])["job_name"]
    eventually(lambda: name in aws.fake.jobs)
    del aws.fake.jobs[name]
    job = ended(server, name)
    assert (job["failure_code"], job["failure_reason"]) == (
        "engine_job_missing",
        "The job was deleted in AWS Transcribe.",
    )


def test_nothing_is_left_of_cancelled_and_deleted_jobs(
    serve: Callable[..., Server], aws: RunningAws, clips: list[Clip], tmp_path: Path
) -> None:
    """AWS deletes no job that runs: that is waited for."""
    aws.fake.script = lambda _request: Script(seconds=2.0, events=0)
    server = serve()
    cancelled, deleted = (submit(server, clips[0])["job_name"] for _ in range(2))
    eventually(lambda: len(aws.fake.jobs) == 2)
    requests.post(f"{server.base_url}/transcribe-job/{cancelled}/cancel", timeout=30).raise_for_status()
    requests.delete(f"{server.base_url}/transcribe-job/{deleted}", timeout=30).raise_for_status()
    assert server.get(f"/transcribe-job/{cancelled}")["failure_code"] == "cancelled"
    eventually(lambda: not aws.fake.jobs and not aws.keys("audio/") and not aws.keys("transcripts/"), 60)
    database = connect(f"sqlite:///{tmp_path / 'data' / 'batchscribe.sqlite'}")
    try:

        def rows() -> int:
            with database.connect() as connection:
                count: int = connection.execute(text("SELECT count(*) FROM remote_jobs")).scalar_one()
                return count

        eventually(lambda: rows() == 0)
    finally:
        database.dispose()


def test_a_server_whose_credentials_are_wrong_does_not_start(
    aws: RunningAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to look at."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    settings = {f"BATCHSCRIBE_{name.upper()}": value for name, value in aws.settings().items()}
    environment = aws.environment() | settings | {"BATCHSCRIBE_DATA_DIR": str(tmp_path), "AWS_ACCESS_KEY_ID": "wrong"}
    command = [sys.executable, "-m", "batchscribe", "worker"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "UnrecognizedClientException" in done.stderr
    assert "AWS_ACCESS_KEY_ID" in done.stderr


def test_jobs_wait_while_credentials_are_refused_but_not_for_ever(
    serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]
) -> None:
    """The client then reads what AWS said."""
    server = serve(aws_patience_seconds="1")
    aws.fake.access_key = "another"
    job = ended(server, submit(server, clips[0])["job_name"])
    assert job["failure_code"] == "engine_access_denied"
    assert "UnrecognizedClientException" in job["failure_reason"]


def test_recordings_in_a_bucket_are_read_where_they_are(
    serve: Callable[..., Server], aws: RunningAws, clips: list[Clip]
) -> None:
    """With the S3 store nothing is copied, and the recording stays."""
    server = serve(storage_url=f"s3://{BUCKET}/store", aws_bucket="")
    name = submit(server, clips[0])["job_name"]
    assert ended(server, name)["status"] == "COMPLETED"
    uri = aws.fake.jobs[name]["Media"]["MediaFileUri"]
    assert uri.startswith(f"s3://{BUCKET}/store/audio/batch/")
    assert aws.keys("audio/") + aws.keys("store/audio/") == [uri.removeprefix(f"s3://{BUCKET}/")]


def test_finished_jobs_of_the_account_are_imported(serve: Callable[..., Server], aws: RunningAws) -> None:
    """Each once, with its transcript, times and cost; deleting ours leaves AWS's."""
    client = aws.client("s3")
    client.put_object(Bucket=BUCKET, Key="meetings/one.mp3", Body=b"x")
    from fake_transcribe.running import client as client_of

    transcribe = client_of("transcribe", aws.endpoint)
    request = {"LanguageCode": "en-GB", "Media": {"MediaFileUri": f"s3://{BUCKET}/meetings/one.mp3"}}
    transcribe.start_transcription_job(TranscriptionJobName="meeting-1", OutputBucketName=BUCKET, **request)
    eventually(lambda: aws.fake.jobs["meeting-1"]["TranscriptionJobStatus"] == "COMPLETED")
    server = serve()
    command = [sys.executable, "-m", "batchscribe", "aws", "import", "--contains", "meeting"]
    for said in ("meeting-1\timported\n", "meeting-1\tis there already\n"):
        done = subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, said), done.stderr
    job = server.get("/transcribe-job/meeting-1")
    assert job["status"] == "COMPLETED"
    assert job["s3_url"] == f"s3://{BUCKET}/meetings/one.mp3"
    assert (job["language_code"], job["media_format"], job["billed_seconds"]) == ("en-GB", "mp3", 15.0)
    assert job["transcript"].startswith("the quick brown fox")
    assert requests.get(f"{server.base_url}/transcribe-job/meeting-1/media", timeout=30).status_code == 404
    requests.delete(f"{server.base_url}/transcribe-job/meeting-1", timeout=30).raise_for_status()
    assert "meeting-1" in aws.fake.jobs
