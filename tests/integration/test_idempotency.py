"""``Idempotency-Key``: the same submission twice makes one job, however it comes twice."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import update

from batchscribe.database.idempotency import LIFETIME
from batchscribe.database.schema import idempotency_keys
from batchscribe.domain.job import JobStatus
from running_api import WAV, RunningApi, running_api

ASYNC, SYNC = "/transcribe-batch-async", "/transcribe-batch"

RunApi = Callable[[], RunningApi]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgres"))])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the settings of a server over each of the databases."""
    if request.param == "sqlite":
        return {}
    return {"database_url": request.getfixturevalue("postgres_url")}


@pytest.fixture
def api(settings: dict[str, Any], tmp_path: Path) -> Iterator[RunningApi]:
    """Run a server."""
    with running_api(tmp_path / "data", **settings) as running:
        yield running


def post(
    api: RunningApi,
    key: str | None,
    content: bytes = WAV,
    *,
    path: str = ASYNC,
    file_name: str = "speech.wav",
    **fields: Any,
) -> requests.Response:
    """Submit a recording under a key."""
    headers = {} if key is None else {"Idempotency-Key": key}
    files = {"file": (file_name, content)}
    return requests.post(api.base_url + path, files=files, data=fields, headers=headers, timeout=60)


def job_name(answer: requests.Response) -> str:
    """Return the job that a submission was answered with."""
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_name"])


def recordings(api: RunningApi) -> list[Path]:
    """Return every recording in the media store."""
    return [path for path in (api.data_dir / "media" / "audio").rglob("*") if path.is_file()]


def let_time_pass(api: RunningApi, by: timedelta) -> None:
    """Make every key so much older."""
    with api.database.begin() as connection:
        connection.execute(update(idempotency_keys).values(created_at=datetime.now(UTC) - by))


def test_the_same_again_is_answered_with_the_same_job(api: RunningApi) -> None:
    """And nothing of the second upload is kept."""
    first, second = post(api, "a", priority="high"), post(api, "a", priority="high")
    assert job_name(first) == job_name(second)
    assert first.json() == second.json()
    assert api.job_count() == 1
    assert len(recordings(api)) == 1
    assert api.unfinished_uploads() == []


def test_the_job_is_answered_as_it_is_now(api: RunningApi) -> None:
    """Whoever comes again after a lost answer reads how far it is."""
    name = job_name(post(api, "a"))
    api.start(name)
    again = post(api, "a")
    assert job_name(again) == name
    assert again.json()["status"] == "IN_PROGRESS"


def test_fifty_at_once_make_one_job(api: RunningApi) -> None:
    """All fifty are answered 201 with its name, and the recordings of the other 49 are gone."""
    barrier = threading.Barrier(50)
    content = WAV + bytes(300_000)

    def submit(_: int) -> str:
        barrier.wait(30)
        return job_name(post(api, "order-4711", content))

    with ThreadPoolExecutor(50) as pool:
        names = set(pool.map(submit, range(50)))
    assert len(names) == 1
    assert api.job_count() == 1
    assert [path.name for path in recordings(api)] == list(names)
    assert recordings(api)[0].read_bytes() == content
    assert api.unfinished_uploads() == []


def test_fifty_keys_at_once_make_fifty_jobs(api: RunningApi) -> None:
    """Keys do not get into each other's way."""
    with ThreadPoolExecutor(25) as pool:
        names = set(pool.map(lambda number: job_name(post(api, f"key-{number}")), range(50)))
    assert len(names) == 50
    assert len(recordings(api)) == 50


def test_two_apis_at_once_make_one_job(settings: dict[str, Any], api: RunningApi, tmp_path: Path) -> None:
    """The database decides, whichever api is asked."""
    with running_api(tmp_path / "data", **settings) as other:
        barrier = threading.Barrier(20)

        def submit(number: int) -> str:
            barrier.wait(30)
            return job_name(post((api, other)[number % 2], "a"))

        with ThreadPoolExecutor(20) as pool:
            assert len(set(pool.map(submit, range(20)))) == 1
    assert len(recordings(api)) == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"content": WAV + b"more"}, id="recording"),
        pytest.param({"language_code": "de-DE"}, id="language"),
        pytest.param({"priority": "low"}, id="priority"),
        pytest.param({"delete_after_seconds": "60"}, id="deletion"),
        pytest.param({"delete_media_after_seconds": "60"}, id="deletion of the recording"),
    ],
)
def test_other_content_or_fields_are_a_conflict(api: RunningApi, change: dict[str, Any]) -> None:
    """409, nothing is kept, and the first job is as it was."""
    name = job_name(post(api, "a"))
    answer = post(api, "a", **change)
    assert answer.status_code == 409
    assert answer.headers["X-Error-Code"] == "idempotency_conflict"
    assert answer.json() == {"error": "This Idempotency-Key was used for another recording or other fields."}
    assert job_name(post(api, "a")) == name
    assert len(recordings(api)) == 1
    assert api.unfinished_uploads() == []


def test_fields_that_mean_the_same_are_the_same(api: RunningApi) -> None:
    """Another spelling of the language, a default that is written out, another file name."""
    name = job_name(post(api, "a"))
    assert job_name(post(api, "a", language_code="EN-us", priority="Normal", unknown="x", file_name="x.wav")) == name


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "tab\there", "\xe9"])
@pytest.mark.parametrize("path", [ASYNC, SYNC])
def test_what_is_no_key_is_refused(api: RunningApi, key: str, path: str) -> None:
    """1 to 255 visible ASCII characters are one."""
    answer = post(api, key, path=path)
    assert answer.status_code == 400
    assert answer.headers["X-Error-Code"] == "invalid_request"
    assert api.job_count() == 0
    assert api.unfinished_uploads() == []


def test_the_longest_key_is_taken(api: RunningApi) -> None:
    """Case matters, and so does every character."""
    assert job_name(post(api, "x" * 255)) == job_name(post(api, "x" * 255))
    assert job_name(post(api, "x" * 254 + "X")) != job_name(post(api, "x" * 255))


def test_no_key_makes_a_job_each(api: RunningApi) -> None:
    """Equal recordings without a key are two submissions."""
    assert job_name(post(api, None)) != job_name(post(api, None))


def test_a_key_is_forgotten_after_a_day(api: RunningApi) -> None:
    """Then it may be used for anything, and is remembered anew."""
    name = job_name(post(api, "a"))
    let_time_pass(api, LIFETIME - timedelta(minutes=1))
    assert job_name(post(api, "a")) == name
    let_time_pass(api, LIFETIME + timedelta(seconds=1))
    later = job_name(post(api, "a", language_code="de-DE"))
    assert later != name
    assert job_name(post(api, "a", language_code="de-DE")) == later


def test_many_at_once_after_a_day_make_one_more_job(api: RunningApi) -> None:
    """The old key's end is no moment of weakness."""
    name = job_name(post(api, "a"))
    let_time_pass(api, LIFETIME + timedelta(seconds=1))
    with ThreadPoolExecutor(20) as pool:
        names = set(pool.map(lambda _: job_name(post(api, "a")), range(20)))
    assert len(names) == 1
    assert names != {name}
    assert api.job_count() == 2


def test_a_key_survives_a_restart(settings: dict[str, Any], tmp_path: Path) -> None:
    """It is kept beside the jobs."""
    with running_api(tmp_path / "data", **settings) as before:
        name = job_name(post(before, "a"))
    with running_api(tmp_path / "data", **settings) as after:
        assert job_name(post(after, "a")) == name


def test_a_key_whose_job_was_deleted_is_a_conflict(api: RunningApi) -> None:
    """Whoever deleted the job does not want it made again by a repetition on its way."""
    api.service.delete(job_name(post(api, "a")))
    answer = post(api, "a")
    assert answer.status_code == 409
    assert "deleted" in answer.json()["error"]
    assert recordings(api) == []


def test_a_refused_submission_uses_up_no_key(api: RunningApi) -> None:
    """What was refused may be sent again, corrected."""
    assert post(api, "a", language_code="xx-XX").status_code == 400
    assert post(api, "a", b"no recording", file_name="notes.txt").status_code == 400
    job_name(post(api, "a"))


class TestSynchronousRoute:
    """The same header on ``POST /transcribe-batch``."""

    @staticmethod
    def work(api: RunningApi, until: threading.Event) -> None:
        """Complete every job, as a worker does."""
        while not until.wait(0.05):
            for job in api.service.list(status=JobStatus.QUEUED, max_results=100, next_token=None).jobs:
                api.start(job.name)
                api.complete(job.name)

    @pytest.fixture(autouse=True)
    def worker(self, api: RunningApi) -> Iterator[None]:
        """Work while the test lasts."""
        over = threading.Event()
        thread = threading.Thread(target=self.work, args=(api, over))
        thread.start()
        yield
        over.set()
        thread.join()

    def test_the_same_again_is_answered_with_the_same_transcript(self, api: RunningApi) -> None:
        """The job stays for that, as one of the asynchronous route does."""
        first, second = (post(api, "a", path=SYNC) for _ in range(2))
        assert first.status_code == second.status_code == 200
        assert first.json()["transcript"] == second.json()["transcript"] == "Hello there."
        assert first.json()["s3_url"] == second.json()["s3_url"]
        assert api.job_count() == 1

    def test_many_at_once_are_answered_with_one_jobs_transcript(self, api: RunningApi) -> None:
        """None of them deletes the job before another has read it."""
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: post(api, "a", path=SYNC), range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["s3_url"] for answer in answers}) == 1
        assert len(recordings(api)) == 1

    def test_other_content_is_a_conflict(self, api: RunningApi) -> None:
        """Also where the job has ended long ago."""
        assert post(api, "a", path=SYNC).status_code == 200
        assert post(api, "a", WAV + b"more", path=SYNC).status_code == 409

    def test_both_routes_share_their_keys(self, api: RunningApi) -> None:
        """Who was cut off while waiting can ask for the job's name."""
        assert post(api, "a", path=SYNC).status_code == 200
        answer = post(api, "a")
        assert answer.json()["status"] == "COMPLETED"
        assert api.get(f"/transcribe-job/{job_name(answer)}").json()["transcript"] == "Hello there."

    def test_without_a_key_the_job_is_deleted(self, api: RunningApi) -> None:
        """As the contract's route does."""
        assert post(api, None, path=SYNC).status_code == 200
        assert api.job_count() == 0
        assert recordings(api) == []


def test_the_fingerprint_tells_recordings_apart_by_their_content(api: RunningApi) -> None:
    """It is a digest: the recording itself is not in the table."""
    post(api, "a")
    with api.database.connect() as connection:
        row = connection.execute(idempotency_keys.select()).one()
    assert len(row.fingerprint) == 2 * hashlib.sha256().digest_size
    assert (datetime.now(UTC) - row.created_at).total_seconds() < 60
    assert time.time() > 0
