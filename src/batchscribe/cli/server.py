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
    """Run the whole server on this machine: one api and one worker.

    Prepares the database first, where it is SQLite. Stop it with Ctrl-C. Jobs that are under way are taken up again at
    the next start; finished chunks are not redone.
    """
    from batchscribe import settings, supervisor

    sys.exit(supervisor.serve(settings.load(**overrides)))


@click.command(
    epilog="""\b
Examples:
  batchscribe api
  BATCHSCRIBE_DATABASE_URL=postgresql://user:password@host/database \\
  BATCHSCRIBE_STORAGE_URL=s3://bucket/prefix batchscribe api --host 0.0.0.0

On another address than 127.0.0.1 it serves nobody until there is an API key: see `batchscribe keys create`.
"""
)
@with_options(_listening_options, data_dir_option)
def api(**overrides: Any) -> None:  # noqa: ANN401 - settings, checked when they are loaded
    """Run only the api: it takes in recordings and answers, and workers transcribe.

    Over PostgreSQL and S3 any number of apis run on any number of machines, all with the same settings; an api keeps
    nothing itself. Bring the tables up to date first, with `batchscribe db upgrade`. SIGTERM answers waiting clients at
    once and gives uploads 30 seconds.
    """
    from batchscribe import app, settings

    app.run_api(settings.load(**overrides))


@click.command(
    epilog="""\b
Examples:
  batchscribe worker --quality fast
  BATCHSCRIBE_DATABASE_URL=postgresql://user:password@host/database \\
  BATCHSCRIBE_STORAGE_URL=s3://bucket/prefix batchscribe worker --model small

A worker listens on no port. --data-dir is where its model and the recordings that it is decoding lie.
"""
)
@with_options(data_dir_option, _engine_options)
def worker(**overrides: Any) -> None:  # noqa: ANN401 - settings, checked when they are loaded
    """Run only a worker: it claims work from the database and transcribes.

    Over PostgreSQL and S3 any number of workers run on any number of machines, all with the same settings; they share
    long recordings, and take over the work of one that dies. Over SQLite there is one, and a second refuses to start.
    SIGTERM ends it at once; what it had in hand goes to the others, or on at the next start.
    """
    from batchscribe import app, settings

    app.run_worker(settings.load(**overrides))


@click.group("db")
def database() -> None:
    """Look after the database."""


@database.command()
@data_dir_option
def upgrade(data_dir: Path | None) -> None:
    """Bring the database's tables to this version.

    Harmless when they are, and while the version before serves. Over SQLite every start does it by itself; over
    PostgreSQL only this command does.
    """
    from batchscribe import app, settings

    app.upgrade_database(settings.load(data_dir=data_dir))
    click.echo("The database is up to date.")
