"""Try a server from end to end: upload a recording, wait, show the transcript, list the recent jobs.

    python test_async_batch.py audio.mp3
    python test_async_batch.py audio.mp3 zh-CN

It needs nothing but Python and speaks the contract alone, so it works with every server of the contract, and reads as
an example of a client. ``BATCHSCRIBE_URL`` is the server's address (by default http://127.0.0.1:5001), and
``BATCHSCRIBE_API_KEY`` the key, if the server wants one.

Exit code: 0 transcribed, 1 failed or no server, 2 wrong usage.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

SERVER = (os.environ.get("BATCHSCRIBE_URL") or "http://127.0.0.1:5001").rstrip("/")
API_KEY = os.environ.get("BATCHSCRIBE_API_KEY") or ""
POLL_SECONDS = 5
BLOCK_BYTES = 64 * 1024
#: How many polls in a row may go unanswered: a server that restarts does no harm.
UNANSWERED_POLLS = 24


class NoJobError(Exception):
    """The server refused; the sentence is its own."""


def ask(path: str, form: tuple[str, int, Iterator[bytes]] | None = None, timeout_seconds: float = 30) -> dict[str, Any]:
    """Send a question and return the JSON of the answer. Raises NoJobError, and OSError where no server answers."""
    headers = {"Authorization": f"Bearer {API_KEY}"} if API_KEY else {}
    body = None
    if form is not None:
        content_type, length_bytes, body = form
        headers |= {"Content-Type": content_type, "Content-Length": str(length_bytes)}
    request = Request(SERVER + path, data=body, headers=headers)  # noqa: S310 - the address is the caller's own
    try:
        with urlopen(request, timeout=timeout_seconds) as answer:  # noqa: S310
            data: dict[str, Any] = json.load(answer)
            return data
    except HTTPError as error:
        if error.code in {429, 502, 503, 504} and form is None:
            raise
        text = error.read().decode("utf-8", "replace").strip()
        raise NoJobError(f"HTTP {error.code}: {text}") from error


def recording_form(path: Path, language_code: str) -> tuple[str, int, Iterator[bytes]]:
    """Write the form of an upload: its content type, its length, and its bytes, read as they are sent."""
    boundary = secrets.token_hex(16)
    file_name = path.name.encode("utf-8", "replace").replace(b'"', b"%22").replace(b"\r", b"%0D").replace(b"\n", b"%0A")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="language_code"\r\n\r\n{language_code}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="'
    ).encode() + file_name
    head += b'"\r\nContent-Type: application/octet-stream\r\n\r\n'
    tail = f"\r\n--{boundary}--\r\n".encode()

    def body() -> Iterator[bytes]:
        yield head
        with path.open("rb") as media:
            while block := media.read(BLOCK_BYTES):
                yield block
        yield tail

    length_bytes = len(head) + path.stat().st_size + len(tail)
    return f"multipart/form-data; boundary={boundary}", length_bytes, body()


def submit(path: Path, language_code: str) -> str:
    """Upload the recording, show what the server answers, and return the job's name."""
    print(f"Uploading {path} ({path.stat().st_size / 1e6:.1f} MB, {language_code}) to {SERVER} ...")
    job = ask("/transcribe-batch-async", recording_form(path, language_code), timeout_seconds=300)
    print("Job started")
    for field in ("job_name", "status", "s3_url", "upload_time_seconds", "status_endpoint"):
        print(f"  {field}: {job[field]}")
    return str(job["job_name"])


def wait(job_name: str) -> dict[str, Any]:
    """Poll until the job has ended and return it."""
    started_at = time.monotonic()
    unanswered = 0
    while True:
        try:
            job = ask(f"/transcribe-job/{quote(job_name)}")
        except OSError as error:
            unanswered += 1
            if unanswered > UNANSWERED_POLLS:
                raise
            print(f"  {time.monotonic() - started_at:5.0f} s  no answer ({error}); trying again")
        else:
            unanswered = 0
            print(f"  {time.monotonic() - started_at:5.0f} s  {job['status']}", flush=True)
            if job["status"] in {"COMPLETED", "FAILED"}:
                return job
        time.sleep(POLL_SECONDS)


def show_result(job: dict[str, Any]) -> None:
    """Show a job that has ended."""
    if job["status"] == "FAILED":
        print(f"Failed: {job['failure_reason']}")
        return
    print("Completed")
    for field in ("language_code", "creation_time", "completion_time", "media_format", "media_sample_rate_hz"):
        print(f"  {field}: {job[field]}")
    print(f"\nTranscript\n{job['transcript']}\n")


def show_recent_jobs() -> None:
    """List the server's latest jobs."""
    listed = ask("/transcribe-jobs?max_results=10")
    print(f"Recent jobs ({listed['count']})")
    for job in listed["jobs"]:
        print(f"  {job['job_name']}  {job['status']:<11}  {job['language_code']}  {job['creation_time']}")


def main(arguments: list[str]) -> int:
    """Run the script and return its exit code."""
    if len(arguments) not in {1, 2} or arguments[0].startswith("-"):
        print("Usage: python test_async_batch.py FILE [LANGUAGE]", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    if not path.is_file():
        print(f"There is no file {path}.", file=sys.stderr)
        return 2
    try:
        job = wait(submit(path, arguments[1] if len(arguments) == 2 else "en-US"))
        show_result(job)
        show_recent_jobs()
    except NoJobError as error:
        print(f"The server refused. {error}", file=sys.stderr)
        return 1
    except (OSError, ValueError, KeyError) as error:
        print(
            f"No server of the contract answers at {SERVER}: {error!r}. Start one with `make serve`.", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("\nStopped watching; a job that was started goes on in the server.", file=sys.stderr)
        return 130
    return 0 if job["status"] == "COMPLETED" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
