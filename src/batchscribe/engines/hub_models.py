"""Models from the Hugging Face Hub, kept in a cache folder of ours in the Hub's own layout.

The layout (https://huggingface.co/docs/huggingface_hub/guides/manage-cache): ``refs/main`` names a commit; the files
of ``snapshots/<commit>`` are links to ``blobs/<digest>``, where the digest is what the Hub states: SHA-256 for large
files, git's SHA-1 for small ones.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscribe.engines.model_files import missing_files
from batchscribe.errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a converted Whisper model consists of; repositories often hold more.
_PATTERNS = ["config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*"]
_DIGEST_KINDS = {64: "sha256", 40: "git"}


def is_repository_name(name: str) -> bool:
    """Whether a name has the form ``owner/repository``."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name, flags=re.ASCII) is not None


def cached_folder(cache: Path, repository: str) -> Path | None:
    """Return the folder of a model that has been fetched whole, or None. Touches no network."""
    home = cache / f"models--{repository.replace('/', '--')}"
    try:
        folder = home / "snapshots" / (home / "refs" / "main").read_text().strip()
    except OSError:
        return None
    return folder if not missing_files(folder) else None


def stated_digests(folder: Path) -> dict[str, str]:
    """Return the digest that the Hub states for each file of a cached model, as ``model_files.py`` writes them."""
    digests = {}
    for path in sorted(folder.iterdir()):
        blob = path.resolve().name
        if kind := _DIGEST_KINDS.get(len(blob)):
            digests[path.name] = f"{kind}:{blob}"
    return digests


def forget(folder: Path, file_name: str) -> None:
    """Remove one file from the cache, so that :func:`fetch` fetches it anew."""
    path = folder / file_name
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def fetch(cache: Path, repository: str, endpoint: str | None, on_progress: Callable[[int, int], None]) -> Path:
    """Fetch what is missing of a model and return its folder. Raises ModelUnavailable with what to do.

    The Hub's own environment variables count: ``HF_HUB_OFFLINE``, ``HF_TOKEN``, ``HF_ENDPOINT`` and proxies.
    """
    import httpx2
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        fetched = Path(
            huggingface_hub.snapshot_download(
                repository,
                cache_dir=cache,
                allow_patterns=_PATTERNS,
                endpoint=endpoint,
                tqdm_class=_reporting(on_progress),
            )
        )
    except RepositoryNotFoundError as error:
        raise ModelUnavailable(
            f"The Hugging Face Hub has no public model {repository}. For a private one, set HF_TOKEN."
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelUnavailable(
            f"The model {repository} is not on this machine and the Hugging Face Hub cannot be reached. Fetch it once "
            "with network access (batchscribe models pull), or give a folder that holds it."
        ) from error
    except (OSError, ValueError, httpx2.HTTPError) as error:
        reason = " ".join(str(error).split())
        raise ModelUnavailable(f"The model {repository} could not be fetched: {reason}") from error
    if missing := missing_files(fetched):
        raise ModelUnavailable(f"{repository} is not a Whisper model for CTranslate2: it has no {', '.join(missing)}.")
    return fetched


def _reporting(on_progress: Callable[[int, int], None]) -> type[Any]:
    """Return a progress bar class that shows nothing and reports bytes; the Hub's client asks for a class."""
    from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]

    class Reporting(tqdm):  # type: ignore[misc,type-arg,unused-ignore]
        """Reports what bars of bytes are told."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever the client gives
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": True})
            # A disabled bar forgets what it counts in.
            self.unit, self.total, self.done = kwargs.get("unit", "it"), kwargs.get("total"), 0

        def update(self, n: float | None = 1) -> bool | None:
            """Count, and report where bytes are counted."""
            self.done += int(n or 0)
            if self.unit == "B":
                on_progress(self.done, int(self.total or 0))
            return None

    return Reporting
