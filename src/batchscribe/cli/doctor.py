"""``batchscribe doctor``: is everything here that the server needs, and if not, what to do."""

from __future__ import annotations

import sys
from typing import Any

import click

from batchscribe.cli.options import data_dir_option, engine_option, model_option, with_options


@click.command(
    epilog="""\b
Examples:
  batchscribe doctor
  batchscribe doctor --data-dir /srv/batchscribe --port 8080
"""
)
@with_options(
    click.option("--host", metavar="ADDRESS", help="Where the server is to listen.  [BATCHSCRIBE_HOST]"),
    click.option("--port", type=int, metavar="PORT", help="Where the server is to listen.  [BATCHSCRIBE_PORT]"),
    data_dir_option,
    engine_option,
    model_option,
)
def doctor(**overrides: Any) -> None:  # noqa: ANN401 - settings, checked when they are loaded
    """Check this machine and its settings, and say what to do. Changes nothing.

    Each line begins with ok, note (works, but know this) or BROKEN. Exit code 1 when something is broken.
    """
    from batchscribe import settings
    from batchscribe.cli.checkup import CHECKS, State

    loaded = settings.load(**overrides)
    is_broken = False
    for check in CHECKS:
        for finding in check(loaded):
            is_broken = is_broken or finding.state is State.BROKEN
            click.echo(f"{finding.state.value:<7} {finding.subject:<12} {finding.sentence}")
    if is_broken:
        click.echo("Something is broken; the lines above say what to do.", err=True)
        sys.exit(1)
