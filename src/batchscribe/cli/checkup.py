"""The checks of ``batchscribe doctor``: each looks at one thing and says what it found."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from importlib import metadata

from batchscribe.errors import BatchScribeError
from batchscribe.settings import EngineName, Settings


class State(Enum):
    """How a thing is."""

    OK = "ok"
    #: It works, and there is something to know.
    NOTE = "note"
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found, and what to do where it is not well."""

    state: State
    subject: str
    sentence: str


#: The packages whose versions say most about how this machine transcribes.
TOLD_PACKAGES = ("faster-whisper", "ctranslate2", "av", "dbos", "fastapi", "uvicorn")

#: The first version of FFmpeg without the flaws known when this was written: CVE-2026-107697 and CVE-2026-107695 (HLS
#: playlists read local files, or for ever), CVE-2026-64830 and CVE-2026-125267 (writes outside the heap).
FFMPEG_WITHOUT_KNOWN_FLAWS = (8, 1, 3)


def check_python(_: Settings) -> Iterator[Finding]:
    """Tell the version of Python and the processor cores."""
    version = platform.python_version()
    is_new_enough = sys.version_info >= (3, 11)
    sentence = version if is_new_enough else f"{version} is too old; install Python 3.11 or later."
    yield Finding(state=State.OK if is_new_enough else State.BROKEN, subject="python", sentence=sentence)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding(state=State.OK, subject="cores", sentence=f"{cores}; the engine keeps each of them busy.")


def check_packages(_: Settings) -> Iterator[Finding]:
    """Check that the packages are here that the installation names."""
    try:
        required = metadata.requires("batchscribe") or []
    except metadata.PackageNotFoundError:
        required = list(TOLD_PACKAGES)
    names = [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in required if ";" not in line]
    versions: dict[str, str] = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            sentence = f"{name} is missing; install BatchScribe anew with `pip install batchscribe`."
            yield Finding(state=State.BROKEN, subject="packages", sentence=sentence)
    told = ", ".join(f"{name} {versions[name]}" for name in TOLD_PACKAGES if name in versions)
    yield Finding(state=State.OK, subject="packages", sentence=told or "none found")


def check_ffmpeg(_: Settings) -> Iterator[Finding]:
    """Tell which FFmpeg is inside PyAV; a child is asked, since this process must not load it."""
    question = "import av, json; print(json.dumps([av.__version__, getattr(av, 'ffmpeg_version_info', '')]))"
    child = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, timeout=60, check=False)
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        sentence = f"PyAV cannot be loaded ({last}); install it anew with `pip install --force-reinstall av`."
        yield Finding(state=State.BROKEN, subject="ffmpeg", sentence=sentence)
        return
    pyav, ffmpeg = json.loads(child.stdout)
    numbers = tuple(int(number) for number in re.findall(r"\d+", ffmpeg)[:3])
    if numbers and numbers < FFMPEG_WITHOUT_KNOWN_FLAWS:
        wanted = ".".join(str(number) for number in FFMPEG_WITHOUT_KNOWN_FLAWS)
        sentence = (
            f"FFmpeg {ffmpeg} in PyAV {pyav} has known flaws (mended in {wanted}); recordings meet it only in a "
            "sandboxed process that takes eight formats. Upgrade av when a wheel with a later FFmpeg is out."
        )
        yield Finding(state=State.NOTE, subject="ffmpeg", sentence=sentence)
    else:
        yield Finding(state=State.OK, subject="ffmpeg", sentence=f"{ffmpeg or 'of unknown version'} in PyAV {pyav}")


def check_sandbox(settings: Settings) -> Iterator[Finding]:
    """Tell what the kernel offers to confine the decoder with."""
    from batchscribe.decoding.sandbox import sandbox_status

    status = sandbox_status()
    if status.is_complete:
        yield Finding(state=State.OK, subject="sandbox", sentence=status.sentence)
    elif settings.require_sandbox:
        advice = "Use a kernel that has it (Linux 5.13 or later), or unset BATCHSCRIBE_REQUIRE_SANDBOX."
        yield Finding(state=State.BROKEN, subject="sandbox", sentence=f"{status.sentence} {advice}")
    else:
        advice = "Take recordings only from people you trust, or use Linux 5.13 or later."
        yield Finding(state=State.NOTE, subject="sandbox", sentence=f"{status.sentence} {advice}")


def check_model(settings: Settings) -> Iterator[Finding]:
    """Check that the model is here, and right to the last byte."""
    if settings.engine is not EngineName.LOCAL:
        yield Finding(state=State.NOTE, subject="model", sentence=f"none: the engine is {settings.engine.value}.")
        return
    from batchscribe.engines.catalogue import BUNDLED, ModelCatalogue

    advice = f"Fetch it with `batchscribe models pull {settings.model}`."
    catalogue = ModelCatalogue(settings.model_folder)
    if any(entry.name == settings.model and not entry.installed for entry in catalogue.list()):
        source = "comes with BatchScribe and is put together" if settings.model == BUNDLED else "is fetched"
        sentence = (
            f"{settings.model} {source} at the first start. To do it now: `batchscribe models pull {settings.model}`."
        )
        yield Finding(state=State.NOTE, subject="model", sentence=sentence)
        return
    try:
        checked = catalogue.verify(settings.model)
    except BatchScribeError as error:
        yield Finding(state=State.BROKEN, subject="model", sentence=str(error))
        return
    wrong = [file for file, is_right in checked if not is_right]
    if wrong:
        sentence = f"{settings.model} is damaged ({', '.join(wrong)}). {advice}"
        yield Finding(state=State.BROKEN, subject="model", sentence=sentence)
    else:
        sentence = f"{settings.model}, {len(checked)} files verified"
        yield Finding(state=State.OK, subject="model", sentence=sentence)


def check_data_folder(settings: Settings) -> Iterator[Finding]:
    """Check that the data folder can be written, and that there is room."""
    folder = settings.data_dir
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        sentence = f"{there} cannot be written ({error.strerror}); choose another with BATCHSCRIBE_DATA_DIR."
        yield Finding(state=State.BROKEN, subject="data folder", sentence=sentence)
        return
    free_bytes = shutil.disk_usage(there).free
    room = f"{free_bytes / 1e9:.1f} GB free"
    if free_bytes < settings.min_free_bytes:
        wanted = f"{settings.min_free_bytes / 1e9:.1f} GB"
        sentence = f"{folder}: {room}, but below {wanted} every upload is refused. Make room."
        yield Finding(state=State.BROKEN, subject="data folder", sentence=sentence)
    else:
        when = "" if there == folder else " (made at the first start)"
        yield Finding(state=State.OK, subject="data folder", sentence=f"{folder}{when}, {room}")


def check_database(settings: Settings) -> Iterator[Finding]:
    """Check that the database opens."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    if not settings.database_url and not settings.sqlite_path.exists():
        sentence = f"{settings.sqlite_path} (made at the first start)"
        yield Finding(state=State.OK, subject="database", sentence=sentence)
        return
    try:
        engine = create_engine(settings.effective_database_url)
        shown = engine.url.render_as_string(hide_password=True)
        try:
            with engine.connect() as connection:
                if engine.dialect.name == "sqlite":
                    connection.execute(text("SELECT count(*) FROM sqlite_master"))
        finally:
            engine.dispose()
    except (ArgumentError, ModuleNotFoundError) as error:
        sentence = f"BATCHSCRIBE_DATABASE_URL cannot be used: {error}."
        yield Finding(state=State.BROKEN, subject="database", sentence=sentence)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        sentence = f"{shown} does not open ({reason}); check its address and that it runs."
        yield Finding(state=State.BROKEN, subject="database", sentence=sentence)
    else:
        yield Finding(state=State.OK, subject="database", sentence=f"{shown} opens")


def check_port(settings: Settings) -> Iterator[Finding]:
    """Check that the port is free, or that our own server has it."""
    from batchscribe.client.connection import answers_as_server

    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    shown = f"{settings.host}:{settings.port}"
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        asked = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - compared only
        if answers_as_server(f"http://{asked}:{settings.port}"):
            yield Finding(state=State.OK, subject="port", sentence=f"a server answers at {shown}")
            return
        sentence = f"{shown} cannot be had ({error.strerror}); choose another with --port or --host."
        yield Finding(state=State.BROKEN, subject="port", sentence=sentence)
    else:
        yield Finding(state=State.OK, subject="port", sentence=f"{shown} is free")


#: Every check, in the order of the report.
CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    check_python,
    check_packages,
    check_ffmpeg,
    check_sandbox,
    check_model,
    check_data_folder,
    check_database,
    check_port,
)
