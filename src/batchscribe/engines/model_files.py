"""Whether a model's files are the ones they should be: digests, and stamps that spare reading them at every start.

A digest is written ``sha256:<hex>``, or ``git:<hex>`` for the SHA-1 that git gives a file's content.
A stamp is a JSON file with each file's size, time of change and digest at the time when all were read and right.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What the recogniser reads; ``vocabulary.json`` stands for ``vocabulary.txt`` in some models.
REQUIRED_FILES = ("config.json", "model.bin", "tokenizer.json")
_BLOCK_BYTES = 1 << 20


def missing_files(folder: Path) -> list[str]:
    """Return which required files a model's folder lacks."""
    missing = [name for name in REQUIRED_FILES if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in ("vocabulary.txt", "vocabulary.json")):
        missing.append("vocabulary.txt")
    return missing


def digest_of(path: Path, kind: str) -> str:
    """Return a file's digest of the kind ``sha256`` or ``git``. Raises OSError."""
    digest = hashlib.sha256()
    if kind == "git":
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"


def verify(folder: Path, expected: Mapping[str, str], stamp: Path) -> list[tuple[str, bool]]:
    """Read every expected file (name to digest) and return whether each is right; write the stamp when all are."""
    before = _facts(folder, expected)
    results = [(name, _is_right(folder / name, digest)) for name, digest in expected.items()]
    if all(ok for _, ok in results):
        stamp.parent.mkdir(parents=True, exist_ok=True)
        temporary = stamp.with_name(f"{stamp.name}.{os.getpid()}")
        temporary.write_text(json.dumps(before))
        temporary.replace(stamp)
    else:
        stamp.unlink(missing_ok=True)
    return results


def is_verified(folder: Path, expected: Mapping[str, str], stamp: Path) -> bool:
    """Whether the files are those that :func:`verify` found right, by size and time of change."""
    try:
        return bool(json.loads(stamp.read_text()) == _facts(folder, expected))
    except (OSError, ValueError):
        return False


def _facts(folder: Path, expected: Mapping[str, str]) -> dict[str, Any]:
    """Return what a stamp says about the files as they are; None stands for a file that is not there."""
    facts: dict[str, Any] = {}
    for name, digest in expected.items():
        try:
            status = (folder / name).stat()
            facts[name] = [status.st_size, status.st_mtime_ns, digest]
        except OSError:
            facts[name] = None
    return facts


def _is_right(path: Path, digest: str) -> bool:
    """Whether a file is there and has this digest."""
    try:
        return digest_of(path, digest.partition(":")[0]) == digest
    except OSError:
        return False
