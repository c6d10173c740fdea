"""Resumable uploads over HTTP: the protocol, its extensions, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests

from batchscribe.database.schema import resumable_uploads
from batchscribe.domain.submission import Priority
from batchscribe.upload_errors import UploadOffsetConflict
from running_api import WAV, RunningApi, running_api
from tus_requests import TusRequests, metadata

RECORDING = WAV + random.Random(7).randbytes(9 << 20)  # noqa: S311 - to be repeated
SHORT = WAV + bytes(3000)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """Return a server over SQLite and a folder."""
    with running_api(tmp_path_factory.mktemp("api"), max_upload_bytes=32 << 20) as running:
        yield running


@pytest.fixture
def tus(api: RunningApi) -> TusRequests:
    """Return what speaks with it."""
    return TusRequests(api.base_url)


def recording_of(api: RunningApi, job_name: str) -> bytes:
    """Return a job's recording."""
    return api.get(f"/transcribe-job/{job_name}/media").content


def stored_slices(api: RunningApi, url: str) -> list[Path]:
    """Return what lies in the store of an upload that is not whole."""
    return list((api.data_dir / "media" / "incoming" / url.rpartition("/")[2]).glob("*"))


def checksum(data: bytes, algorithm: str = "sha256") -> dict[str, str]:
    """Return the header ``Upload-Checksum``."""
    digest = hashlib.new(algorithm, data, usedforsecurity=False).digest()
    return {"Upload-Checksum": f"{algorithm} {base64.b64encode(digest).decode()}"}


def assert_refused(answer: requests.Response, status: int, code: str, sentence: str = "") -> None:
    """Check a refusal: its status, its code, its sentence, and that it is one of tus."""
    assert answer.status_code == status, answer.text
    assert answer.headers["X-Error-Code"] == code
    assert sentence in answer.json()["error"]
    assert answer.headers["Tus-Resumable"] == "1.0.0"


class TestTheWholeWay:
    """From its creation to the job."""

    def test_what_arrives_in_pieces_becomes_one_job_with_the_same_bytes(
        self, api: RunningApi, tus: TusRequests
    ) -> None:
        """The last piece is answered with the job's name, and so is HEAD afterwards; nothing else is left."""
        url = tus.begin(len(RECORDING), {"language_code": "de-DE", "priority": "high"})
        sizes = random.Random(1)  # noqa: S311 - to be repeated
        at = 0
        while at < len(RECORDING):
            assert tus.offset(url) == at
            size = sizes.choice([1, 1000, 100_000, 5 << 20])
            answer = tus.patch(url, RECORDING[at : at + size], at=at)
            assert answer.status_code == 204, answer.text
            at = min(len(RECORDING), at + size)
            assert int(answer.headers["Upload-Offset"]) == at
        name = answer.headers["X-Job-Name"]
        job = api.service.get(name)
        assert (job.options.language_code, job.priority) == ("de-DE", Priority.HIGH)
        assert job.media_size_bytes == len(RECORDING)
        assert recording_of(api, name) == RECORDING
        assert tus.head(url).headers["X-Job-Name"] == name
        assert stored_slices(api, url) == []

    def test_creation_may_bring_the_first_bytes_or_all(self, api: RunningApi, tus: TusRequests) -> None:
        """creation-with-upload: the answer says how much is there, and which job it is where that is all."""
        part = tus.create(len(SHORT), body=SHORT[:1000])
        assert (part.status_code, part.headers["Upload-Offset"]) == (201, "1000")
        assert "X-Job-Name" not in part.headers
        whole = tus.create(len(SHORT), body=SHORT)
        assert (whole.status_code, whole.headers["Upload-Offset"]) == (201, str(len(SHORT)))
        assert recording_of(api, whole.headers["X-Job-Name"]) == SHORT

    def test_however_small_the_pieces_are_few_slices_are_stored(self, api: RunningApi, tus: TusRequests) -> None:
        """Small ones are stored anew together, so neither rows nor objects grow with their number."""
        url = tus.begin(len(SHORT))
        for at in range(200):
            assert tus.patch(url, SHORT[at : at + 1], at=at).status_code == 204
        assert len(stored_slices(api, url)) <= 8
        answer = tus.patch(url, SHORT[200:], at=200)
        assert recording_of(api, answer.headers["X-Job-Name"]) == SHORT

    def test_an_upload_of_nothing_is_whole_at_once(self, api: RunningApi, tus: TusRequests) -> None:
        """As with the form, the job then fails with a reason; it is not lost."""
        answer = tus.create(0)
        assert answer.status_code == 201
        assert api.service.get(answer.headers["X-Job-Name"]).media_size_bytes == 0

    def test_a_body_of_unknown_length_is_taken(self, api: RunningApi, tus: TusRequests) -> None:
        """Chunked transfer coding."""
        url = tus.begin(len(SHORT))
        answer = tus.patch(url, iter([SHORT[:10], SHORT[10:500], SHORT[500:]]), at=0)
        assert recording_of(api, answer.headers["X-Job-Name"]) == SHORT

    def test_methods_may_be_named_in_a_header(self, tus: TusRequests) -> None:
        """X-HTTP-Method-Override, for clients that can send nothing but GET and POST."""
        url = tus.begin(len(SHORT))
        sent = {**tus.headers, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
        answer = requests.post(url, data=SHORT[:5], headers={**sent, "X-HTTP-Method-Override": "PATCH"}, timeout=30)
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "5")
        answer = requests.post(url, headers={**tus.headers, "X-HTTP-Method-Override": "DELETE"}, timeout=30)
        assert answer.status_code == 204
        assert tus.head(url).status_code == 404
        answer = requests.post(url, headers={**tus.headers, "X-HTTP-Method-Override": "TRACE"}, timeout=30)
        assert answer.status_code == 400


class TestWhatIsSaid:
    """OPTIONS, HEAD and expiry."""

    def test_options_tell_versions_extensions_and_the_largest_size(self, api: RunningApi) -> None:
        """Without a version in the request."""
        answer = requests.options(f"{api.base_url}/files", timeout=10)
        assert answer.status_code == 204
        assert answer.headers["Tus-Version"] == answer.headers["Tus-Resumable"] == "1.0.0"
        assert answer.headers["Tus-Extension"] == "creation,creation-with-upload,expiration,checksum,termination"
        assert answer.headers["Tus-Max-Size"] == str(32 << 20)
        assert "sha1" in answer.headers["Tus-Checksum-Algorithm"].split(",")

    def test_head_tells_length_offset_metadata_and_is_never_cached(self, tus: TusRequests) -> None:
        """What the client said comes back as it was."""
        answer = tus.head(tus.begin(1234, {"language_code": "en-GB", "note": "näh"}))
        assert answer.headers["Upload-Length"] == "1234"
        assert answer.headers["Upload-Offset"] == "0"
        said = metadata(filename="speech.wav", language_code="en-GB", note="näh")
        assert answer.headers["Upload-Metadata"] == said
        assert answer.headers["Cache-Control"] == "no-store"

    def test_every_addition_puts_the_end_off_by_less_than_a_day(self, api: RunningApi, tus: TusRequests) -> None:
        """Upload-Expires is a date of HTTP."""
        answer = tus.create(1234)
        url = api.base_url + answer.headers["Location"]
        first = parsedate_to_datetime(answer.headers["Upload-Expires"])
        assert timedelta(hours=22) < first - datetime.now(UTC) <= timedelta(hours=24)
        with api.database.begin() as connection:
            soon = datetime.now(UTC) + timedelta(minutes=1)
            connection.execute(resumable_uploads.update().values(expires_at=soon))
        later = parsedate_to_datetime(tus.patch(url, b"RIFF", at=0).headers["Upload-Expires"])
        assert later >= first

    def test_an_upload_whose_time_is_over_is_gone(self, api: RunningApi, tus: TusRequests) -> None:
        """Also before housekeeping has looked."""
        url = tus.begin(1234)
        with api.database.begin() as connection:
            over = datetime.now(UTC) - timedelta(seconds=1)
            mine = resumable_uploads.c.id == url.rpartition("/")[2]
            connection.execute(resumable_uploads.update().where(mine).values(expires_at=over))
        assert tus.head(url).status_code == 404
        assert_refused(tus.patch(url, b"RIFF", at=0), 404, "upload_not_found")


class TestOffsets:
    """Nothing but the next byte is taken."""

    @pytest.mark.parametrize("at", [0, 4, 6, 10**17])
    def test_another_offset_than_the_uploads_is_a_conflict(self, tus: TusRequests, at: int) -> None:
        """It says where to go on, and changes nothing."""
        url = tus.begin(len(SHORT))
        tus.patch(url, SHORT[:5], at=0)
        assert_refused(tus.patch(url, b"xxxx", at=at), 409, "upload_offset_conflict", "at byte 5")
        assert tus.offset(url) == 5

    def test_more_than_was_announced_is_refused_before_it_is_read(self, api: RunningApi, tus: TusRequests) -> None:
        """What is there stays, and can be finished."""
        url = tus.begin(len(SHORT))
        assert_refused(tus.patch(url, SHORT + b"x", at=0), 413, "upload_too_large")
        assert_refused(tus.patch(url, iter([SHORT, b"x"]), at=0), 413, "upload_too_large")
        assert tus.offset(url) == 0
        assert recording_of(api, tus.patch(url, SHORT, at=0).headers["X-Job-Name"]) == SHORT

    def test_a_finished_upload_takes_nothing_more(self, api: RunningApi, tus: TusRequests) -> None:
        """An empty addition at its end is answered with the job again; any other is refused."""
        url = tus.begin(len(SHORT))
        name = tus.patch(url, SHORT, at=0).headers["X-Job-Name"]
        assert tus.patch(url, b"", at=len(SHORT)).headers["X-Job-Name"] == name
        assert_refused(tus.patch(url, b"x", at=len(SHORT)), 413, "upload_too_large")
        assert recording_of(api, name) == SHORT

    def test_two_additions_at_once_leave_one_recording(self, api: RunningApi, tus: TusRequests) -> None:
        """The newer takes over; the older is told so, and none of what it writes later is in the recording."""
        url = tus.begin(len(RECORDING))
        uploads = api.service.resumable
        upload_id = url.rpartition("/")[2]
        older = uploads.take_over(upload_id, offset_bytes=0, owner="")
        sleeper = uploads.take_over(upload_id, offset_bytes=0, owner="")
        older.write(bytes(1 << 20))
        newer = tus.patch(url, RECORDING, at=0)
        sleeper.write(bytes(1 << 20))
        for writer in (older, sleeper):
            with pytest.raises(UploadOffsetConflict, match="taken this upload over"):
                writer.commit()
        assert recording_of(api, newer.headers["X-Job-Name"]) == RECORDING
        assert stored_slices(api, url) == []


class TestChecksums:
    """The extension checksum."""

    @pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
    def test_bytes_with_the_right_checksum_are_taken(self, tus: TusRequests, algorithm: str) -> None:
        """Each algorithm that OPTIONS names."""
        url = tus.begin(len(SHORT))
        assert tus.patch(url, SHORT[:999], at=0, headers=checksum(SHORT[:999], algorithm)).status_code == 204
        assert tus.offset(url) == 999

    def test_bytes_with_another_checksum_are_all_thrown_away(self, api: RunningApi, tus: TusRequests) -> None:
        """460, and the same again with the right one goes on; also where they are more than fit in memory."""
        url = tus.begin(len(RECORDING))
        tus.patch(url, RECORDING[:3], at=0)
        broken = tus.patch(url, RECORDING[3:], at=3, headers=checksum(b"something else"))
        assert_refused(broken, 460, "checksum_mismatch")
        assert tus.offset(url) == 3
        assert len(stored_slices(api, url)) == 1
        answer = tus.patch(url, RECORDING[3:], at=3, headers=checksum(RECORDING[3:]))
        assert recording_of(api, answer.headers["X-Job-Name"]) == RECORDING

    @pytest.mark.parametrize("value", ["crc99 AAAA", "sha1", "sha1 !!!", "sha1 AAAA", "", "sha256 " + 4000 * "A"])
    def test_a_checksum_that_cannot_be_read_is_refused(self, tus: TusRequests, value: str) -> None:
        """400, before anything is taken."""
        url = tus.begin(len(SHORT))
        assert_refused(tus.patch(url, SHORT, at=0, headers={"Upload-Checksum": value}), 400, "invalid_request")
        assert tus.offset(url) == 0


class TestTermination:
    """DELETE."""

    def test_a_dropped_upload_is_gone_with_its_bytes(self, api: RunningApi, tus: TusRequests) -> None:
        """And a second DELETE finds none."""
        url = tus.begin(len(RECORDING))
        tus.patch(url, RECORDING[: 5 << 20], at=0)
        assert stored_slices(api, url) != []
        assert tus.delete(url).status_code == 204
        assert stored_slices(api, url) == []
        assert tus.head(url).status_code == 404
        assert_refused(tus.delete(url), 404, "upload_not_found")
        assert_refused(tus.patch(url, b"x", at=0), 404, "upload_not_found")

    def test_the_job_of_a_finished_upload_stays(self, api: RunningApi, tus: TusRequests) -> None:
        """Only the way to it is gone."""
        url = tus.begin(len(SHORT))
        name = tus.patch(url, SHORT, at=0).headers["X-Job-Name"]
        assert tus.delete(url).status_code == 204
        assert recording_of(api, name) == SHORT

    def test_an_upload_that_is_dropped_while_it_is_written_takes_nothing_more(
        self, api: RunningApi, tus: TusRequests
    ) -> None:
        """Whoever writes is told so."""
        url = tus.begin(len(SHORT))
        writer = api.service.resumable.take_over(url.rpartition("/")[2], offset_bytes=0, owner="")
        writer.write(SHORT[:100])
        tus.delete(url)
        with pytest.raises(UploadOffsetConflict, match="deleted"):
            writer.commit()
        assert stored_slices(api, url) == []


class TestIdempotency:
    """Idempotency-Key at creation."""

    def test_the_same_request_again_finds_the_same_upload(self, tus: TusRequests) -> None:
        """Also halfway, and with its job once it is finished."""
        key = {"Idempotency-Key": "phone-1"}
        first = tus.create(len(SHORT), headers=key)
        url = tus.base_url + first.headers["Location"]
        tus.patch(url, SHORT[:7], at=0)
        again = tus.create(len(SHORT), headers=key, body=SHORT[:100])
        assert (again.headers["Location"], again.headers["Upload-Offset"]) == (first.headers["Location"], "7")
        name = tus.patch(url, SHORT[7:], at=7).headers["X-Job-Name"]
        assert tus.create(len(SHORT), headers=key).headers["X-Job-Name"] == name

    def test_another_request_with_the_key_is_a_conflict(self, api: RunningApi, tus: TusRequests) -> None:
        """Another length, another field, or a form that used it before or uses it afterwards."""
        key = {"Idempotency-Key": "phone-2"}
        url = tus.base_url + tus.create(len(SHORT), headers=key).headers["Location"]
        assert_refused(tus.create(len(SHORT) + 1, headers=key), 409, "idempotency_conflict")
        other = tus.create(len(SHORT), {"priority": "low"}, headers=key)
        assert_refused(other, 409, "idempotency_conflict")
        tus.patch(url, SHORT, at=0)
        used = {"Idempotency-Key": "form-1"}
        for headers, status in ((key, 409), (used, 201)):
            form = {"file": ("speech.wav", SHORT)}
            answer = requests.post(f"{api.base_url}/transcribe-batch-async", headers=headers, files=form, timeout=10)
            assert answer.status_code == status
        assert_refused(tus.create(len(SHORT), headers=used), 409, "idempotency_conflict")


class TestWhatIsRefused:
    """At creation, with a sentence, and before a byte is sent."""

    @pytest.mark.parametrize(
        ("fields", "code", "sentence"),
        [
            ({"language_code": "xx-XX"}, "unsupported_language", "xx-XX"),
            ({"priority": "soon"}, "invalid_request", "Invalid priority"),
            ({"engine": "abacus"}, "invalid_request", "Invalid engine"),
            ({"max_speaker_labels": "3"}, "invalid_request", "needs show_speaker_labels"),
            ({"vocabulary_name": "nobody-stored-it"}, "invalid_request", "nobody-stored-it"),
            ({"delete_after_seconds": "-1"}, "invalid_request", "Invalid delete_after_seconds"),
            ({"webhook_url": "https://127.0.0.1/hook"}, "address_not_allowed", ""),
            ({"filename": ""}, "invalid_request", "No filename"),
            ({"filename": "a\0.wav"}, "invalid_request", "NUL"),
            ({"filename": 2000 * "a"}, "invalid_request", "longer than"),
        ],
    )
    def test_fields_that_no_job_could_have(
        self, tus: TusRequests, fields: dict[str, str], code: str, sentence: str
    ) -> None:
        """The form's own sentences."""
        assert_refused(tus.create(len(SHORT), fields), 400, code, sentence)

    @pytest.mark.parametrize(
        "said",
        [
            "filename",
            "filename !!!!",
            "filename /w==",
            "filename YS53YXY= extra",
            "filename YS53YXY=,filename YS53YXY=",
            "file\u00e4name YS53YXY=",
            ",, ,",
            ",".join(f"k{number} YQ==" for number in range(3000)),
        ],
    )
    def test_metadata_that_cannot_be_read(self, tus: TusRequests, said: str) -> None:
        """400, whatever it is."""
        answer = tus.create(5, headers={"Upload-Metadata": said.encode("latin-1")})  # type: ignore[dict-item]
        assert_refused(answer, 400, "invalid_request")

    @pytest.mark.parametrize("length", ["", "-1", "1e3", "0x10", "\u0661", 30 * "9", "1, 1"])
    def test_lengths_that_are_none(self, tus: TusRequests, length: str) -> None:
        """400 for what is no number of bytes."""
        answer = tus.create(1, headers={"Upload-Length": length.encode()})  # type: ignore[dict-item]
        assert_refused(answer, 400, "invalid_request", "Upload-Length")

    @pytest.mark.parametrize("offset", ["", "-1", "+1", "1.5", 30 * "9"])
    def test_offsets_that_are_none(self, tus: TusRequests, offset: str) -> None:
        """400 for what is no number of bytes."""
        assert_refused(tus.patch(tus.begin(5), b"x", at=offset), 400, "invalid_request", "Upload-Offset")

    def test_a_recording_over_the_limit(self, tus: TusRequests) -> None:
        """413, at its creation."""
        assert_refused(tus.create((32 << 20) + 1), 413, "upload_too_large")

    @pytest.mark.parametrize("name", ["Upload-Defer-Length", "Upload-Concat"])
    def test_extensions_that_are_not_spoken(self, tus: TusRequests, name: str) -> None:
        """400, with their name."""
        assert_refused(tus.create(5, headers={name: "1"}), 400, "invalid_request", "extension")

    @pytest.mark.parametrize("version", [None, "0.2.2", "1.0.0, 1.0.0"])
    def test_other_versions(self, api: RunningApi, tus: TusRequests, version: str | None) -> None:
        """412, with the version that is spoken, by every method."""
        url = tus.begin(5)
        headers = {} if version is None else {"Tus-Resumable": version}
        for method in ("HEAD", "PATCH", "DELETE"):
            answer = requests.request(method, url, headers=headers, timeout=10)
            assert (answer.status_code, answer.headers["Tus-Version"]) == (412, "1.0.0")
        answer = requests.post(f"{api.base_url}/files", headers=headers, timeout=10)
        assert answer.status_code == 412
        assert tus.offset(url) == 0

    @pytest.mark.parametrize(
        "headers", [{"Content-Type": "application/octet-stream"}, {"Content-Encoding": "gzip"}, {"Content-Type": ""}]
    )
    def test_bodies_that_are_not_bytes_as_they_are(self, tus: TusRequests, headers: dict[str, str]) -> None:
        """415, by PATCH and by a creation with a body."""
        url = tus.begin(len(SHORT))
        assert_refused(tus.patch(url, SHORT, at=0, headers=headers), 415, "unsupported_content_type")
        assert_refused(tus.create(len(SHORT), body=SHORT, headers=headers), 415, "unsupported_content_type")
        assert tus.offset(url) == 0

    def test_what_is_no_recording_is_refused_with_its_first_bytes(self, tus: TusRequests) -> None:
        """As with the form: neither name nor bytes are of a supported format."""
        url = tus.begin(5000, {"filename": "notes.txt"})
        answer = tus.patch(url, 5000 * b"n", at=0)
        assert_refused(answer, 400, "unsupported_media_format", "txt")
        assert tus.offset(url) == 0
        assert_refused(tus.create(0, {"filename": "notes.txt"}), 400, "unsupported_media_format")

    @pytest.mark.parametrize("name", ["0", 32 * "0", "%00", "..%2f..%2fetc", 3000 * "a", "%F0%9F%98%80"])
    def test_uploads_that_are_not_there(self, api: RunningApi, tus: TusRequests, name: str) -> None:
        """404, whatever the name."""
        url = f"{api.base_url}/files/{name}"
        assert tus.head(url).status_code == 404
        assert tus.patch(url, b"x", at=0).status_code == 404
        assert tus.delete(url).status_code == 404
