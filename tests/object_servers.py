"""Real servers that speak S3's protocol: moto's in a thread, quick and forgetful, and SeaweedFS in a process."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from planted import OBJECT_STORE_SECRET

ACCESS_KEY, SECRET_KEY = "test-access-key", OBJECT_STORE_SECRET
BUCKET = "recordings"


@dataclass(frozen=True)
class ObjectServer:
    """A running server with one bucket."""

    endpoint: str

    def client(self) -> Any:
        """Return AWS's own client for the server, to look at what a store did."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """Return AWS's variables for the server, or for a way to it through another address."""
        return {
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "NO_PROXY": "127.0.0.1",
        }

    def new_url(self) -> str:
        """Return the address of an empty store: a prefix that nobody has used."""
        return f"s3://{BUCKET}/{uuid.uuid4().hex}"

    def keys(self, url: str) -> list[str]:
        """Return every key of a store, without its prefix, in order."""
        prefix = url.removeprefix(f"s3://{BUCKET}/") + "/"
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return sorted(each["Key"].removeprefix(prefix) for page in pages for each in page.get("Contents", []))

    def unfinished_uploads(self, url: str) -> list[str]:
        """Return the keys of a store's multipart uploads that were neither completed nor aborted."""
        prefix = url.removeprefix(f"s3://{BUCKET}/") + "/"
        uploads = self.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [each["Key"].removeprefix(prefix) for each in uploads if each["Key"].startswith(prefix)]


def use_environment(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Set AWS's variables, and take away those of the person who runs the tests."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@contextmanager
def moto_server() -> Iterator[ObjectServer]:
    """Run moto's server in a thread of this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server.start()
    try:
        host, port = server.get_host_and_port()
        running = ObjectServer(endpoint=f"http://{host}:{port}")
        running.client().create_bucket(Bucket=BUCKET)
        yield running
    finally:
        server.stop()


@contextmanager
def seaweedfs_server(folder: Path) -> Iterator[ObjectServer]:
    """Run SeaweedFS over a folder, on ports that are free at present. Skips where its program is not installed."""
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip("SeaweedFS is not installed")
    identity = {"name": "tests", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]}
    identities = folder / "identities.json"
    identities.write_text(json.dumps({"identities": [identity | {"actions": ["Admin"]}]}))
    data = folder / "data"
    data.mkdir()
    names = ("master", "volume", "filer", "s3")
    ports = _free_ports(2 * len(names))
    listening = [f"-{name}.port={port}" for name, port in zip(names, ports, strict=False)]
    listening += [f"-{name}.port.grpc={port}" for name, port in zip(names, ports[len(names) :], strict=False)]
    command = [
        program, "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", *listening,
        f"-s3.config={identities}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false",
        "-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=0", "-volume.preStopSeconds=0",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    running = ObjectServer(endpoint=f"http://127.0.0.1:{ports[3]}")
    try:
        _wait_for_bucket(running, process, folder / "log")
        yield running
    finally:
        process.kill()
        process.wait(20)


def _wait_for_bucket(server: ObjectServer, process: subprocess.Popen[bytes], log: Path) -> None:
    """Make the bucket and store an object in it, as soon as the server can."""
    from botocore.exceptions import BotoCoreError, ClientError

    client, has_bucket, until = server.client(), False, time.monotonic() + 60
    while True:
        try:
            if not has_bucket:
                client.create_bucket(Bucket=BUCKET)
                has_bucket = True
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
        except (BotoCoreError, ClientError):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        else:
            return


def _free_ports(count: int) -> list[int]:
    """Return so many ports that nobody listens on at present."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]
