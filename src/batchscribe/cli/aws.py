"""``batchscribe aws``: what the AWS engine needs in AWS, and what is there already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from batchscribe.cli.options import data_dir_option

if TYPE_CHECKING:
    from batchscribe.settings import Settings


@click.group(
    epilog="""\b
Examples:
  batchscribe aws policy --bucket my-bucket > policy.json
  batchscribe aws lifecycle > lifecycle.json
  batchscribe aws import --contains meeting
"""
)
def aws() -> None:
    """Set up the AWS engine, and import what it has already done."""


@aws.command()
@click.option("--bucket", help="The bucket; by default BATCHSCRIBE_AWS_BUCKET.")
@click.option("--queue-arn", default="", help="The queue of events.")
@click.option("--kms-key-arn", default="", help="The key that encrypts recordings and transcripts.")
def policy(bucket: str | None, queue_arn: str, kms_key_arn: str) -> None:
    """Print the IAM policy that the server needs: the least that works."""
    from batchscribe import settings
    from batchscribe.engines import aws_policy

    loaded = settings.load()
    store = urlsplit(loaded.storage_url)
    is_store = store.scheme == "s3"
    prefix = store.path.strip("/")
    document = aws_policy.policy(
        bucket=bucket or loaded.aws_bucket or (store.netloc if is_store else "YOUR-BUCKET"),
        # The media store keeps more than recordings there.
        media_prefix=(f"{prefix}/" if prefix else "") if is_store else aws_policy.MEDIA_PREFIX,
        queue_arn=queue_arn,
        kms_key_arn=kms_key_arn,
        role_arn=loaded.aws_data_access_role_arn,
    )
    click.echo(json.dumps(document, indent=2))


@aws.command()
def lifecycle() -> None:
    """Print the bucket's lifecycle rules, for `aws s3api put-bucket-lifecycle-configuration`."""
    from batchscribe import settings
    from batchscribe.engines import aws_policy

    is_store = settings.load().storage_url.startswith("s3:")
    click.echo(json.dumps(aws_policy.lifecycle(removes_media=not is_store), indent=2))


@aws.command("import")
@click.option("--contains", default="", help="Only jobs with this in their names.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(min=1), help="Import no more.")
@data_dir_option
def import_jobs(contains: str, limit: int, data_dir: Path | None) -> None:
    """Bring the account's finished jobs into our list, with their transcripts. What is there already stays."""
    from batchscribe import settings

    loaded = settings.load(data_dir=data_dir)
    count = _import(loaded, contains, limit)
    click.echo(f"{count} imported.", err=True)


def _import(loaded: Settings, contains: str, limit: int) -> int:
    from batchscribe.app import prepare
    from batchscribe.remote_parts import build_importer

    prepare(loaded)
    importer, names = build_importer(loaded, contains)
    return importer.run(names, most=limit, on_job=lambda name, outcome: click.echo(f"{name}\t{outcome}"))
