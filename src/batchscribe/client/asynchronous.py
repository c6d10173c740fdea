"""The client for asyncio: the blocking client's methods, word for word, to be awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import IO, Any, Self

import httpx2

from batchscribe.client import steps
from batchscribe.client.answers import Job, ServerRefused, ServerUnreachable
from batchscribe.client.connection import (
    connection_settings,
    incoming,
    outgoing,
    request_settings,
    unreachable_is_said,
)
from batchscribe.client.events import Event, EventReader
from batchscribe.client.resuming import submitting
from batchscribe.client.steps import Ask, Page, Steps, T
from batchscribe.client.webhooks import AsyncWebhooks
from batchscribe.domain.job import JobStatus


class AsyncClient:
    """A connection to a server, with ``BATCHSCRIBE_URL`` and ``BATCHSCRIBE_API_KEY`` as defaults.

    May be used from many asyncio tasks of one event loop. Leave it as a context manager, or
    :meth:`close` it. Every method raises ServerUnreachable, ServerRefused and UnexpectedAnswer.
    """

    def __init__(
        self, base_url: str | None = None, api_key: str | None = None, *, patience_seconds: float = 120.0
    ) -> None:
        """Raise ClientError where the address or the key cannot be one. Nothing is sent yet.

        ``patience_seconds`` is how long :meth:`wait` endures a server that does not answer.
        """
        self._http = httpx2.AsyncClient(**connection_settings(base_url, api_key))
        self._patience_seconds = patience_seconds
        #: Receivers of webhooks, and what they were sent.
        self.webhooks = AsyncWebhooks(self._run)

    async def submit(
        self,
        media: str | PathLike[str] | IO[bytes],
        *,
        language_code: str | None = None,
        fields: Mapping[str, str] | None = None,
        on_progress: Callable[[int], None] | None = None,
        resumable: bool | None = None,
        resume_key: str | None = None,
    ) -> Job:
        """Upload a recording, given by its path or open for reading bytes, and return its new job.

        ``fields`` are the form's other fields, such as ``{"redact_types": "EMAIL"}``; without a
        ``language_code`` the server takes English (``en-US``), or finds it out where they say ``identify_language``.
        ``on_progress`` is called with the bytes sent so far. Raises OSError where the recording cannot be read.

        ``resumable`` is whether it is sent in pieces, so that after a broken connection it goes on from where the
        server is, for ``patience_seconds``; by default it is for 16 MiB and more, where the server can. With a
        ``resume_key`` a later call under the same key, and with the same arguments, goes on with what this one began.
        """
        with outgoing(media) as (name, file):
            return await self._run(
                submitting(
                    name,
                    file,
                    language_code=language_code,
                    fields=fields,
                    resumable=resumable,
                    resume_key=resume_key,
                    patience_seconds=self._patience_seconds,
                    on_progress=on_progress,
                )
            )

    async def submit_address(
        self,
        address: str,
        *,
        language_code: str | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Job:
        """Submit a recording by its ``https://`` or ``s3://`` address, which the server fetches; return its new job."""
        return await self._run(steps.submitting_address(address, language_code=language_code, fields=fields))

    async def get(self, name: str, *, wait_seconds: float | None = None) -> Job:
        """Return a job as it is now or, with ``wait_seconds`` (up to 60), once its status changes or the time is up."""
        return await self._run(steps.getting(name, wait_seconds=wait_seconds))

    async def wait(
        self, name: str, *, timeout_seconds: float | None = None, on_progress: Callable[[Job], None] | None = None
    ) -> Job:
        """Wait until the job is COMPLETED and return it. Raises JobFailed where it FAILED, and WaitTimedOut.

        ``on_progress`` is called with the job about every two seconds. A server that restarts meanwhile does no harm.
        """
        return await self._run(
            steps.waiting(
                name,
                timeout_seconds=timeout_seconds,
                patience_seconds=self._patience_seconds,
                on_progress=on_progress,
            )
        )

    async def transcript(self, name: str, format: str = "txt") -> str:  # noqa: A002 - the word of the HTTP interface
        """Return the transcript of a COMPLETED job in a format that is text: every one but ``docx``."""
        # All of them are UTF-8, said or not.
        return (await self.export(name, format)).decode("utf-8")

    async def export(self, name: str, format: str, **options: str) -> bytes:  # noqa: A002 - as above
        """Return the transcript of a COMPLETED job as a file of any format.

        ``options`` are the query's, such as ``max_lines="1"``.
        """
        return await self._run(steps.exporting(name, export_format=format, options=options))

    async def speakers(self, name: str) -> dict[str, str]:
        """Return the name that people read for each speaker and channel label of a transcript."""
        answer = await self._run(steps.calling("GET", steps.job_path(name, part="/speakers")))
        return steps.speaker_names(answer)

    async def name_speakers(self, name: str, names: Mapping[str, str | None]) -> dict[str, str]:
        """Give speakers names by their labels, or with None take them; return all names as :meth:`speakers` does."""
        answer = await self._run(steps.calling("PATCH", steps.job_path(name, part="/speakers"), body=names))
        return steps.speaker_names(answer)

    async def word_lists(self, kind: str) -> dict[str, Any]:
        """Return the first lists of a kind, ``vocabularies`` or ``vocabulary-filters``, as the server writes them."""
        return await self._run(steps.calling("GET", steps.list_path(kind)))

    async def word_list(self, kind: str, name: str) -> dict[str, Any]:
        """Return a list of words as the server writes it."""
        return await self._run(steps.calling("GET", steps.list_path(kind, name)))

    async def put_word_list(self, kind: str, name: str, *, language_code: str, words: Sequence[str]) -> dict[str, Any]:
        """Store a list of words, in the place of one with its name."""
        words_field = "phrases" if kind == "vocabularies" else "words"
        body = {"language_code": language_code, words_field: list(words)}
        return await self._run(steps.calling("PUT", steps.list_path(kind, name), body=body))

    async def delete_word_list(self, kind: str, name: str) -> None:
        """Delete a list of words."""
        await self._run(steps.telling("DELETE", steps.list_path(kind, name)))

    async def media(self, name: str, to: str | PathLike[str]) -> None:
        """Download a job's recording into the file ``to``, which appears only once it is whole. Raises OSError."""
        ask = Ask(path=steps.job_path(name, part="/media"))
        with unreachable_is_said(self._http.base_url):
            async with self._http.stream(**request_settings(ask)) as answer:
                if not answer.is_success:
                    await answer.aread()
                steps.check(answer)
                with incoming(to) as file:
                    async for block in answer.aiter_bytes():
                        file.write(block)

    async def events(self, name: str | None = None) -> AsyncIterator[Event]:
        """Yield what happens to a job until it ends or, without a name, to all jobs; a break is gone on from.

        Where the server does not come back for ``patience_seconds``, ServerUnreachable is raised.
        """
        reader = EventReader(name)
        give_up_at, silences = time.monotonic() + self._patience_seconds, 0
        while not reader.is_over:
            ask, headers = reader.question()
            reader.begin()
            try:
                with unreachable_is_said(self._http.base_url):
                    async with self._http.stream(**request_settings(ask), headers=headers) as answer:
                        if not answer.is_success:
                            await answer.aread()
                        steps.check(answer)
                        if answer.status_code == httpx2.codes.NO_CONTENT:
                            return
                        async for line in answer.aiter_lines():
                            give_up_at, silences = time.monotonic() + self._patience_seconds, 0
                            if (event := reader.read(line)) is not None:
                                yield event
            except (ServerUnreachable, ServerRefused) as error:
                is_passing = not isinstance(error, ServerRefused) or error.is_passing
                if not is_passing or time.monotonic() > give_up_at:
                    raise
            if not reader.is_over:
                await asyncio.sleep(steps.retry_pause_seconds(silences))
            silences += 1

    async def cancel(self, name: str) -> None:
        """Cancel a job that has not ended; it becomes FAILED with ``failure_code`` ``cancelled``."""
        await self._run(steps.telling("POST", steps.job_path(name, part="/cancel")))

    async def delete(self, name: str) -> None:
        """Delete a job with its recording and its transcript."""
        await self._run(steps.telling("DELETE", steps.job_path(name)))

    async def list(self, status: JobStatus | None = None, *, page_jobs: int = steps.PAGE_JOBS) -> AsyncIterator[Job]:
        """Yield the jobs, latest first, all or those with one status, asking for more pages as they are read."""
        last: Page | None = None
        while last is None or last.next_token:
            token = None if last is None else last.next_token
            ask = steps.listing(status=status and status.value, page_jobs=page_jobs, next_token=token)
            page = await self._run(ask)
            if not page.leads_on_from(last):
                return
            for job in page.jobs:
                yield job
            last = page

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Ask any route that answers with JSON, sending ``body`` as JSON, and return the answer."""
        return await self._run(steps.calling(method, path, params=params, body=body))

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, things: Steps[T]) -> T:
        try:
            ask = next(things)
            while True:
                await asyncio.sleep(ask.pause_seconds)
                try:
                    with unreachable_is_said(self._http.base_url):
                        answer = await self._http.request(**request_settings(ask))
                except ServerUnreachable as error:
                    ask = things.throw(error)
                else:
                    ask = things.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
