"""``batchscribe jobs``: look at a server's jobs, follow, cancel and delete them."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from batchscribe.cli.options import (
    EXIT_INTERRUPTED,
    connected,
    format_option,
    json_option,
    url_option,
    with_options,
)
from batchscribe.domain.job import JobStatus
from batchscribe.errors import BatchScribeError

if TYPE_CHECKING:
    from batchscribe.client import Job

_names_argument = click.argument("names", nargs=-1, required=True, metavar="NAME...")


@click.group(
    epilog="""\b
Examples:
  batchscribe jobs list --status FAILED
  batchscribe jobs list --limit 500 | cut -f 1       tab-separated when not on a terminal
  batchscribe jobs show transcribe-a1b2...
  batchscribe jobs transcript transcribe-a1b2... --format srt > talk.srt
  batchscribe jobs speakers transcribe-a1b2... spk_0=Ann spk_1=Bob
  batchscribe jobs watch transcribe-a1b2...
"""
)
def jobs() -> None:
    """Look at a server's jobs; follow, cancel, delete them."""


@jobs.command("list")
@with_options(
    click.option(
        "--status", type=click.Choice([each.value for each in JobStatus], case_sensitive=False), help="Only these."
    ),
    click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The most jobs to list."),
    json_option,
    url_option,
)
def list_jobs(status: str | None, limit: int, as_json: bool, url: str | None) -> None:
    """List jobs, latest first: name, status, language, creation time, progress, why it failed."""
    wanted = JobStatus(status) if status else None
    with connected(url) as client:
        found = tuple(itertools.islice(client.list(wanted, page_jobs=min(limit, 100)), limit))
    if as_json:
        click.echo(json.dumps([job_json(job) for job in found], indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        _print_table(found)
    else:
        for job in found:
            click.echo("\t".join(_cells(job)))


@jobs.command()
@click.argument("name")
@with_options(json_option, url_option)
def show(name: str, as_json: bool, url: str | None) -> None:
    """Show everything about one job, with its transcript."""
    with connected(url) as client:
        shown = job_json(client.get(name))
    if as_json:
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    text = shown.pop("transcript", None)
    warnings = shown.pop("warnings", ())
    for field, value in shown.items():
        click.echo(f"{field.replace('_', ' ')}: {value}")
    for warning in warnings:
        click.echo(f"warning: {warning}")
    if text is not None:
        click.echo(f"\n{text}")


@jobs.command()
@click.argument("name")
@with_options(format_option, url_option)
def transcript(name: str, export_format: str, url: str | None) -> None:
    """Print the transcript of a COMPLETED job."""
    with connected(url) as client:
        document = client.export(name, export_format)
    click.echo(document, nl=False)


@jobs.command()
@click.argument("name")
@click.argument("names", nargs=-1, metavar="[LABEL=NAME]...")
@url_option
def speakers(name: str, names: tuple[str, ...], url: str | None) -> None:
    """Show who speaks in a transcript, or give names: spk_0=Ann spk_1=Bob ch_0=Agent; LABEL= takes one away."""
    given: dict[str, str | None] = {}
    for each in names:
        label, is_pair, value = each.partition("=")
        if not is_pair:
            raise click.UsageError(f"{each} is not LABEL=NAME, such as spk_0=Ann.")
        given[label] = value or None
    with connected(url) as client:
        shown = client.name_speakers(name, given) if given else client.speakers(name)
    for label, display_name in shown.items():
        click.echo(f"{label}\t{display_name}")


@jobs.command()
@_names_argument
@url_option
def watch(names: tuple[str, ...], url: str | None) -> None:
    """Show jobs as they go until all have ended; Ctrl-C stops watching, not the jobs.

    Exit code 1 when any FAILED.
    """
    from batchscribe.cli.progress import Board
    from batchscribe.client import AsyncClient

    async def watch_one(client: AsyncClient, board: Board, name: str) -> bool:
        row = board.row(name)
        try:
            job = await client.wait(name, on_progress=row.show_job)
        except BatchScribeError as error:
            row.end(f"failed. {error}")
            return False
        row.end("completed", job.media_duration_seconds)
        return True

    async def watch_all() -> bool:
        async with AsyncClient(url) as client:
            with Board() as board:
                return all(await asyncio.gather(*(watch_one(client, board, name) for name in dict.fromkeys(names))))

    try:
        succeeded = asyncio.run(watch_all())
    except KeyboardInterrupt:
        click.echo("\nStopped watching; the jobs go on in the server.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    if not succeeded:
        sys.exit(1)


@jobs.command()
@_names_argument
@url_option
def cancel(names: tuple[str, ...], url: str | None) -> None:
    """Cancel jobs that have not ended. They become FAILED, "Cancelled by request."."""
    with connected(url) as client:
        for name in names:
            client.cancel(name)
            click.echo(f"{name}: cancelled", err=True)


@jobs.command()
@_names_argument
@with_options(click.option("--yes", is_flag=True, help="Do not ask."), url_option)
def delete(names: tuple[str, ...], yes: bool, url: str | None) -> None:
    """Delete jobs with their recordings and transcripts. This cannot be undone."""
    if not yes:
        what = names[0] if len(names) == 1 else f"{len(names)} jobs"
        click.confirm(f"Delete {what} with recording and transcript?", abort=True, err=True)
    with connected(url) as client:
        for name in names:
            client.delete(name)
            click.echo(f"{name}: deleted", err=True)


def job_json(job: Job) -> dict[str, Any]:
    """Return a job under the contract's names, without what the server did not tell."""
    fields = {field.name: getattr(job, field.name) for field in dataclasses.fields(job)}
    return {name: _plain(value) for name, value in fields.items() if value not in (None, ())}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, JobStatus) else value


def _cells(job: Job) -> tuple[str, ...]:
    return (
        job.job_name,
        job.status.value,
        job.language_code,
        "" if job.creation_time is None else job.creation_time.isoformat(timespec="seconds"),
        "" if job.progress is None else f"{job.progress:.0%}",
        # One job is one line, whatever a failure says.
        " ".join((job.failure_reason or "").split()),
    )


def _print_table(found: tuple[Job, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "status", "language", "created", "done", "failure", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for job in found:
        table.add_row(*(Text(cell) for cell in _cells(job)))
    Console().print(table if found else "No jobs.")
