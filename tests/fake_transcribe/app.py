"""The fake itself: jobs in memory, and one ASGI application that answers for them."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fake_transcribe.service_model import check_answer, refusal, service
from fake_transcribe.transcripts import transcript_file

#: AWS's own words.
NOT_FOUND = "The requested job couldn't be found. Check the job name and try your request again."
CONFLICT = "The requested job name already exists. Use a different job name."
NO_LANGUAGE = "The language code is missing. Either add a language code or turn on language identification."
#: Worded after AWS's.
NO_MEDIA = (
    "The S3 URI that you provided can't be accessed. Make sure that you have read permission and try your request "
    "again."
)
NO_BUCKET = "The specified S3 bucket isn't in the same region, or can't be written. Check its name and your permission."
NO_VOCABULARY = "The requested vocabulary couldn't be found. Check the vocabulary name and try your request again."
IN_PROGRESS = "The job is in progress and can't be deleted. Try again when it has ended."


@dataclass(kw_only=True)
class Script:
    """What becomes of a job."""

    seconds: float = 0.2
    failure_reason: str | None = None
    #: How often its event is sent: 0 is lost, 2 is doubled.
    events: int = 1
    words: list[str] | None = None
    #: Instead of a transcript file.
    body: bytes | None = None


class AwsError(Exception):
    """An error answer."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass
class FakeTranscribe:
    """The service's state, and what the tests ask of it."""

    s3: Any
    send_event: Callable[[dict[str, Any]], None]
    region: str = "us-east-1"
    access_key: str = "test-access-key"
    #: What becomes of each job, by its request.
    script: Callable[[dict[str, Any]], Script] = field(default=lambda _request: Script())
    #: Called before a call is answered; may raise AwsError, or wait by returning seconds.
    trouble: Callable[[str, dict[str, Any]], float | None] = field(default=lambda _operation, _request: None)
    #: Quotas as the account has them; more is refused as AWS does.
    most_running: int = 250
    most_starts: int = 25
    vocabularies: set[str] = field(default_factory=set)
    unreadable_buckets: set[str] = field(default_factory=set)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Every call as it arrived: operation, time, name of the job.
    calls: list[tuple[str, float, str]] = field(default_factory=list)
    #: The names of the jobs that were begun, each time they were.
    begun: list[str] = field(default_factory=list)
    ended_at: dict[str, float] = field(default_factory=dict)
    highest_running: int = 0
    problems: list[str] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(routes=[Route("/", self.answer, methods=["POST"])])

    def running(self) -> int:
        """Return how many jobs run now."""
        return sum(job["TranscriptionJobStatus"] == "IN_PROGRESS" for job in self.jobs.values())

    def count(self) -> Counter[str]:
        """Return how often each operation was called."""
        return Counter(operation for operation, _, _ in list(self.calls))

    def most_in_a_second(self, operation: str) -> int:
        """Return how many calls of an operation arrived in the fullest second, wherever that begins."""
        times = sorted(at for each, at, _ in list(self.calls) if each == operation)
        return max((bisect_right(times, at + 0.999999) - index for index, at in enumerate(times)), default=0)

    async def answer(self, request: Request) -> Response:
        """Answer one call of AWS's JSON 1.1 protocol."""
        arrived_at = time.monotonic()
        operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
        asked = json.loads(await request.body() or b"{}")
        self.calls.append((operation, arrived_at, asked.get("TranscriptionJobName", "")))
        try:
            self._check_credentials(request)
            if seconds := self.trouble(operation, asked):
                await asyncio.sleep(seconds)
            answer = await self._granted(operation, asked)
            check_answer(operation, answer)
        except AwsError as error:
            body, status = {"__type": error.code, "Message": error.message}, error.status
        except AssertionError as error:
            self.problems.append(f"{operation}: {error}")
            body, status = {"__type": "InternalFailureException", "Message": str(error)}, 500
        else:
            body, status = answer, 200
        headers = {"x-amzn-RequestId": str(uuid.uuid4())}
        content = b"" if status == 200 and not body else json.dumps(body).encode()
        return Response(content, status, headers, media_type="application/x-amz-json-1.1")

    def _check_credentials(self, request: Request) -> None:
        if f"Credential={self.access_key}/" not in request.headers.get("authorization", ""):
            raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")

    async def _granted(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        if sentence := refusal(operation, asked):
            raise AwsError("BadRequestException", sentence)
        operations = {
            "StartTranscriptionJob": self._start,
            "GetTranscriptionJob": self._get,
            "ListTranscriptionJobs": self._list,
            "DeleteTranscriptionJob": self._delete,
        }
        return await operations[operation](asked)

    async def _start(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["TranscriptionJobName"]
        self._check_start(asked)
        await run_in_threadpool(self._check_buckets, asked)
        # Looked at last, with nothing between it and the new job.
        if name in self.jobs:
            raise AwsError("ConflictException", CONFLICT)
        now = time.time()
        job = {key: value for key, value in asked.items() if key not in {"OutputBucketName", "OutputKey"}}
        job |= {"TranscriptionJobStatus": "IN_PROGRESS", "CreationTime": now, "StartTime": now}
        job |= {"_output": (asked.get("OutputBucketName"), asked.get("OutputKey", f"{name}.json"))}
        self.jobs[name] = job
        self.begun.append(name)
        self.highest_running = max(self.highest_running, self.running())
        task = asyncio.create_task(self._finish(job, self.script(asked)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        shown = ("TranscriptionJobName", "TranscriptionJobStatus", "LanguageCode", "Media", "StartTime", "CreationTime")
        return {"TranscriptionJob": {key: job[key] for key in shown if key in job}}

    async def _get(self, asked: dict[str, Any]) -> dict[str, Any]:
        job = self._job(asked)
        hidden = {"OutputEncryptionKMSKeyId"}
        shown = {key: value for key, value in job.items() if key[0] != "_" and key not in hidden}
        settings = {"ChannelIdentification": False, "ShowAlternatives": False} | job.get("Settings", {})
        return {"TranscriptionJob": {"Transcript": {}, **shown, "Settings": settings}}

    async def _list(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = [
            job
            for job in reversed(self.jobs.values())
            if asked.get("Status") in {None, job["TranscriptionJobStatus"]}
            and asked.get("JobNameContains", "").lower() in job["TranscriptionJobName"].lower()
        ]
        begin, most = int(asked.get("NextToken", "0")), asked.get("MaxResults", 5)
        members = service().shape_for("TranscriptionJobSummary").members
        page = [
            {key: value for key, value in job.items() if key in members} | {"OutputLocationType": "CUSTOMER_BUCKET"}
            for job in found[begin : begin + most]
        ]
        answer: dict[str, Any] = {"TranscriptionJobSummaries": page}
        if "Status" in asked:
            answer["Status"] = asked["Status"]
        if begin + most < len(found):
            answer["NextToken"] = str(begin + most)
        return answer

    async def _delete(self, asked: dict[str, Any]) -> dict[str, Any]:
        job = self._job(asked)
        if job["TranscriptionJobStatus"] == "IN_PROGRESS":
            raise AwsError("BadRequestException", IN_PROGRESS)
        del self.jobs[asked["TranscriptionJobName"]]
        return {}

    def _job(self, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.jobs[asked["TranscriptionJobName"]]
        except KeyError:
            raise AwsError("BadRequestException", NOT_FOUND) from None

    def _check_start(self, asked: dict[str, Any]) -> None:
        languages = ("LanguageCode", "IdentifyLanguage", "IdentifyMultipleLanguages")
        if sum(bool(asked.get(each)) for each in languages) != 1:
            raise AwsError("BadRequestException", NO_LANGUAGE)
        settings = asked.get("Settings", {})
        if bool(settings.get("ShowSpeakerLabels")) != ("MaxSpeakerLabels" in settings):
            raise AwsError("BadRequestException", "ShowSpeakerLabels and MaxSpeakerLabels must be used together.")
        if settings.get("VocabularyName", next(iter(self.vocabularies), "")) not in self.vocabularies | {""}:
            raise AwsError("BadRequestException", NO_VOCABULARY)
        starts = [at for operation, at, _ in self.calls[-400:] if operation == "StartTranscriptionJob"]
        if sum(at > time.monotonic() - 1.0 for at in starts) > self.most_starts:
            raise AwsError("ThrottlingException", "Rate exceeded")
        if self.running() >= self.most_running:
            raise AwsError("LimitExceededException", "You have exceeded the limit of concurrent jobs. Try again later.")

    def _check_buckets(self, asked: dict[str, Any]) -> None:
        bucket, _, key = asked["Media"]["MediaFileUri"].removeprefix("s3://").partition("/")
        if bucket in self.unreadable_buckets:
            raise AwsError("BadRequestException", NO_MEDIA)
        try:
            self.s3.head_object(Bucket=bucket, Key=key)
        except ClientError:
            raise AwsError("BadRequestException", NO_MEDIA) from None
        try:
            self.s3.head_bucket(Bucket=asked["OutputBucketName"])
        except ClientError:
            raise AwsError("BadRequestException", NO_BUCKET) from None

    async def _finish(self, job: dict[str, Any], script: Script) -> None:
        await asyncio.sleep(script.seconds)
        name = job["TranscriptionJobName"]
        detail = {"TranscriptionJobName": name, "TranscriptionJobStatus": "COMPLETED"}
        if script.failure_reason is not None:
            detail |= {"TranscriptionJobStatus": "FAILED", "FailureReason": script.failure_reason}
            job["FailureReason"] = script.failure_reason
        else:
            self._describe(job)
            body = script.body or json.dumps(transcript_file(job, words=script.words)).encode()
            await run_in_threadpool(self._write, job, body)
            job["CompletionTime"] = time.time()
        job["TranscriptionJobStatus"] = detail["TranscriptionJobStatus"]
        self.ended_at[name] = time.time()
        for _ in range(script.events):
            await run_in_threadpool(self.send_event, detail)

    def _describe(self, job: dict[str, Any]) -> None:
        job |= {"MediaFormat": job["Media"]["MediaFileUri"].rpartition(".")[2], "MediaSampleRateHertz": 16000}
        options = job.get("LanguageOptions", ["en-US", "es-US"])
        if job.get("IdentifyLanguage"):
            job |= {"LanguageCode": options[0], "IdentifiedLanguageScore": 0.93}
        if job.get("IdentifyMultipleLanguages"):
            job["LanguageCodes"] = [{"LanguageCode": code, "DurationInSeconds": 2.0} for code in options[:2]]

    def _write(self, job: dict[str, Any], body: bytes) -> None:
        """Write the transcript file as AWS does: a key that ends in .json is the file's, any other a folder's."""
        bucket, key = job["_output"]
        if not key.endswith(".json"):
            key = f"{key.rstrip('/')}/{job['TranscriptionJobName']}.json"
        member = "TranscriptFileUri"
        if "ContentRedaction" in job:
            folder, slash, file = key.rpartition("/")
            key, member = f"{folder}{slash}redacted-{file}", "RedactedTranscriptFileUri"
        self.s3.put_object(Bucket=bucket, Key=key, Body=body)
        job["Transcript"] = {member: f"https://s3.{self.region}.amazonaws.com/{bucket}/{key}"}
