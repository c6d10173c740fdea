"""``POST /aws-notifications`` on a real server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from batchscribe.database import remote
from batchscribe.database.remote import RemoteStage
from batchscribe.engines.aws_notifications import SnsNotifications
from batchscribe.web.notifications import LARGEST_MESSAGE_BYTES
from running_api import RunningApi, running_api

TOPIC = "arn:aws:sns:us-east-1:123456789012:jobs-end"


def post(api: RunningApi, body: bytes) -> tuple[int, str | None]:
    """Post a message; return status and code."""
    answer = requests.post(f"{api.base_url}/aws-notifications", data=body, timeout=30)
    return answer.status_code, answer.headers.get("X-Error-Code")


def test_without_a_topic_no_notifications_are_taken(tmp_path: Path) -> None:
    """As if there were no such path."""
    with running_api(tmp_path) as api:
        assert post(api, b"{}") == (404, "not_found")


def test_what_is_not_sns_s_is_refused(tmp_path: Path) -> None:
    """Never with a 500."""
    with running_api(tmp_path, aws_topic_arn=TOPIC) as api:
        for body in (b"", b"[1]", b"\xff\x00", json.dumps({"TopicArn": TOPIC, "Type": "Notification"}).encode()):
            assert post(api, body) == (400, "invalid_request")
        assert post(api, b" " * (LARGEST_MESSAGE_BYTES + 1)) == (413, "upload_too_large")


def test_a_notification_has_its_job_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, by whichever worker sees it first."""
    monkeypatch.setattr(SnsNotifications, "receive", lambda _self, body: body.decode() or None)
    later = datetime.now(UTC) + timedelta(seconds=600)
    with running_api(tmp_path, aws_topic_arn=TOPIC) as api:
        name = api.submit()
        row: dict[str, Any] = {"remote_name": name, "media_key": "k", "media_uri": "u", "priority_rank": 1}
        with api.database.begin() as connection:
            assert remote.add(connection, name, wanted_at=later, due_at=later, has_copy=False, attempts=0, **row)
            remote.move(connection, name, RemoteStage.COPYING, RemoteStage.STARTED)
        assert post(api, b"unknown") == (200, None)
        assert post(api, b"") == (200, None)
        with api.database.connect() as connection:
            assert not remote.due_stages(connection, at=datetime.now(UTC))
        assert post(api, name.encode()) == (200, None)
        with api.database.connect() as connection:
            assert remote.due_stages(connection, at=datetime.now(UTC)) == {RemoteStage.STARTED}
