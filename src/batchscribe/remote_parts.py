"""Settings become the parts that a remote engine needs beside those of ``parts.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchscribe.errors import ConfigurationError
from batchscribe.parts import build_database, build_store
from batchscribe.settings import EngineName, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine as Database

    from batchscribe.domain.ports import Decoder, MediaStore
    from batchscribe.engines.aws import AwsTranscribe
    from batchscribe.workflow.remote import RemoteWork
    from batchscribe.workflow.remote_handover import HandOver
    from batchscribe.workflow.remote_import import Importer
    from batchscribe.workflow.remote_terms import RemoteTerms


def build_remote_engine(settings: Settings, store: MediaStore) -> AwsTranscribe:
    """Build the AWS engine. Raises ConfigurationError where it cannot be used as it is set."""
    from batchscribe.engines.aws import AwsTranscribe
    from batchscribe.engines.aws_request import Output

    # Recordings that lie in S3 are read where they are.
    address = getattr(store, "address", None)
    bucket = settings.aws_bucket or (store.bucket if address else "")
    if not bucket:
        raise ConfigurationError("The AWS engine needs a bucket of yours: set BATCHSCRIBE_AWS_BUCKET.")
    output = Output(
        bucket=bucket,
        region=settings.aws_region,
        kms_key_id=settings.aws_kms_key_id,
        data_access_role_arn=settings.aws_data_access_role_arn,
    )
    return AwsTranscribe(output, media_prefix=address)


def build_remote_work(
    settings: Settings, database: Database, store: MediaStore, decoder: Decoder, executor_id: str
) -> tuple[HandOver, RemoteWork] | tuple[None, None]:
    """Build what a worker needs for jobs at a remote engine, where there is one. Raises ConfigurationError."""
    if EngineName.AWS not in settings.engines:
        return None, None
    from batchscribe.engines.aws_events import SqsEvents
    from batchscribe.workflow.remote import RemoteWork
    from batchscribe.workflow.remote_handover import HandOver
    from batchscribe.workflow.remote_steps import RemoteSteps

    engine = build_remote_engine(settings, store)
    engine.check()
    terms = _remote_terms(settings)
    hand_over = HandOver(database=database, store=store, decoder=decoder, engine=engine, terms=terms)
    steps = RemoteSteps(database=database, engine=engine, terms=terms, executor_id=executor_id)
    events = SqsEvents(settings.aws_queue_url, region=settings.aws_region) if settings.aws_queue_url else None
    return hand_over, RemoteWork(database, steps, events)


def build_importer(settings: Settings, name_contains: str) -> tuple[Importer, Iterator[str]]:
    """Build what imports the account's finished jobs, and their names. Raises ConfigurationError."""
    from batchscribe.workflow.remote_import import Importer

    engine = build_remote_engine(settings, build_store(settings))
    importer = Importer(database=build_database(settings), engine=engine, terms=_remote_terms(settings))
    return importer, engine.ended(name_contains)


def build_notifications(settings: Settings, database: Database) -> Callable[[bytes], None] | None:
    """Build what takes SNS's messages, where some are expected. Raises ConfigurationError."""
    if not settings.aws_topic_arn:
        return None
    from batchscribe.database import remote
    from batchscribe.database.connection import writing
    from batchscribe.engines.aws_notifications import SnsNotifications

    notifications = SnsNotifications(settings.aws_topic_arn)

    def receive(body: bytes) -> None:
        name = notifications.receive(body)
        if name is not None:
            with writing(database) as connection:
                remote.hasten(connection, [name], at=remote.database_now(connection))

    return receive


def _remote_terms(settings: Settings) -> RemoteTerms:
    from batchscribe.workflow.remote_terms import RemoteTerms

    return RemoteTerms(
        max_running=settings.aws_max_running,
        starts_per_second=settings.aws_starts_per_second,
        poll_seconds=settings.aws_poll_seconds,
        patience_seconds=settings.aws_patience_seconds,
        usd_per_minute=settings.aws_price_per_minute,
    )
