"""A whole AWS for tests, on this machine alone: the fake Transcribe, and moto's S3, SQS, SNS and EventBridge."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from fake_transcribe.app import FakeTranscribe
from object_servers import ACCESS_KEY, BUCKET, SECRET_KEY, ObjectServer

REGION = "us-east-1"


@dataclass(frozen=True)
class RunningAws:
    """The fake, the servers beside it, and the variables that lead AWS's client to them."""

    fake: FakeTranscribe
    objects: ObjectServer
    endpoint: str
    queue_url: str

    def environment(self) -> dict[str, str]:
        """Return AWS's variables."""
        return self.objects.environment() | {"AWS_ENDPOINT_URL_TRANSCRIBE": self.endpoint}

    def settings(self) -> dict[str, str]:
        """Return the server's settings, by their names in lower case."""
        return {"engine": "aws", "aws_bucket": BUCKET, "aws_queue_url": self.queue_url}

    def client(self, service: str) -> Any:
        """Return AWS's client for one of moto's services."""
        return client(service, self.objects.endpoint)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys in the bucket."""
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return sorted(each["Key"] for page in pages for each in page.get("Contents", []))


def client(service: str, endpoint: str) -> Any:
    """Return AWS's client for a server on this machine."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=40),
    )


@contextmanager
def running_aws(objects: ObjectServer) -> Iterator[RunningAws]:
    """Run the fake in a thread, with a queue that hears of its jobs, until the context ends."""
    events, queue_url = client("events", objects.endpoint), _queue_of_events(objects)

    def send_event(detail: dict[str, Any]) -> None:
        event = {"Source": "aws.transcribe", "DetailType": "Transcribe Job State Change", "Detail": json.dumps(detail)}
        answer = events.put_events(Entries=[event])
        assert answer["FailedEntryCount"] == 0

    fake = FakeTranscribe(s3=client("s3", objects.endpoint), send_event=send_event)
    config = uvicorn.Config(fake.app(), log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="fake-transcribe")
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the fake ended"
            time.sleep(0.01)
        try:
            yield RunningAws(fake=fake, objects=objects, endpoint=endpoint, queue_url=queue_url)
        finally:
            server.should_exit = True
            thread.join(20)
    assert not fake.problems, fake.problems


def _queue_of_events(objects: ObjectServer) -> str:
    """Make a queue and a rule that fills it; each run has its own."""
    sqs, events, name = client("sqs", objects.endpoint), client("events", objects.endpoint), f"run-{uuid.uuid4().hex}"
    queue_url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.transcribe"], "detail-type": ["Transcribe Job State Change"]}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    return queue_url
