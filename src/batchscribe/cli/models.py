"""``batchscribe models``: see, fetch and check the models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchscribe.cli.options import data_dir_option, json_option, with_options

if TYPE_CHECKING:
    from batchscribe.engines.catalogue import ModelCatalogue


@click.group(
    epilog="""\b
Examples:
  batchscribe models list
  batchscribe models pull small           then: batchscribe serve --model small
  batchscribe models verify base
"""
)
def models() -> None:
    """See, fetch and check the Whisper models. `base` comes with the installation."""


@models.command("list")
@with_options(json_option, data_dir_option)
def list_models(as_json: bool, data_dir: Path | None) -> None:
    """List the models: name, size, whether it is here, where it comes from."""
    entries = _catalogue(data_dir).list()
    rows = [
        {
            "name": entry.name,
            "source": entry.source,
            "size_bytes": entry.size_bytes,
            "installed": entry.installed,
            "verified": entry.verified,
        }
        for entry in entries
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    cells = [
        (
            entry.name,
            "?" if entry.size_bytes is None else f"{entry.size_bytes / 1e6:.0f} MB",
            ("verified" if entry.verified else "installed") if entry.installed else "-",
            entry.source,
        )
        for entry in entries
    ]
    if not sys.stdout.isatty():
        for line in cells:
            click.echo("\t".join(line))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "size", "here", "source", box=None, pad_edge=False)
    for line in cells:
        table.add_row(*line)
    Console().print(table)


@models.command()
@click.argument("name")
@data_dir_option
def pull(name: str, data_dir: Path | None) -> None:
    """Fetch a model, so that later starts need no network. Resumes; harmless when it is here."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(name, total=None)

        def show(done_bytes: int, total_bytes: int) -> None:
            bars.update(bar, completed=done_bytes, total=total_bytes or None)

        folder = _catalogue(data_dir).pull(name, show)
    click.echo(f"{name} is in {folder}.", err=True)


@models.command()
@click.argument("name", default="base")
@data_dir_option
def verify(name: str, data_dir: Path | None) -> None:
    """Read every file of a model and compare it with what it must be. Exit code 1 when any differs."""
    checked = list(_catalogue(data_dir).verify(name))
    for file, is_right in checked:
        click.echo(f"{'ok' if is_right else 'WRONG'}\t{file}")
    if not all(is_right for _, is_right in checked):
        click.echo(f"{name} is damaged; fetch it anew with `batchscribe models pull {name}`.", err=True)
        sys.exit(1)


def _catalogue(data_dir: Path | None) -> ModelCatalogue:
    from batchscribe import settings
    from batchscribe.engines.catalogue import ModelCatalogue

    return ModelCatalogue(settings.load(data_dir=data_dir).model_folder)
