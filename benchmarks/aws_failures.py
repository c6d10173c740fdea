"""Every failure that AWS documents, and what a client reads for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests

from benchmarks.aws_single import one_server
from benchmarks.aws_world import CLIP, World
from fake_transcribe.app import Script
from object_servers import BUCKET

#: https://docs.aws.amazon.com/transcribe/latest/APIReference/API_TranscriptionJob.html (FailureReason)
REASONS = (
    "Unsupported media format.",
    "The media format provided does not match the detected media format.",
    "Invalid sample rate for audio file.",
    "The sample rate provided does not match the detected sample rate.",
    "Invalid file size: file size too large. Maximum audio duration is 4.000000 hours.",
    "Invalid number of channels: number of channels too large.",
)


def failures() -> dict[str, Any]:
    """Have each happen once."""
    read = {}
    with one_server(aws_patience_seconds="2") as made:
        fake = made.aws.fake
        for reason in REASONS:
            fake.script = _failing(reason)
            read[f"failed at AWS: {reason[:70]}"] = _read(made)
        fake.script = lambda _request: Script(body=b"not JSON")
        read["a transcript that is no JSON"] = _read(made)
        fake.script = lambda _request: Script()
        read["an unknown vocabulary"] = _read(made, vocabulary_name="nobody-s")
        fake.unreadable_buckets.add(BUCKET)
        read["access denied on the bucket"] = _read(made)
        fake.unreadable_buckets.clear()
        fake.script = lambda _request: Script(seconds=60)
        read["deleted in AWS by hand"] = _read(made, meanwhile=fake.jobs.__delitem__)
        fake.script = lambda _request: Script()
        read["two options that exclude each other"] = _read(made, language_code="en-US", identify_language="true")
        read["an unknown language"] = _read(made, language_code="xx-XX")
        fake.access_key = "another"
        read["credentials refused for longer than is waited"] = _read(made)
    return read


def _failing(reason: str) -> Callable[[dict[str, Any]], Script]:
    return lambda _request: Script(failure_reason=reason)


def _read(made: World, meanwhile: Callable[[str], None] | None = None, **fields: str) -> str:
    with CLIP.open("rb") as media:
        answer = requests.post(f"{made.url()}/transcribe-batch-async", files={"file": media}, data=fields, timeout=30)
    if answer.status_code != 201:
        return f"HTTP {answer.status_code} {answer.headers['X-Error-Code']}: {answer.json()['error']}"
    name = answer.json()["job_name"]
    until = time.monotonic() + 60
    while time.monotonic() < until:
        job = requests.get(f"{made.url()}/transcribe-job/{name}?wait=5", timeout=30).json()
        if meanwhile is not None and job["status"] == "IN_PROGRESS":
            meanwhile(name)
            meanwhile = None
        if job["status"] in {"COMPLETED", "FAILED"}:
            return f"{job['status']} {job.get('failure_code', '')}: {job.get('failure_reason', '')}"
    return "nothing within a minute"
