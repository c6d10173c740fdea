"""What ``batchscribe transcribe`` is given: files of this machine, and addresses that the server fetches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from batchscribe.domain.media_sources import name_in_address


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording of the command line."""

    #: The file; of an address, what a file in the current folder would be called.
    path: Path
    #: None for a file.
    address: str | None = None


class RecordingType(click.ParamType[Recording]):
    """Reads a file's path, which must be there, or an address of ``https://``, ``http://`` or ``s3://``."""

    name = "recording"

    def convert(
        self, value: str | Recording, param: click.Parameter | None, context: click.Context | None
    ) -> Recording:
        """Return the recording. Raises BadParameter where there is no such file."""
        if isinstance(value, Recording):
            return value
        if value.startswith(("https://", "http://", "s3://")):
            return Recording(Path(name_in_address(value) or "recording"), value)
        file = click.Path(exists=True, dir_okay=False, path_type=Path)
        return Recording(file.convert(value, param, context))


def by_path(recordings: tuple[Recording, ...]) -> dict[Path, Recording]:
    """Return the recordings by what they are called. Raises UsageError where two are called the same."""
    found: dict[Path, Recording] = {}
    for each in recordings:
        if found.setdefault(each.path, each) != each:
            raise click.UsageError(f"Several recordings are called {each.path}; transcribe them one by one.")
    return found
