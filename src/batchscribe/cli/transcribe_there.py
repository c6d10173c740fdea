"""Takes recordings through a server for ``batchscribe transcribe``, a few at a time."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchscribe.cli.options import EXIT_INTERRUPTED, no_server_sentence
from batchscribe.cli.outputs import write_transcript
from batchscribe.errors import BatchScribeError

if TYPE_CHECKING:
    from batchscribe.cli.progress import Board
    from batchscribe.cli.recordings import Recording
    from batchscribe.client import AsyncClient

#: How many recordings are at the server at a time, so that one call does not fill its queue for everybody else.
IN_FLIGHT = 4


def transcribe_there(
    known: Mapping[Path, Recording],
    targets: dict[Path, Path | None],
    fields: Mapping[str, str],
    export_format: str,
    url: str | None,
) -> int:
    """Transcribe at the server and return how many recordings failed."""
    from batchscribe.client import AsyncClient, ServerUnreachable

    going_on: dict[Path, str] = {}

    async def transcribe_all() -> int:
        from batchscribe.cli.progress import Board

        turns = asyncio.Semaphore(IN_FLIGHT)

        async def transcribe_in_turn(path: Path, target: Path | None) -> bool:
            async with turns:
                return await _transcribe_one(
                    client, board, known[path], target, fields=fields, export_format=export_format, going_on=going_on
                )

        async with AsyncClient(url) as client:
            try:
                # Nothing may be uploaded in vain: the first question is a small one.
                await anext(client.list(page_jobs=1), None)
            except ServerUnreachable as error:
                sentence = f"{no_server_sentence(error)} With --local it goes without a server."
                raise ServerUnreachable(sentence) from error
            with Board() as board:
                successes = await asyncio.gather(*(transcribe_in_turn(*each) for each in targets.items()))
        return successes.count(False)

    try:
        return asyncio.run(transcribe_all())
    except KeyboardInterrupt:
        _say_what_goes_on(going_on)
        sys.exit(EXIT_INTERRUPTED)


async def _transcribe_one(
    client: AsyncClient,
    board: Board,
    recording: Recording,
    target: Path | None,
    *,
    fields: Mapping[str, str],
    export_format: str,
    going_on: dict[Path, str],
) -> bool:
    """Take one recording through the server, noting it in ``going_on`` meanwhile, and say how it went."""
    path = recording.path
    row = board.row(path.name)
    try:
        if recording.address is not None:
            job = await client.submit_address(recording.address, language_code=None, fields=fields)
        else:
            size_bytes = path.stat().st_size
            job = await client.submit(
                path,
                language_code=None,
                fields=fields,
                on_progress=lambda sent_bytes: row.show_upload(sent_bytes, size_bytes),
                resume_key=_resume_key(path, fields),
            )
        going_on[path] = job.job_name
        row.show_job(job)
        job = await client.wait(job.job_name, on_progress=row.show_job)
        write_transcript(await client.export(job.job_name, export_format), target)
    except (BatchScribeError, OSError) as error:
        job_name = going_on.pop(path, None)
        row.end(f"failed{f' ({job_name})' if job_name else ''}. {error}")
        return False
    del going_on[path]
    row.warn(job.warnings)
    row.end(f"transcribed to {target}" if target else "transcribed", job.media_duration_seconds)
    return True


def _resume_key(path: Path, fields: Mapping[str, str]) -> str:
    """Return what the same command over the same file says again, so that it goes on after Ctrl-C where it was."""
    status = path.stat()
    asked = repr((str(path.resolve()), status.st_ino, status.st_size, status.st_mtime_ns, sorted(fields.items())))
    return hashlib.sha256(asked.encode()).hexdigest()


def _say_what_goes_on(going_on: dict[Path, str]) -> None:
    if not going_on:
        click.echo("\nStopped; nothing goes on in the server. The same command goes on with a long upload.", err=True)
        return
    click.echo("\nStopped watching; the server goes on with:", err=True)
    for path, job_name in going_on.items():
        click.echo(f"  {path}  {job_name}", err=True)
    names = " ".join(going_on.values())
    click.echo(f"Watch with:  batchscribe jobs watch {names}", err=True)
    click.echo(f"Cancel with: batchscribe jobs cancel {names}", err=True)
