"""Traces of the workers' work, as a collector receives them."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from click.testing import CliRunner
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from batchscribe import app
from batchscribe.cli.server import worker
from batchscribe.errors import ConfigurationError
from conftest import Server
from planted import COLLECTOR_TOKEN
from running_api import WAV


class Collector(ThreadingHTTPServer):
    """Takes spans in and keeps their names with the workflow that each belongs to."""

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        """Where spans are sent."""
        return f"http://127.0.0.1:{self.server_port}/v1/traces?token={COLLECTOR_TOKEN}"


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    facts = {each.key: each.value.string_value for each in span.attributes}
                    self.server.spans.append((span.name, facts.get("dbos.operation.workflow_id", "")))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Run a collector of spans."""
    with Collector() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_each_recording_is_a_span_with_its_jobs_name(start_server: Callable[..., Server], collector: Collector) -> None:
    """Sent by the worker, without anything around it."""
    server = start_server(otlp_traces_url=collector.url)
    job = requests.post(f"{server.base_url}/transcribe-batch-async", files={"file": ("a.wav", WAV)}, timeout=30).json()
    requests.get(f"{server.base_url}{job['status_endpoint']}?wait=30", timeout=60)
    until = time.monotonic() + 30
    while ("transcribe", job["job_name"]) not in collector.spans:
        assert time.monotonic() < until, collector.spans
        time.sleep(0.1)


def test_a_worker_without_what_sends_traces_refuses_to_start(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """And says what to install."""
    monkeypatch.setattr(app, "find_spec", lambda _: None)
    monkeypatch.setenv("BATCHSCRIBE_OTLP_TRACES_URL", "http://127.0.0.1:1/v1/traces")
    monkeypatch.setenv("BATCHSCRIBE_DATA_DIR", str(tmp_path))
    ended = CliRunner().invoke(worker)
    assert isinstance(ended.exception, ConfigurationError)
    assert "pip install 'batchscribe[otel]'" in str(ended.exception)
