"""Settings become parts: with ``remote_parts.py`` the only module that names implementations of ``domain/ports.py``."""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.decoding.sandbox import sandbox_status
from batchscribe.domain.languages import WHISPER_LANGUAGE_CODES
from batchscribe.domain.options import Capabilities, local_options
from batchscribe.domain.ports import Engine, MediaStore
from batchscribe.egress import EgressRules
from batchscribe.errors import ConfigurationError, SandboxUnavailable
from batchscribe.settings import EngineName, Settings
from batchscribe.storage.folder import FolderStore

if TYPE_CHECKING:
    from sqlalchemy import Engine as Database

    from batchscribe.monitor import Readiness
    from batchscribe.sealing import Seal
    from batchscribe.service import TranscriptionService
    from batchscribe.storage.buckets import MediaBuckets
    from batchscribe.workflow.dispatch import Dispatcher
    from batchscribe.workflow.fetch import Fetch
    from batchscribe.workflow.in_flight import InFlight

logger = logging.getLogger(__name__)

#: The bucket in the ``s3://`` addresses of recordings that are kept in a folder.
FOLDER_BUCKET = "batchscribe"


def check_sandbox(settings: Settings) -> None:
    """Raise SandboxUnavailable where the sandbox is required and the kernel has none; otherwise say so once."""
    status = sandbox_status()
    if status.is_complete:
        return
    if settings.require_sandbox:
        raise SandboxUnavailable(f"{status.sentence} Unset BATCHSCRIBE_REQUIRE_SANDBOX to run without.")
    logger.warning("recordings are decoded without the full sandbox: %s", status.sentence)


def upgrade_database(settings: Settings) -> None:
    """Bring all tables to this version. Raises ConfigurationError where the database cannot be used."""
    from sqlalchemy.exc import SQLAlchemyError

    from batchscribe.database.connection import connect
    from batchscribe.database.upgrade import upgrade
    from batchscribe.workflow.dispatch import prepare_tables

    database = connect(settings.effective_database_url, pool_size=2)
    try:
        upgrade(database)
        prepare_tables(settings.effective_database_url)
    except SQLAlchemyError as error:
        raise _unusable_database(settings, error) from error
    finally:
        database.dispose()


def check_database(settings: Settings) -> None:
    """Bring SQLite up to date; of a server, ask no more than that it answers and is up to date.

    Raises ConfigurationError with what to change.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from batchscribe.database.connection import connect
    from batchscribe.database.upgrade import is_current

    if not settings.is_scale_out:
        upgrade_database(settings)
        return
    database = connect(settings.effective_database_url, pool_size=1)
    try:
        with database.connect() as connection:
            is_up_to_date = is_current(connection)
    except SQLAlchemyError as error:
        raise _unusable_database(settings, error) from error
    finally:
        database.dispose()
    if not is_up_to_date:
        raise ConfigurationError("The database's tables are not of this version; run `batchscribe db upgrade` first.")


def build_database(settings: Settings) -> Database:
    """Open the database, which must be up to date."""
    from batchscribe.database.connection import connect

    return connect(settings.effective_database_url)


def build_store(settings: Settings) -> MediaStore:
    """Build the media store. Raises ConfigurationError where a bucket cannot be used as it is set."""
    if settings.storage_url.startswith("s3:"):
        from batchscribe.storage.s3 import S3Store

        store = S3Store(settings.storage_url, spool_folder=settings.data_dir / "spool")
        store.check()
        return store
    return FolderStore(settings.media_folder, bucket=FOLDER_BUCKET, min_free_bytes=settings.min_free_bytes)


def build_decoder(settings: Settings) -> CagedDecoder:
    """Build the decoder."""
    return CagedDecoder(max_seconds=settings.max_media_seconds, require_sandbox=settings.require_sandbox)


def build_engine(settings: Settings) -> Engine:
    """Build the worker's own engine, its model loaded where jobs may be given to it. Raises ModelUnavailable."""
    if set(settings.engines) == {EngineName.AWS}:
        from batchscribe.engines.on_demand import EngineOnDemand

        local = settings.model_copy(update={"engine": EngineName.LOCAL})
        return EngineOnDemand(lambda: build_engine(local), _own_capabilities(local))
    if EngineName.SCRIPTED in settings.engines:
        from batchscribe.engines.scripted import Script, ScriptedEngine

        return ScriptedEngine(Script(seconds_per_audio_second=settings.scripted_real_time_factor))
    from batchscribe.engines.catalogue import ModelCatalogue
    from batchscribe.engines.pool import LocalEngine
    from batchscribe.engines.recogniser import whisper_choice

    catalogue = ModelCatalogue(settings.model_folder)
    folder = catalogue.resolve(settings.model)
    logger.info("model %s from %s", settings.model, folder)
    engine = LocalEngine(
        whisper_choice(folder, quality=settings.quality),
        processes=settings.effective_engine_processes,
        language_codes=catalogue.language_codes(settings.model),
    )
    with ExitStack() as unless_warm:
        unless_warm.callback(engine.close)
        engine.warm()
        unless_warm.pop_all()
    return engine


def build_service(settings: Settings, database: Database) -> TranscriptionService:
    """Build the door that the api opens; the database must be up to date."""
    from batchscribe.direct_uploads import DirectUploadService
    from batchscribe.domain.submission import Terms
    from batchscribe.media_addresses import MediaAddresses
    from batchscribe.service import TranscriptionService
    from batchscribe.webhook_service import WebhookService
    from batchscribe.workflow.dispatch import Dispatcher

    store = build_store(settings)
    return TranscriptionService(
        database=database,
        store=store,
        dispatcher=Dispatcher(database),
        engines=_capabilities(settings),
        terms=Terms(
            max_queued_jobs=settings.max_queued_jobs,
            delete_after_seconds=settings.delete_after_seconds,
            delete_media_after_seconds=settings.delete_media_after_seconds,
            chunk_seconds=settings.chunk_seconds,
        ),
        webhooks=WebhookService(database, server_key=server_key(settings), rules=egress_rules(settings)),
        direct_uploads=DirectUploadService(store.direct_uploads(), max_bytes=settings.max_upload_bytes),
        addresses=MediaAddresses(
            database, store, seal=media_seal(settings), rules=egress_rules(settings), buckets=media_buckets(settings)
        ),
        readiness_checks={
            "sandbox": lambda: _sandbox_readiness(settings),
            "worker": lambda: _worker_readiness(database),
        },
        free_bytes=store.free_bytes if isinstance(store, FolderStore) else None,
    )


def build_fetch(
    settings: Settings, database: Database, store: MediaStore, dispatcher: Dispatcher, in_flight: InFlight
) -> Fetch | None:
    """Build what fetches recordings from their addresses; None where there is no key to read the addresses with."""
    from batchscribe.egress import Egress
    from batchscribe.workflow.fetch import Fetch
    from batchscribe.workflow.intake import FetchLimits

    seal = media_seal(settings)
    if seal is None:
        return None
    return Fetch(
        database=database,
        store=store,
        dispatcher=dispatcher,
        in_flight=in_flight,
        egress=Egress(egress_rules(settings)),
        buckets=media_buckets(settings),
        seal=seal,
        limits=FetchLimits(max_bytes=settings.max_upload_bytes),
    )


def media_seal(settings: Settings) -> Seal | None:
    """Return what recordings' addresses are sealed with; None where there is no key for it."""
    from batchscribe.sealing import Seal

    key = server_key(settings)
    return None if key is None else Seal(key, purpose="media addresses")


def media_buckets(settings: Settings) -> MediaBuckets:
    """Return the buckets that recordings may be read from."""
    from batchscribe.storage.buckets import MediaBuckets

    return MediaBuckets([each.strip() for each in settings.media_buckets.split(",") if each.strip()])


def server_key(settings: Settings) -> bytes | None:
    """Return the key that secrets are made of; None where many machines need one and have not been given it."""
    if given := settings.secret_key.get_secret_value():
        return given.encode()
    if settings.is_scale_out:
        return None
    path = settings.data_dir / "secret.key"
    # Made whole under another name: the api and the worker begin at the same time.
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    return path.read_bytes()


def egress_rules(settings: Settings) -> EgressRules:
    """Return what addresses that callers name may lead to."""
    return EgressRules.read(allow=settings.egress_allow, ports=settings.egress_ports)


def _capabilities(settings: Settings) -> dict[str, Capabilities]:
    """Return what each engine can do, by name, without loading any; the default engine comes first."""
    from batchscribe.engines.aws_request import CAPABILITIES

    return {
        engine.value: CAPABILITIES if engine is EngineName.AWS else _own_capabilities(settings)
        for engine in settings.engines
    }


def _own_capabilities(settings: Settings) -> Capabilities:
    if EngineName.SCRIPTED in settings.engines:
        return Capabilities(language_codes=WHISPER_LANGUAGE_CODES, options=local_options(WHISPER_LANGUAGE_CODES))
    from batchscribe.engines.catalogue import ModelCatalogue

    codes = ModelCatalogue(settings.model_folder).language_codes(settings.model)
    return Capabilities(language_codes=codes, options=local_options(codes))


def _unusable_database(settings: Settings, error: Exception) -> ConfigurationError:
    """Say what is wrong with the database; never its password."""
    from sqlalchemy import make_url

    address = make_url(settings.effective_database_url).render_as_string(hide_password=True)
    reason = str(getattr(error, "orig", error)).strip().partition("\n")[0]
    return ConfigurationError(
        f"The database {address} cannot be used: {reason}. Check BATCHSCRIBE_DATABASE_URL and BATCHSCRIBE_DATA_DIR."
    )


def _sandbox_readiness(settings: Settings) -> Readiness:
    from batchscribe.monitor import Readiness

    status = sandbox_status()
    return Readiness(is_ok=status.is_complete or not settings.require_sandbox, sentence=status.sentence)


def _worker_readiness(database: Database) -> Readiness:
    from sqlalchemy.exc import SQLAlchemyError

    from batchscribe.database import workers
    from batchscribe.monitor import Readiness

    try:
        with database.connect() as connection:
            lively = workers.lively_count(connection)
    except SQLAlchemyError:
        return Readiness(is_ok=False, sentence="It is not known whether a worker runs: the database does not answer.")
    if not lively:
        return Readiness(is_ok=False, sentence="No worker is ready: jobs wait until one is.")
    return Readiness(is_ok=True, sentence=f"{lively} at work.")
