"""``batchscribe serve``, ``api``, ``worker`` and ``db upgrade``: the server's own processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from batchscribe.cli.options import data_dir_option, engine_option, model_option, quality_option, with_options

_listening_options = with_options(
    click.option("--host", metavar="ADDRESS", help="Address to listen on; by default 127.0.0.1.  [BATCHSCRIBE_HOST]"),
    click.option("--port", type=int, metavar="PORT", help="Port to listen on; by default 5001.  [BATCHSCRIBE_PORT]"),
)
_engine_options = with_options(engine_option, model_option, quality_option)


@click.command(
    epilog="""\b
Examples:
  batchscribe serve
  batchscribe serve --port 8080 --quality fast
  batchscribe serve --host 0.0.0.0 --data-dir /srv/batchscribe
"""
)
@with_options(_listening_options, data_dir_option, _engine_options)
def serve(**overrides: Any) -> None:  # noqa: ANN401 - settings, checked when they are loaded
    """Run the whole server: one api and one worker.

    Stop it with Ctrl-C. Jobs that are under way are taken up again at the next start; finished chunks are not redone.
    """
    from batchscribe import settings, supervisor

    sys.exit(supervisor.serve(settings.load(**overrides)))


@click.command(
    epilog="""\b
Example:
  BATCHSCRIBE_DATABASE_URL=postgresql://... batchscribe api --host 0.0.0.0
"""
)
@with_options(_listening_options, data_dir_option)
def api(**overrides: Any) -> None:  # noqa: ANN401 - settings, checked when they are loaded
    """Run only the api.

    It takes in recordings and answers; workers elsewhere transcribe.
    """
    from batchscribe import app, settings

    app.run_api(settings.load(**overrides))


@click.command(
    epilog="""\b
Example:
  BATCHSCRIBE_DATABASE_URL=postgresql://... batchscribe worker --model small
"""
)
@with_options(data_dir_option, _engine_options)
def worker(**overrides: Any) -> None:  # noqa: ANN401 - settings, checked when they are loaded
    """Run only a worker.

    It claims jobs from the database and transcribes them.
    """
    from batchscribe import app, settings

    app.run_worker(settings.load(**overrides))


@click.group("db")
def database() -> None:
    """Look after the database."""


@database.command()
@data_dir_option
def upgrade(data_dir: Path | None) -> None:
    """Bring the database's tables to this version. Harmless when they are. `serve` does it by itself."""
    from batchscribe import app, settings

    app.upgrade_database(settings.load(data_dir=data_dir))
    click.echo("The database is up to date.")
