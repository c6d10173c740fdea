"""Upload of 1 GiB over loopback: speed, bytes written to disk for each byte sent, memory of the api."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil

from benchmarks.running import RunningServer, server

SIZE_BYTES = 1 << 30
_BLOCK = bytes(1 << 20)
_BOUNDARY = "----benchmark"


def main() -> None:
    """Print one row."""
    with server(engine="scripted") as running:
        api = _api(running)
        # The first upload pays for what is loaded on first use.
        upload(running, 1 << 20)
        before = api.memory_info().rss
        written = api.io_counters().write_bytes
        peak = before
        started = time.perf_counter()
        status = upload(running, SIZE_BYTES, while_sending=lambda: None)
        wall = time.perf_counter() - started
        peak = max(peak, _peak_rss_bytes(api))
        written = api.io_counters().write_bytes - written
    print("| status | MB/s | bytes to disk / bytes sent | extra memory of the api MB |")
    print("|---|---|---|---|")
    print(f"| {status} | {SIZE_BYTES / wall / 1e6:.0f} | {written / SIZE_BYTES:.3f} | {(peak - before) / 1e6:.1f} |")


def upload(running: RunningServer, size_bytes: int, while_sending: object = None) -> int:  # noqa: ARG001
    """Send so many bytes as one recording, in chunked encoding; return the status."""
    head = (f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large.wav"\r\n\r\n').encode()
    tail = f"\r\n--{_BOUNDARY}--\r\n".encode()

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(size_bytes // len(_BLOCK)):
            yield _BLOCK
        yield tail

    address = urlsplit(running.base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=120)
    length = len(head) + size_bytes + len(tail)
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}", "Content-Length": str(length)}
    connection.request("POST", "/transcribe-batch-async", body=body(), headers=headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _api(running: RunningServer) -> psutil.Process:
    return next(each for each in running.processes() if "batchscribe api" in " ".join(each.cmdline()))


def _peak_rss_bytes(process: psutil.Process) -> int:
    """Return the most memory that a process has ever had resident (VmHWM)."""
    from pathlib import Path

    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
