"""``GET /metrics``: what the whole deployment has done and has to do, in the text format of Prometheus.

Everything is read from the database when it is asked for, so any one api answers for all apis and workers, and an api
that was started again goes on counting. Counters count since this api was started; ``docs/metrics.md`` lists all.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from batchscribe.database.chunks import CHUNK_EVENT
from batchscribe.domain.job import DELETED_EVENT, TRANSITIONS
from batchscribe.errors import RecordingFailed

if TYPE_CHECKING:
    from batchscribe.database.event_log import EventReader
    from batchscribe.database.jobs import JobEvent
    from batchscribe.service import TranscriptionService

#: So many times a scrape reads on in the event log, about 1,000 events each; what is left is counted by the next.
MOST_PAGES = 20

REAL_TIME_FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
WAITING_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0)

_SINCE_START = "since this api was started. The same in every api: take the max, not the sum."


class MetricsRoutes:
    """The handler of scrapes, and the metrics themselves in a registry of their own."""

    def __init__(self, service: TranscriptionService) -> None:
        self._service = service
        self._scraping = threading.Lock()
        self._reader: EventReader | None = None
        self._last_takeover_id = 0
        self.registry = registry = CollectorRegistry()
        self._jobs = Counter("batchscribe_jobs", f"Events of jobs {_SINCE_START}", ["event"], registry=registry)
        self._failed = Counter(
            "batchscribe_jobs_failed", f"Jobs that ended FAILED, by code, {_SINCE_START}", ["code"], registry=registry
        )
        self._audio_seconds = Counter(
            "batchscribe_audio_seconds", f"Seconds of audio of the jobs COMPLETED {_SINCE_START}", registry=registry
        )
        self._billed_seconds = Counter(
            "batchscribe_billed_seconds",
            f"Seconds of audio that a remote engine charges for, of the jobs COMPLETED {_SINCE_START}",
            registry=registry,
        )
        self._cost = Counter(
            "batchscribe_estimated_cost_usd",
            f"What remote engines charge by their list price, in US dollars, for the jobs COMPLETED {_SINCE_START}",
            registry=registry,
        )
        self._real_time_factor = Histogram(
            "batchscribe_real_time_factor",
            f"Seconds from start to end of a job for each second of its audio, of the jobs COMPLETED {_SINCE_START}",
            buckets=REAL_TIME_FACTORS,
            registry=registry,
        )
        self._waiting = Histogram(
            "batchscribe_waiting_seconds",
            f"Seconds from a job's submission to its start, of the jobs started {_SINCE_START}",
            buckets=WAITING_SECONDS,
            registry=registry,
        )
        self._takeovers = Counter(
            "batchscribe_takeovers",
            f"Times that the work of a dead worker was handed on {_SINCE_START}",
            registry=registry,
        )
        self._taken_over = Counter(
            "batchscribe_taken_over_work", f"Pieces of work that were handed on {_SINCE_START}", registry=registry
        )
        self._queued = Gauge(
            "batchscribe_jobs_queued",
            "Jobs that wait, counted no further than BATCHSCRIBE_MAX_QUEUED_JOBS.",
            registry=registry,
        )
        self._oldest = Gauge(
            "batchscribe_oldest_queued_job_age_seconds",
            "Seconds since the submission of the job that waits longest; 0 where none waits.",
            registry=registry,
        )
        self._in_progress = Gauge("batchscribe_jobs_in_progress", "Jobs in progress.", registry=registry)
        self._chunks = Gauge(
            "batchscribe_chunks",
            "Chunks of the jobs in progress that are not recognised yet: waiting, or running on a worker.",
            ["state"],
            registry=registry,
        )
        self._remote_jobs = Gauge(
            "batchscribe_remote_jobs",
            "Jobs at a remote engine: copying, wanted (waiting for a quota), starting, started, or to be discarded.",
            ["stage"],
            registry=registry,
        )
        self._workers = Gauge(
            "batchscribe_workers_alive", "Workers that gave a sign of life in the last 10 seconds.", registry=registry
        )
        #: Only where there is an end to the store's room.
        self._free_bytes: Gauge | None = None
        for event in (*TRANSITIONS.values(), DELETED_EVENT):
            self._jobs.labels(_short(event))
        for code in _failure_codes():
            self._failed.labels(code)

    async def scrape(self, _request: Request) -> Response:
        """Answer with every metric as it is now."""
        content = await run_in_threadpool(self._scrape)
        return Response(content, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    def start(self) -> None:
        """Count from now on; without it, counting begins with the first scrape. Raises ServiceUnavailable."""
        with self._scraping:
            self._begin()

    def _scrape(self) -> bytes:
        """Bring every metric up to date and write them all. Raises ServiceUnavailable."""
        with self._scraping:
            self._count_events(self._begin())
            self._count_takeovers()
            self._measure()
            return generate_latest(_WithoutCreationTimes(self.registry))

    def _begin(self) -> EventReader:
        if self._reader is None:
            self._last_takeover_id = self._service.monitor.latest_takeover_id()
            self._reader = self._service.monitor.event_reader()
        return self._reader

    def _count_events(self, reader: EventReader) -> None:
        for _ in range(MOST_PAGES):
            events = self._service.monitor.new_events(reader)
            for event in events:
                self._count(event)
            if not events:
                break

    def _count(self, event: JobEvent) -> None:
        """Count one event; what it does not say, as those of an older version, is left out."""
        if event.type == CHUNK_EVENT:
            return
        self._jobs.labels(_short(event.type)).inc()
        if (code := event.data.get("code")) is not None:
            self._failed.labels(code).inc()
        if (waiting := event.data.get("waiting_seconds")) is not None:
            self._waiting.observe(waiting)
        self._billed_seconds.inc(event.data.get("billed_seconds", 0.0))
        self._cost.inc(event.data.get("estimated_cost_usd", 0.0))
        audio, processing = event.data.get("audio_seconds"), event.data.get("processing_seconds")
        if audio:
            self._audio_seconds.inc(audio)
            if processing is not None:
                self._real_time_factor.observe(processing / audio)

    def _count_takeovers(self) -> None:
        for takeover in self._service.monitor.takeovers_after(self._last_takeover_id):
            self._last_takeover_id = takeover.id
            self._takeovers.inc()
            self._taken_over.inc(takeover.workflows)

    def _measure(self) -> None:
        load = self._service.monitor.load()
        self._queued.set(load.queued_jobs)
        self._oldest.set(load.oldest_queued_seconds)
        self._in_progress.set(load.jobs_in_progress)
        self._chunks.labels("waiting").set(load.waiting_chunks)
        self._chunks.labels("running").set(load.running_chunks)
        self._workers.set(load.workers)
        for stage, count in load.remote_jobs.items():
            self._remote_jobs.labels(stage).set(count)
        free_bytes = self._service.monitor.free_bytes()
        if free_bytes is not None:
            if self._free_bytes is None:
                sentence = "Free bytes on the media store's file system, as this api sees it."
                self._free_bytes = Gauge("batchscribe_store_free_bytes", sentence, registry=self.registry)
            self._free_bytes.set(free_bytes)


class _WithoutCreationTimes:
    """A registry's metrics without a second series for each counter that says since when it counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Yield each metric."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def _short(event_type: str) -> str:
    """Return an event's type as a label."""
    return event_type.removeprefix("job.")


def _failure_codes() -> list[str]:
    """Return every code that a job is foreseen to fail with: a counter that is absent cannot be watched."""
    return [*(each.code for each in RecordingFailed.__subclasses__()), "internal_error"]
