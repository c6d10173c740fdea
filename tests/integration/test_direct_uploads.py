"""Recordings that clients put into the bucket themselves: real S3 servers, a real api."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from batchscribe.domain.keys import DEFAULT_SCOPES, Quotas
from batchscribe.storage.s3 import S3Store
from batchscribe.web.gate import Access
from object_servers import ObjectServer, use_environment
from running_api import WAV, RunningApi, running_api

LIMIT_BYTES = 1 << 20


@pytest.fixture(params=["moto", pytest.param("seaweedfs", marks=pytest.mark.xdist_group("seaweedfs"))])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[ObjectServer, str]:
    """Return each kind of S3 server with the address of an empty store."""
    server: ObjectServer = request.getfixturevalue(request.param)
    use_environment(monkeypatch, server.environment())
    return server, server.new_url()


@pytest.fixture
def api(tmp_path: Path, bucket: tuple[ObjectServer, str]) -> Iterator[RunningApi]:
    """Run an api over the bucket."""
    access = Access(is_open_without_keys=True)
    limits = {"max_upload_bytes": LIMIT_BYTES, "storage_url": bucket[1], "access": access}
    with running_api(tmp_path / "data", **limits) as running:  # type: ignore[arg-type]
        yield running


def post(api: RunningApi, path: str, body: dict[str, Any] | None = None, *, key: str | None = None) -> Any:
    """Post JSON."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return requests.post(api.base_url + path, json=body, headers=headers, timeout=30)


def put(permission: dict[str, Any], data: bytes) -> None:
    """Put a recording into the bucket."""
    answer = requests.put(permission["url"], data=data, headers=permission["headers"], timeout=30)
    assert answer.status_code == 200, answer.text


def submitted(api: RunningApi, permission: dict[str, Any], *, key: str | None = None, **fields: str) -> Any:
    """Submit what was put there."""
    return post(api, "/transcribe-batch-async", {"upload_id": permission["upload_id"], **fields}, key=key)


def test_a_recording_that_was_put_into_the_bucket_becomes_a_job(
    api: RunningApi, bucket: tuple[ObjectServer, str]
) -> None:
    """With the format of its first bytes; the upload is used up then."""
    begun = post(api, "/uploads", {"size_bytes": len(WAV)})
    assert begun.status_code == 201, begun.text
    put(begun.json(), WAV)
    answer = submitted(api, begun.json(), language_code="es-US")
    assert answer.status_code == 201, answer.text
    assert answer.json()["language_code"] == "es-US"
    assert answer.json()["s3_url"].endswith(".wav")
    assert api.get(f"/transcribe-job/{answer.json()['job_name']}/media").content == WAV
    assert [key for key in bucket[0].keys(bucket[1]) if key.startswith("uploads/")] == []
    again = submitted(api, begun.json())
    assert (again.status_code, again.headers["X-Error-Code"]) == (404, "upload_not_found")
    assert api.job_count() == 1


def test_what_never_came_or_is_no_recording_makes_no_job(api: RunningApi) -> None:
    """Each with a sentence."""
    first, second, third = (post(api, "/uploads").json() for _ in range(3))
    assert submitted(api, first).status_code == 404
    put(second, b"just text, and more of it")
    assert submitted(api, second).headers["X-Error-Code"] == "unsupported_media_format"
    put(third, b"")
    assert submitted(api, third).headers["X-Error-Code"] == "unsupported_media_format"
    for bad in ("", "x", "../../audio", "0" * 31, "0" * 33, "G" * 32):
        answer = post(api, "/transcribe-batch-async", {"upload_id": bad})
        assert answer.status_code in {400, 404}, bad
    assert api.job_count() == 0


def test_a_recording_over_the_limit_is_refused_and_removed(api: RunningApi, bucket: tuple[ObjectServer, str]) -> None:
    """Before it is put there where its size is told, afterwards otherwise."""
    assert post(api, "/uploads", {"size_bytes": 3 << 30}).status_code == 413
    # The service's own limit, which the settings give it, is far above the form's of this server.
    api.service._direct_uploads._max_bytes = LIMIT_BYTES
    begun = post(api, "/uploads").json()
    assert begun["max_bytes"] == LIMIT_BYTES
    put(begun, WAV + bytes(LIMIT_BYTES))
    assert submitted(api, begun).status_code == 413
    assert bucket[0].keys(bucket[1]) == []


@pytest.mark.parametrize("body", [{"size_bytes": -1}, {"size_bytes": "1"}, {"size_bytes": True}, {"size_bytes": 1.5}])
def test_a_size_that_is_none_is_refused(api: RunningApi, body: dict[str, Any]) -> None:
    """With a sentence."""
    assert post(api, "/uploads", body).headers["X-Error-Code"] == "invalid_request"


def test_an_upload_is_its_keys_alone_and_counts_like_any_other(api: RunningApi) -> None:
    """Another key finds nothing under the same identifier; the quota of jobs holds."""
    quotas = Quotas(jobs=1)
    one, other = (
        api.service.ring.create(name, scopes=DEFAULT_SCOPES, quotas=quotas, expires_at=None)[1] for name in "ab"
    )
    first, second = (post(api, "/uploads", key=one).json() for _ in range(2))
    put(first, WAV)
    put(second, WAV)
    assert submitted(api, first, key=other).headers["X-Error-Code"] == "upload_not_found"
    assert submitted(api, first, key=one).status_code == 201
    assert submitted(api, second, key=one).headers["X-Error-Code"] == "quota_used_up"
    assert post(api, "/uploads", key=one).headers["X-Error-Code"] == "quota_used_up"


def test_the_same_submission_twice_is_one_job(api: RunningApi) -> None:
    """Also when the upload is used up by then."""
    begun = post(api, "/uploads").json()
    put(begun, WAV)
    headers = {"Idempotency-Key": "once"}
    names = {
        requests.post(
            f"{api.base_url}/transcribe-batch-async",
            data={"upload_id": begun["upload_id"]},
            files={"nothing": (None, "")},
            headers=headers,
            timeout=30,
        ).json()["job_name"]
        for _ in range(2)
    }
    assert len(names) == 1
    assert api.job_count() == 1


def test_what_is_never_submitted_is_reclaimed(
    api: RunningApi, bucket: tuple[ObjectServer, str], tmp_path: Path
) -> None:
    """With the uploads that were cut off, once it is old enough."""
    put(post(api, "/uploads").json(), WAV)
    patient = S3Store(bucket[1], spool_folder=tmp_path / "spool")
    assert patient.reclaim(0.0) == 0
    assert S3Store(bucket[1], spool_folder=tmp_path / "spool", upload_grace_seconds=-5.0).reclaim(-5.0) == 1
    assert bucket[0].keys(bucket[1]) == []


def test_a_folder_takes_none(tmp_path: Path) -> None:
    """The sentence says where to go instead."""
    with running_api(tmp_path / "data") as api:
        answer = post(api, "/uploads")
        assert (answer.status_code, answer.headers["X-Error-Code"]) == (409, "not_set_up")
        assert "/files" in answer.json()["error"]
        assert post(api, "/transcribe-batch-async", {"upload_id": "0" * 32}).status_code == 409


class TestListedBuckets:
    """``s3://`` addresses of buckets that the operator has listed."""

    def test_a_recording_in_a_listed_bucket_is_read_and_one_in_another_is_not_taken(
        self, tmp_path: Path, moto: ObjectServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the server's own credentials, which reach both."""
        from batchscribe.errors import AddressNotAllowed, MediaRefused
        from batchscribe.storage.buckets import MediaBuckets

        use_environment(monkeypatch, moto.environment() | {"AWS_ALLOW_HTTP": "true"})
        for name in ("calls", "private"):
            moto.client().create_bucket(Bucket=name)
            moto.client().put_object(Bucket=name, Key="a/talk.wav", Body=WAV)
        buckets = MediaBuckets(["calls"])
        size_bytes, pieces = buckets.open("calls", "a/talk.wav")
        assert (size_bytes, b"".join(pieces)) == (len(WAV), WAV)
        with pytest.raises(MediaRefused, match="nothing"):
            buckets.open("calls", "a/other.wav")
        with pytest.raises(AddressNotAllowed):
            buckets.open("private", "a/talk.wav")
        with running_api(tmp_path / "data", media_buckets="calls") as api:
            taken = post(api, "/transcribe-batch-async", {"media_url": "s3://calls/a/talk.wav"})
            assert taken.status_code == 201, taken.text
            refused = post(api, "/transcribe-batch-async", {"media_url": "s3://private/a/talk.wav"})
            assert refused.headers["X-Error-Code"] == "address_not_allowed"
