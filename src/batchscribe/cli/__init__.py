"""The ``batchscribe`` command.

Heavy libraries are imported where a command needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys

import click

from batchscribe import __version__
from batchscribe.cli.aws import aws
from batchscribe.cli.doctor import doctor
from batchscribe.cli.jobs import jobs
from batchscribe.cli.keys import keys
from batchscribe.cli.models import models
from batchscribe.cli.server import api, database, serve, worker
from batchscribe.cli.transcribe import transcribe
from batchscribe.cli.vocabularies import vocabularies, vocabulary_filters
from batchscribe.cli.webhooks import webhooks
from batchscribe.errors import BatchScribeError, ConfigurationError


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Begin with:
  batchscribe doctor                  is everything here that is needed?
  batchscribe serve                   run the server on http://127.0.0.1:5001
  batchscribe transcribe talk.mp3     send it a recording and print the transcript

Settings are read from the environment (BATCHSCRIBE_PORT, BATCHSCRIBE_DATA_DIR, ...). The commands that talk to a
running server read BATCHSCRIBE_URL and BATCHSCRIBE_API_KEY.
""",
)
@click.version_option(__version__, prog_name="batchscribe")
def commands() -> None:
    """Transcribe recordings: run the server, or be its client."""


_COMMANDS = (
    serve,
    api,
    worker,
    transcribe,
    jobs,
    vocabularies,
    vocabulary_filters,
    webhooks,
    keys,
    models,
    aws,
    database,
    doctor,
)
for _command in _COMMANDS:
    commands.add_command(_command)


def main() -> None:
    """Run the command line and exit: 0 done, 1 something failed, 2 wrong usage or settings, 130 stopped by Ctrl-C."""
    try:
        commands(prog_name="batchscribe")
    except ConfigurationError as error:
        click.echo(f"batchscribe: {error}", err=True)
        sys.exit(2)
    except BatchScribeError as error:
        click.echo(f"batchscribe: {error}", err=True)
        sys.exit(1)
