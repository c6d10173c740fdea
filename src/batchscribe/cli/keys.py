"""``batchscribe keys``: make and close API keys, in the database itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchscribe.cli.options import data_dir_option, with_options
from batchscribe.domain.keys import DEFAULT_SCOPES, SCOPES, Quotas

if TYPE_CHECKING:
    from batchscribe.key_ring import KeyRing

_id_argument = click.argument("key_id", metavar="ID")


@click.group(
    epilog="""\b
Examples:
  batchscribe keys create "the web shop" --jobs 20 --audio-minutes 600
  batchscribe keys list
  batchscribe keys rotate 0123456789abcdef

They work on the server's database, so run them where the server runs, with its settings. From the first key on, every
request needs one.
"""
)
def keys() -> None:
    """Make, list, rotate and revoke API keys."""


@keys.command()
@click.argument("name")
@with_options(
    click.option(
        "--scope",
        "scopes",
        multiple=True,
        type=click.Choice(SCOPES),
        help=f"What it may do; several may be given. By default {' and '.join(DEFAULT_SCOPES)}.",
    ),
    click.option("--days", type=click.IntRange(1, 36_500), help="For how long it is good; by default for ever."),
    click.option("--requests", "rate", type=click.FloatRange(0.01, 1e6), help="Requests a second; by default any."),
    click.option("--jobs", type=click.IntRange(1), help="Jobs that wait or run; by default no limit."),
    click.option("--audio-minutes", type=click.FloatRange(0.1), help="Minutes of audio a day; by default no limit."),
    data_dir_option,
)
def create(
    name: str, *, scopes: tuple[str, ...], days: int | None, rate: float | None, jobs: int | None,
    audio_minutes: float | None, data_dir: Path | None,
) -> None:  # fmt: skip
    """Make a key and print it. It is shown this once: only a hash of it is kept."""
    quotas = Quotas(requests_per_second=rate, jobs=jobs, audio_minutes=audio_minutes)
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    _, text = _ring(data_dir).create(name, scopes=scopes or DEFAULT_SCOPES, quotas=quotas, expires_at=expires_at)
    click.echo(text)


@keys.command("list")
@data_dir_option
def list_keys(data_dir: Path | None) -> None:
    """List keys: id, state, scopes, name. Never the keys themselves."""
    now = datetime.now(UTC)
    for key in _ring(data_dir).list():
        is_expired = key.expires_at is not None and key.expires_at <= now
        state = "revoked" if key.revoked_at else "expired" if is_expired else "good"
        click.echo("\t".join((key.id, state, ",".join(key.scopes), key.name)))


@keys.command()
@with_options(_id_argument, data_dir_option)
def rotate(key_id: str, data_dir: Path | None) -> None:
    """Give a key another secret and print it; the one before opens for a day more. Its jobs stay its own."""
    click.echo(_ring(data_dir).rotate(key_id))


@keys.command()
@with_options(_id_argument, data_dir_option)
def revoke(key_id: str, data_dir: Path | None) -> None:
    """Close a key for ever, at once."""
    _ring(data_dir).revoke(key_id)
    click.echo(f"{key_id}: revoked", err=True)


def _ring(data_dir: Path | None) -> KeyRing:
    """Open the database that the settings name."""
    from batchscribe import parts, settings
    from batchscribe.key_ring import KeyRing

    read = settings.load(data_dir=data_dir)
    parts.check_database(read)
    return KeyRing(parts.build_database(read))
