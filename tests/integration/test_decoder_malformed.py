"""The corpus of malformed and odd recordings that lies beside the repository, file by file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.errors import DecoderCrashed, RecordingFailed

pytestmark = pytest.mark.shared

_MAX_SECONDS = 600


@pytest.fixture(scope="module")
def decoder() -> Iterator[CagedDecoder]:
    """Return one decoder for all: what one file does must not touch the next."""
    caged = CagedDecoder(max_seconds=_MAX_SECONDS, memory_bytes=1 << 28)
    yield caged
    caged.close()


def outcome_of(path: Path, decoder: CagedDecoder) -> RecordingFailed | float:
    """Return the seconds decoded, or the error."""
    try:
        with path.open("rb") as media, decoder.open(media) as audio:
            return sum(map(len, audio.blocks())) / 32_000
    except RecordingFailed as error:
        return error


def test_every_malformed_file_ends_in_audio_or_a_sentence(
    decoder: CagedDecoder, shared_folder: Path, clips_folder: Path
) -> None:
    """Within seconds and 256 MiB, never in a crash; a good recording decodes after each."""
    files = sorted(path for path in (shared_folder / "malformed").iterdir() if path.name != "manifest.jsonl")
    assert len(files) > 40
    good = next(iter(sorted(clips_folder.glob("*.flac"))))
    expected = outcome_of(good, decoder)
    assert isinstance(expected, float)
    for path in files:
        started_at = time.monotonic()
        outcome = outcome_of(path, decoder)
        assert time.monotonic() - started_at < 10, path.name
        assert not isinstance(outcome, DecoderCrashed), path.name
        if isinstance(outcome, RecordingFailed):
            assert str(outcome).endswith("."), path.name
        else:
            assert 0 < outcome <= _MAX_SECONDS, path.name
        assert outcome_of(good, decoder) == expected, path.name


def test_every_real_recording_in_an_odd_container_lasts_as_long_as_its_header_says(
    decoder: CagedDecoder, shared_folder: Path
) -> None:
    """Browsers' WebM, videos with sound, 24-bit WAV and the rest decode without a warning."""
    manifest = [json.loads(line) for line in (shared_folder / "audio" / "manifest.jsonl").read_text().splitlines()]
    paths = [shared_folder / "audio" / entry["path"] for entry in manifest if entry["path"].startswith("containers_")]
    playable = [path for path in paths if path.suffix != ".sph"]
    assert len(playable) >= 15
    for path in playable:
        with path.open("rb") as media, decoder.open(media) as audio:
            seconds = sum(map(len, audio.blocks())) / 32_000
            declared = audio.info.declared_duration
            assert seconds > 0.3, path.name
            assert declared is None or seconds == pytest.approx(declared, abs=0.3), path.name
            assert audio.warnings == [], path.name


@pytest.fixture
def clips_folder() -> Path:
    """Return the folder of our own speech."""
    return Path(__file__).parents[1] / "media"
