"""All settings, with their defaults: the only reader of the environment.

Every setting is read from ``BATCHSCRIBE_<NAME>``. ``docs/settings.md`` describes each; a test keeps the two together.
"""

from __future__ import annotations

import os
from enum import Enum
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from batchscribe.domain.origins import read_origins
from batchscribe.errors import ConfigurationError
from batchscribe.hiding import Hider

PREFIX = "BATCHSCRIBE_"
#: Of the key that secrets are made of.
LEAST_KEY_CHARACTERS = 32
#: A part of an address's path that is so long may be a token.
LEAST_TOKEN_CHARACTERS = 16


class EngineName(Enum):
    """The engines that a job can be given to."""

    LOCAL = "local"
    AWS = "aws"
    SCRIPTED = "scripted"


def default_data_folder() -> Path:
    """Return ``$XDG_DATA_HOME/batchscribe``, by default ``~/.local/share/batchscribe``."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "batchscribe"


class Settings(BaseSettings):
    """The settings of one process. Frozen: what a part needs is handed to it as values."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    data_dir: Path = Field(
        default_factory=default_data_folder, description="Folder for the database, recordings, models."
    )
    database_url: str = Field(default="", description="Where jobs are kept; by default SQLite in the data folder.")
    storage_url: str = Field(default="", description="Where recordings are kept; by default a folder in the data one.")
    engine: EngineName = Field(default=EngineName.LOCAL, description="Which engine recognises: local, aws or scripted.")
    other_engines: str = Field(
        default="", description="Engines that a job may ask for beside the default one, with commas between them."
    )
    model: str = Field(default="base", description="A Whisper size, a folder, or a Hugging Face repository.")
    quality: str = Field(
        default="accurate", pattern="^(accurate|balanced|fast)$", description="accurate, balanced or fast."
    )
    host: str = Field(default="127.0.0.1", description="Address that the api listens on.")
    port: int = Field(default=5001, ge=0, le=65535, description="Port that the api listens on.")
    open: bool = Field(default=False, description="Serve whoever reaches the port, without API keys.")
    engine_processes: int = Field(default=0, ge=0, le=1024, description="Recogniser processes; 0 means one a core.")
    require_sandbox: bool = Field(default=False, description="Refuse to start where the decoder cannot be sandboxed.")
    max_upload_bytes: int = Field(default=2_000_000_000, ge=1, description="Largest recording that is accepted.")
    max_media_seconds: float = Field(default=4 * 3600.0, gt=0, description="Longest recording that is transcribed.")
    min_free_bytes: int = Field(default=1_000_000_000, ge=0, description="Free space below which uploads are refused.")
    max_queued_jobs: int = Field(default=100_000, ge=1, description="Waiting jobs above which uploads are refused.")
    chunk_seconds: float = Field(
        default=120.0, ge=10, le=600, description="About how long chunks are; shorter ones spread over more workers."
    )
    worker_chunks: int = Field(
        default=0, ge=0, description="Chunks that one worker has in hand at once; 0 means four an engine process."
    )
    max_running_chunks: int = Field(
        default=0, ge=0, description="Chunks that all workers together recognise at once; 0 means no limit."
    )
    queue_polling_seconds: float = Field(
        default=0.05, ge=0.01, le=10, description="How often a worker looks for work; raise it with many workers."
    )
    delete_after_seconds: int | None = Field(
        default=None, ge=0, description="Seconds from a job's end until it is deleted; unset means never."
    )
    delete_media_after_seconds: int | None = Field(
        default=None, ge=0, description="Seconds from a job's end until its recording is deleted; unset means never."
    )
    upload_stall_seconds: float = Field(default=30.0, gt=0, description="Silence after which an upload is cut.")
    scripted_real_time_factor: float = Field(
        default=0.0, ge=0, description="Seconds that the scripted engine takes for each second of audio."
    )
    aws_region: str = Field(
        default_factory=lambda: os.environ.get("AWS_REGION", ""),
        description="AWS's region; by default AWS_REGION, else what AWS's own files say.",
    )
    aws_bucket: str = Field(default="", description="Bucket for AWS's transcripts, and for recordings on their way.")
    aws_kms_key_id: str = Field(default="", description="KMS key that encrypts them; unset means the bucket's own way.")
    aws_queue_url: str = Field(default="", description="SQS queue in which AWS tells of jobs that have ended.")
    aws_topic_arn: str = Field(default="", description="SNS topic whose notifications POST /aws-notifications takes.")
    aws_max_running: int = Field(default=250, ge=1, le=100_000, description="Jobs that run at AWS at once.")
    aws_starts_per_second: int = Field(default=25, ge=1, le=1000, description="Jobs started at AWS in one second.")
    aws_poll_seconds: float = Field(
        default=30.0, ge=1, le=3600, description="How often the jobs that run at AWS are listed, by one worker for all."
    )
    aws_patience_seconds: float = Field(
        default=3600.0, ge=0, description="How long jobs wait while AWS refuses our credentials or permissions."
    )
    aws_data_access_role_arn: str = Field(
        default="", description="Role with which AWS may put jobs in its own queue (deferred execution)."
    )
    aws_price_per_minute: float = Field(default=0.024, ge=0, description="US dollars a minute of audio at AWS.")
    secret_key: SecretStr = Field(
        default=SecretStr(""), description="What webhooks' secrets are made of; over SQLite made at the first start."
    )
    media_buckets: str = Field(
        default="", description="Buckets whose recordings may be submitted by their s3:// addresses, with commas."
    )
    egress_allow: str = Field(
        default="", description="Private networks that webhooks and media addresses may lead to, with commas."
    )
    cors_origins: str = Field(
        default="", description="Origins whose pages may use the server from a browser, with commas; * means any."
    )
    egress_ports: str = Field(default="443", description="Ports of public hosts that may be connected to, with commas.")
    log_level: str = Field(
        default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR."
    )
    log_format: str = Field(default="text", pattern="^(text|json)$", description="text, or json: one object a line.")
    otlp_traces_url: str = Field(
        default="",
        pattern="^(https?://.+)?$",
        description="Where workers send OpenTelemetry traces; needs the extra `otel`.",
    )
    supervisor_pid: int = Field(
        default=0, ge=0, description="Set by `batchscribe serve` for its processes, which end with it."
    )

    @field_validator("secret_key")
    @classmethod
    def _check_secret_key(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < LEAST_KEY_CHARACTERS:
            raise ValueError(f"it must have at least {LEAST_KEY_CHARACTERS} characters, best made by chance")
        return value

    @field_validator("egress_allow")
    @classmethod
    def _check_networks(cls, value: str) -> str:
        for each in filter(None, (part.strip() for part in value.split(","))):
            ip_network(each)
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: str) -> str:
        return ",".join(read_origins(value))

    @field_validator("egress_ports")
    @classmethod
    def _check_ports(cls, value: str) -> str:
        if not all(0 < int(each) < 65536 for each in value.split(",")):
            raise ValueError("a port is from 1 to 65535")
        return value

    @property
    def engines(self) -> tuple[EngineName, ...]:
        """The engines that jobs may be given to, the default one first. Raises ConfigurationError."""
        names = [each.strip().lower() for each in self.other_engines.split(",") if each.strip()]
        try:
            others = [EngineName(name) for name in names]
        except ValueError as error:
            raise ConfigurationError(
                f"{PREFIX}OTHER_ENGINES is {self.other_engines!r}, but may name: local, aws, scripted."
            ) from error
        if {EngineName.LOCAL, EngineName.SCRIPTED} <= {self.engine, *others}:
            raise ConfigurationError("The engines local and scripted cannot be used together.")
        return tuple(dict.fromkeys([self.engine, *others]))

    @property
    def sqlite_path(self) -> Path:
        """The database file of the embedded mode."""
        return self.data_dir / "batchscribe.sqlite"

    @property
    def effective_database_url(self) -> str:
        """The database's address as SQLAlchemy reads it."""
        return self.database_url or f"sqlite:///{self.sqlite_path}"

    @property
    def is_scale_out(self) -> bool:
        """Whether the database is a server, which any number of apis and workers may share."""
        return not self.effective_database_url.startswith("sqlite")

    @property
    def media_folder(self) -> Path:
        """The folder of the media store. Raises ConfigurationError for an address that is not a folder's."""
        if not self.storage_url:
            return self.data_dir / "media"
        parts = urlsplit(self.storage_url)
        if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
            raise ConfigurationError(
                f"{PREFIX}STORAGE_URL is {Hider()(self.storage_url)!r}, but must be file:///a/folder or s3://bucket/prefix."
            )
        return Path(unquote(parts.path))

    @property
    def model_folder(self) -> Path:
        """The folder in which models are kept."""
        return self.data_dir / "models"

    @property
    def effective_engine_processes(self) -> int:
        """How many recogniser processes to run: as many as this process may use cores, unless it is set."""
        if self.engine_processes:
            return self.engine_processes
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1


def to_environment(settings: Settings) -> dict[str, str]:
    """Return the settings as environment variables that :func:`load` reads back the same."""
    values = settings.model_dump(mode="json", exclude_none=True)
    values["secret_key"] = settings.secret_key.get_secret_value()
    return {PREFIX + name.upper(): str(value) for name, value in values.items()}


def secrets_of(settings: Settings) -> list[str]:
    """Return what of the settings, and of AWS's own variables, nobody may read in a log."""
    database, traces = urlsplit(settings.database_url), urlsplit(settings.otlp_traces_url)
    found = [settings.secret_key.get_secret_value()]
    found += [os.environ.get(name, "") for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
    found += [unquote(password) for password in (database.password, traces.password) if password]
    # Collectors have their tokens in the path or behind it; libraries name both, without the host.
    found += [each for values in parse_qs(traces.query).values() for each in values]
    found += [each for each in traces.path.split("/") if len(each) >= LEAST_TOKEN_CHARACTERS]
    return [each for each in found if each]


def load(**overrides: Any) -> Settings:  # noqa: ANN401 - any setting's value, checked by the model
    """Read the settings from the environment; what is given here wins. Raises ConfigurationError with a sentence."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        # A key is not shown, not even one that cannot be; nor an address, which may have one in it.
        value = "not usable" if name.endswith(("_KEY", "_URL")) else repr(first.get("input"))
        raise ConfigurationError(f"{name} is {value}: {first['msg'].lower()}.") from error
