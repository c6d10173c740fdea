"""Clients that keep a deployment busy through every trouble, and write down what they were told."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import requests

from faults.deployment import FINAL, post


@dataclass
class Load:
    """Submits recordings in turn from several threads, and polls what was accepted."""

    recordings: list[bytes]
    #: Where requests are sent: as a proxy does it, to the apis that are in service.
    base_urls: list[str]
    clients: int = 8
    #: The index of the recording of every job that a 201 told of, and when that was.
    accepted: dict[str, int] = field(default_factory=dict)
    accepted_at: list[float] = field(default_factory=list)
    #: How submissions and polls were answered; 0 is no answer.
    submissions: Counter[int] = field(default_factory=Counter)
    polls: Counter[int] = field(default_factory=Counter)
    #: When a poll first told that a job has ended.
    ended_at: list[float] = field(default_factory=list)
    #: Whole answers of other kinds than were foreseen.
    strange: list[str] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep the deployment busy while the context lasts; every request has its answer when it is left."""
        threads = [threading.Thread(target=self._be_a_client, args=(number,)) for number in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def _be_a_client(self, number: int) -> None:
        chance, turn = random.Random(number), number  # noqa: S311 - any order will do
        while not self._stopped.is_set():
            turn += 1
            name = self._submit(chance.choice(self.base_urls), turn % len(self.recordings))
            while name is not None and not self._stopped.is_set():
                if self._poll(chance.choice(self.base_urls), name) in FINAL:
                    break
                time.sleep(0.1)
            time.sleep(0.05)

    def _submit(self, base_url: str, index: int) -> str | None:
        name, code = None, 0
        with suppress(requests.RequestException):
            answer = post(base_url, self.recordings[index], timeout=60)
            code = answer.status_code
            name = str(answer.json()["job_name"]) if code == 201 else None
            if code not in {201, 503}:
                self.strange.append(f"submit: {code} {answer.text}")
        with self._lock:
            self.submissions[code] += 1
            if name is not None:
                self.accepted[name] = index
                self.accepted_at.append(time.monotonic())
        return name

    def _poll(self, base_url: str, name: str) -> str | None:
        status, code = None, 0
        with suppress(requests.RequestException):
            answer = requests.get(f"{base_url}/transcribe-job/{name}", timeout=60)
            code = answer.status_code
            status = str(answer.json()["status"]) if code == 200 else None
            if code not in {200, 503}:
                self.strange.append(f"poll: {code} {answer.text}")
        with self._lock:
            self.polls[code] += 1
            if status in FINAL:
                self.ended_at.append(time.monotonic())
        return status

    @property
    def interrupted(self) -> int:
        """How many submissions had no 201: each may have left a job or an orphan all the same."""
        return self.submissions.total() - self.submissions[201]

    def first_after(self, moments: list[float], moment: float) -> float:
        """Return how many seconds after a moment the next of these came."""
        return min((each - moment for each in list(moments) if each > moment), default=float("inf"))
