"""Where the transcripts of ``batchscribe transcribe`` go."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import click


def plan_outputs(
    files: tuple[Path, ...], output: str | None, *, extension: str, overwrite: bool
) -> dict[Path, Path | None]:
    """Say for each recording which file its transcript goes to; None is stdout.

    One recording: stdout, or the file or folder ``output``. Several: beside each, or into the folder ``output``. Two
    that would meet in one file keep their whole names. Raises UsageError before anything is sent, where a transcript
    would overwrite a file and may not, or where a file stands in a folder's place.
    """
    unique = tuple(dict.fromkeys(files))
    if len(unique) == 1 and output is None:
        return {unique[0]: None}
    is_folder = output is not None and (len(unique) > 1 or output.endswith(os.sep) or Path(output).is_dir())
    if output is not None and not is_folder:
        targets: dict[Path, Path] = {unique[0]: Path(output)}
    else:
        targets = {file: _beside(file, output, f"{file.stem}.{extension}") for file in unique}
        uses = Counter(targets.values())
        for file, target in targets.items():
            if uses[target] > 1 or target == file:
                targets[file] = _beside(file, output, f"{file.name}.{extension}")
    _check(targets, Path(output) if output is not None and is_folder else None, overwrite=overwrite)
    return dict(targets)


def write_transcript(document: bytes, target: Path | None) -> None:
    """Write a transcript to its file, making the folder, or to stdout. Raises OSError."""
    if target is None:
        click.echo(document, nl=False)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(document)


def _beside(file: Path, folder: str | None, name: str) -> Path:
    return (file.parent if folder is None else Path(folder)) / name


def _check(targets: dict[Path, Path], folder: Path | None, *, overwrite: bool) -> None:
    if folder is not None and folder.exists() and not folder.is_dir():
        raise click.UsageError(f"{folder} is a file; the transcripts of several recordings need a folder.")
    doubled = [target for target, uses in Counter(targets.values()).items() if uses > 1]
    if doubled:
        raise click.UsageError(f"Several recordings would be written to {doubled[0]}; transcribe them one by one.")
    if any(target in targets for target in targets.values()):
        raise click.UsageError("A transcript would take the place of its recording; choose another --output.")
    existing = [target for target in targets.values() if target.exists()]
    if existing and not overwrite:
        raise click.UsageError(f"{existing[0]} exists already; add --overwrite to replace it.")
