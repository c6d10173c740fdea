"""The model catalogue: from a model's name to a folder of verified files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from batchscribe.domain.languages import WHISPER_LANGUAGE_CODES
from batchscribe.engines import bundled_model, hub_models, model_files
from batchscribe.errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

#: Names of a model's files, and whether each is as it should be.
VerifiedFiles: TypeAlias = "list[tuple[str, bool]]"

BUNDLED = "base"

#: Whisper's sizes as faster-whisper 1.2.1 names them, and where on the Hugging Face Hub each is.
HUB_REPOSITORIES: dict[str, str] = {
    "tiny": "Systran/faster-whisper-tiny",
    "tiny.en": "Systran/faster-whisper-tiny.en",
    "base.en": "Systran/faster-whisper-base.en",
    "small": "Systran/faster-whisper-small",
    "small.en": "Systran/faster-whisper-small.en",
    "medium": "Systran/faster-whisper-medium",
    "medium.en": "Systran/faster-whisper-medium.en",
    "large-v1": "Systran/faster-whisper-large-v1",
    "large-v2": "Systran/faster-whisper-large-v2",
    "large-v3": "Systran/faster-whisper-large-v3",
    "large": "Systran/faster-whisper-large-v3",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "distil-small.en": "Systran/faster-distil-whisper-small.en",
    "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
    "distil-large-v2": "Systran/faster-distil-whisper-large-v2",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One model that has a name of its own."""

    name: str
    #: Where its files come from, for a person.
    source: str
    #: Bytes of its files; None where they are not here and nobody says.
    size_bytes: int | None
    installed: bool
    #: Whether every file had the expected digest when it was last read, and has not changed since.
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Installed:
    """A model whose files are here."""

    folder: Path
    #: Digest by file name; empty for a folder of the user's own.
    expected: Mapping[str, str]


def ignore_progress(done_bytes: int, total_bytes: int) -> None:
    """Tell nobody."""


class ModelCatalogue:
    """Finds, fetches and verifies models. A model is named by a Whisper size, ``owner/repository``, or a folder's path.

    ``base`` is installed with BatchScribe and needs no network. Several processes may share the cache folder.
    """

    def __init__(self, cache_folder: Path, *, hub_endpoint: str | None = None) -> None:
        """Keep models in ``cache_folder``, made when it is needed; ``hub_endpoint`` replaces the Hub's address."""
        self._cache = cache_folder
        self._hub_endpoint = hub_endpoint

    def resolve(self, name: str, on_progress: Callable[[int, int], None] = ignore_progress) -> Path:
        """Return the folder of a model, fetched if it is not here, for the engine.

        Files are read and compared with their digests the first time, later only their size and time of change.
        Raises ModelUnavailable with a sentence that says what to do.
        """
        installed = self._find(name) or self._fetch(name, on_progress, replace=False)
        stamp = self._stamp(name)
        if installed.expected and not model_files.is_verified(installed.folder, installed.expected, stamp):
            _refuse_damaged(name, model_files.verify(installed.folder, installed.expected, stamp))
        return installed.folder

    def pull(self, name: str, on_progress: Callable[[int, int], None] = ignore_progress) -> Path:
        """Fetch a model, or what of it is missing or damaged, verify every file and return the folder.

        ``on_progress`` is called with bytes done and bytes in all (0 where unknown). Raises ModelUnavailable.
        """
        installed = self._find(name)
        damaged = [] if installed is None else [file for file, ok in self._verify(name, installed) if not ok]
        if installed is None or damaged:
            if installed is not None and name != BUNDLED:
                for file in damaged:
                    hub_models.forget(installed.folder, file)
            installed = self._fetch(name, on_progress, replace=True)
            _refuse_damaged(name, self._verify(name, installed))
        return installed.folder

    def verify(self, name: str) -> VerifiedFiles:
        """Read every file of a model and return whether each is as it should be.

        Nothing is known of the files in a folder of the user's own but which there must be. Raises ModelUnavailable
        when the model is not here.
        """
        installed = self._find(name)
        if installed is None:
            raise ModelUnavailable(f"The model {name} is not here. Fetch it with: batchscribe models pull {name}")
        return self._verify(name, installed)

    def list(self) -> list[ModelEntry]:
        """Return every model that has a name, the bundled one first. Touches no network and reads no model file."""
        return [self._entry(name) for name in (BUNDLED, *HUB_REPOSITORIES)]

    def language_codes(self, name: str) -> frozenset[str]:
        """Return the language codes that a model recognises; those whose names end in ``.en`` know English only."""
        if name.endswith(".en"):
            return frozenset(code for code in WHISPER_LANGUAGE_CODES if code.partition("-")[0] == "en")
        return WHISPER_LANGUAGE_CODES

    def _find(self, name: str) -> _Installed | None:
        """Return a model that is here, or None for one that can be fetched. Raises ModelUnavailable for any other."""
        if name == BUNDLED:
            folder = self._cache / BUNDLED
            return _Installed(folder=folder, expected=bundled_model.EXPECTED) if folder.is_dir() else None
        if (repository := self._repository(name)) is not None:
            cached = hub_models.cached_folder(self._cache / "hub", repository)
            return None if cached is None else _Installed(folder=cached, expected=hub_models.stated_digests(cached))
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise ModelUnavailable(
                f"There is no model {name}. Use a folder, owner/repository, or one of: "
                f"{', '.join((BUNDLED, *HUB_REPOSITORIES))}."
            )
        if missing := model_files.missing_files(folder):
            raise ModelUnavailable(
                f"The folder {name} holds no Whisper model for CTranslate2: no {', '.join(missing)}."
            )
        return _Installed(folder=folder.absolute(), expected={})

    def _fetch(self, name: str, on_progress: Callable[[int, int], None], *, replace: bool) -> _Installed:
        """Fetch a model that :meth:`_find` said can be fetched."""
        repository = self._repository(name)
        if repository is None:
            folder = self._cache / BUNDLED
            bundled_model.assemble(folder, on_progress, replace=replace)
            return _Installed(folder=folder, expected=bundled_model.EXPECTED)
        folder = hub_models.fetch(self._cache / "hub", repository, self._hub_endpoint, on_progress)
        return _Installed(folder=folder, expected=hub_models.stated_digests(folder))

    def _verify(self, name: str, installed: _Installed) -> VerifiedFiles:
        """Read every file of an installed model."""
        if not installed.expected:
            return [(path.name, True) for path in sorted(installed.folder.iterdir()) if path.is_file()]
        return model_files.verify(installed.folder, installed.expected, self._stamp(name))

    def _entry(self, name: str) -> ModelEntry:
        """Describe one model."""
        installed = self._find(name)
        size_bytes = bundled_model.SIZE_BYTES if name == BUNDLED else None
        if installed is not None:
            size_bytes = sum(path.stat().st_size for path in installed.folder.iterdir() if path.is_file())
        return ModelEntry(
            name=name,
            source="installed with BatchScribe" if name == BUNDLED else f"Hugging Face Hub, {HUB_REPOSITORIES[name]}",
            size_bytes=size_bytes,
            installed=installed is not None,
            verified=installed is not None
            and model_files.is_verified(installed.folder, installed.expected, self._stamp(name)),
        )

    def _repository(self, name: str) -> str | None:
        """Return the Hub's repository for a name, or None for the bundled model and for folders."""
        if name in HUB_REPOSITORIES:
            return HUB_REPOSITORIES[name]
        return name if hub_models.is_repository_name(name) and not Path(name).is_dir() else None

    def _stamp(self, name: str) -> Path:
        """Return where it is written down that a model's files were right."""
        return self._cache / "verified" / f"{quote(name, safe='')}.json"


def _refuse_damaged(name: str, results: VerifiedFiles) -> None:
    """Raise ModelUnavailable when a file is not as it should be."""
    damaged = [file for file, ok in results if not ok]
    if damaged:
        raise ModelUnavailable(
            f"The model {name} is damaged: {', '.join(damaged)} is not the expected file. Fetch it again with: "
            f"batchscribe models pull {name}"
        )
