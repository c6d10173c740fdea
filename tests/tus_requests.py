"""The requests of tus 1.0, for the tests."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import requests

VERSION = {"Tus-Resumable": "1.0.0"}
BODY_TYPE = "application/offset+octet-stream"


def metadata(**values: str) -> str:
    """Return the header ``Upload-Metadata``."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


class TusRequests:
    """Speaks tus with one server."""

    def __init__(self, base_url: str, headers: Mapping[str, str] | None = None) -> None:
        self.base_url = base_url
        self.headers = {**VERSION, **(headers or {})}

    def create(
        self,
        length: int | str,
        fields: Mapping[str, str] | None = None,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Begin an upload."""
        said = metadata(**{"filename": "speech.wav", **(fields or {})})
        sent = {**self.headers, "Upload-Length": str(length), "Upload-Metadata": said}
        if body:
            sent["Content-Type"] = BODY_TYPE
        return requests.post(f"{self.base_url}/files", data=body, headers={**sent, **(headers or {})}, timeout=60)

    def begin(self, length: int, fields: Mapping[str, str] | None = None) -> str:
        """Begin an upload and return its address."""
        answer = self.create(length, fields)
        assert answer.status_code == 201, answer.text
        return self.base_url + str(answer.headers["Location"])

    def head(self, url: str) -> requests.Response:
        """Ask how much is there."""
        return requests.head(url, headers=self.headers, timeout=60)

    def offset(self, url: str) -> int:
        """Return how much is there."""
        answer = self.head(url)
        assert answer.status_code == 200, answer.status_code
        return int(answer.headers["Upload-Offset"])

    def patch(
        self,
        url: str,
        data: Any,
        *,
        at: int | str,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Add bytes."""
        sent = {**self.headers, "Upload-Offset": str(at), "Content-Type": BODY_TYPE, **(headers or {})}
        return requests.patch(url, data=data, headers=sent, timeout=120)

    def delete(self, url: str) -> requests.Response:
        """Drop an upload."""
        return requests.delete(url, headers=self.headers, timeout=60)

    def job_of(self, data: bytes, fields: Mapping[str, str] | None = None) -> str:
        """Upload a recording and return its job's name."""
        answer = self.patch(self.begin(len(data), fields), data, at=0)
        assert answer.status_code == 204, answer.text
        return str(answer.headers["X-Job-Name"])
