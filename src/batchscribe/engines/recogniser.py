"""What an engine child process runs: the Recogniser, and how a parent names one."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from batchscribe.errors import ModelUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from batchscribe.domain.identification import LanguageWindow
    from batchscribe.domain.transcript import Segment
    from batchscribe.domain.voices import VoiceWindow
    from batchscribe.engines.whisper import WindowAudio
    from batchscribe.engines.windows import Window


class Wanted(Enum):
    """What is wanted of a chunk; the values are what a child is asked to do with it first."""

    WORDS = "find_windows"
    VOICES = "find_voices"
    LANGUAGE = "find_language"
    LANGUAGES = "find_languages"


class Recogniser(Protocol):
    """Finds and recognises speech with one thread. It lives in a child process and may crash, hang or leak there."""

    #: How many windows of one bucket are best recognised together.
    max_batch: int

    def find_windows(self, pcm: NDArray[np.int16]) -> list[Window]:
        """Cut a chunk of 16 kHz samples into windows of speech, in order; silence gives none."""

    def find_voices(self, pcm: NDArray[np.int16]) -> tuple[VoiceWindow, ...]:
        """Tell apart who can be heard in a chunk of 16 kHz samples, in seconds from its start."""

    def find_languages(self, pcm: NDArray[np.int16], *, by_stretch: bool) -> tuple[LanguageWindow, ...]:
        """Say which languages may be spoken in a chunk of 16 kHz samples, in seconds from its start.

        Of stretches between two pauses, or in windows as long as they are sure; silence gives none.
        """

    def recognise(self, windows: list[WindowAudio]) -> list[tuple[Segment, ...]]:
        """Recognise windows of one bucket, of any languages; return each one's segments, in seconds from its start.

        A window's segments depend on its own samples, bucket, language and phrases alone, never on its neighbours.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserChoice:
    """Which recogniser a child builds, in words that survive the way there."""

    #: A key of the table in :func:`build_recogniser`.
    name: str
    #: What it recognises with, as a person would say it: a folder, or the name again.
    model: str
    #: Values that :mod:`json` can write.
    arguments: dict[str, Any] = field(default_factory=dict)


def whisper_choice(model_folder: Path, *, quality: str) -> RecogniserChoice:
    """Choose Whisper with the model in this folder and a quality: ``accurate``, ``balanced`` or ``fast``."""
    arguments = {"model_folder": str(model_folder), "quality": quality}
    return RecogniserChoice(name="whisper", model=str(model_folder), arguments=arguments)


def build_recogniser(name: str, arguments: dict[str, Any]) -> Recogniser:
    """Build the chosen recogniser; called in the child. Raises ModelUnavailable with a sentence."""
    if name == "whisper":
        return _build_whisper(**arguments)
    if name == "scripted":
        from batchscribe.engines.scripted_recogniser import ScriptedRecogniser

        return ScriptedRecogniser(**arguments)
    raise ModelUnavailable(f"There is no recogniser named {name!r}.")


def _build_whisper(model_folder: str, quality: str) -> Recogniser:
    """Load a Whisper model; say what is wrong where that fails."""
    from batchscribe.engines.whisper import Quality, WhisperRecogniser

    try:
        recogniser: Recogniser = WhisperRecogniser(Path(model_folder), quality=Quality(quality))
    # CTranslate2 raises RuntimeError and ValueError for missing, cut and foreign files; json, tokenizers and the
    # file system have errors of their own below these.
    except (RuntimeError, ValueError, OSError, LookupError) as error:
        reason = " ".join(str(error).split())
        raise ModelUnavailable(f"The model in {model_folder} cannot be loaded: {reason}") from error
    return recogniser
