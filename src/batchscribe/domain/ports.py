"""READ FIRST: every replaceable part of BatchScribe, and what it promises; remote engines are in ``remote_ports.py``.

Each part is a Protocol; its implementations pass one contract suite under ``tests/contract/``.
Only ``app.py`` names the implementations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from batchscribe.domain.identification import LanguageWindow
from batchscribe.domain.media import MediaInfo
from batchscribe.domain.options import Capabilities, TranscriptionOptions
from batchscribe.domain.transcript import Segment
from batchscribe.domain.voices import VoiceWindow

#: The sample rate of working audio: signed 16-bit little-endian PCM, one channel.
SAMPLE_RATE_HERTZ = 16_000
BYTES_PER_SAMPLE = 2


class Upload(Protocol):
    """A recording on its way into the media store. Not usable from two threads at once."""

    def write(self, data: bytes) -> None:
        """Append bytes. Raises StorageFull when the store's free-space reserve would be touched."""

    def commit(self, key: str) -> int:
        """Make the recording durable under ``key`` and return its size in bytes.

        When this returns, file and folder are on disk: a power cut does not lose the recording.
        """

    def abort(self) -> None:
        """Drop everything that was written. Harmless after commit, and twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedMedia:
    """What a client has put into the store itself."""

    size_bytes: int
    #: Its first bytes.
    head: bytes


class DirectUploads(Protocol):
    """Lets clients put recordings into the media store without the api between. Names are ours, never a client's."""

    def sign(self, name: str, *, seconds: float) -> str:
        """Return the address that a recording can be PUT to for so many seconds."""

    def find(self, name: str, *, head_bytes: int) -> UploadedMedia:
        """Return a recording's size and its first bytes. Raises UploadNotFound."""

    def commit(self, name: str, key: str) -> int:
        """Make a copy durable under ``key`` and return its size in bytes."""

    def drop(self, name: str) -> None:
        """Remove a recording. Harmless when it is not there; where it fails, the recording is reclaimed later."""


class MediaStore(Protocol):
    """Keeps recordings and working audio under keys such as ``audio/batch/2026-02-05/<job>.mp3``.

    Keys are made by us, never by a client. Every method may be called from any thread.
    """

    #: The bucket that stands in a recording's ``s3://`` address.
    bucket: str

    def begin_upload(self) -> Upload:
        """Start taking in a recording. Raises StorageFull when free space is below the reserve."""

    def direct_uploads(self) -> DirectUploads | None:
        """Return what lets clients put recordings here themselves; None where they cannot."""

    def check_room(self, recording_bytes: int, needed_bytes: int | None = None) -> None:
        """Raise UploadTooLarge where no recording may have so many bytes.

        Raises StorageFull where ``needed_bytes``, by default the recording's, would touch the free-space reserve.
        """

    def join(self, keys: Iterable[str], key: str) -> int:
        """Store what lies under ``keys``, one after the other, durably under ``key``; return its size in bytes.

        The keys are drawn while it is done. Raises MediaMissing, and StorageFull as :meth:`check_room`.
        """

    def put(self, key: str, data: bytes) -> None:
        """Store bytes durably under ``key``, at once and whole, replacing what was there."""

    def get(self, key: str) -> bytes:
        """Return all bytes under ``key``. Raises MediaMissing."""

    def open(self, key: str) -> BinaryIO:
        """Open a recording for reading, seekable, with a file descriptor. Raises MediaMissing."""

    def size(self, key: str) -> int:
        """Return the size in bytes under ``key``. Raises MediaMissing."""

    def delete(self, key: str) -> None:
        """Remove ``key``. Harmless when it is not there."""

    def delete_prefix(self, prefix: str) -> None:
        """Remove every key that begins with ``prefix`` (which ends in ``/``)."""

    def keys_older_than(self, prefix: str, seconds: float) -> list[str]:
        """Return the keys below ``prefix`` (which ends in ``/``) that were written longer ago; each can be deleted.

        A store that keeps no extensions returns them without.
        """

    def reclaim(self, older_than_seconds: float) -> int:
        """Remove uploads that were never committed and are older than this; return how many.

        The age keeps those apart that may still be on their way, where the store cannot tell them by other means.
        """


class DecodedAudio(Protocol):
    """A recording while it is decoded: its header's facts, then its samples."""

    info: MediaInfo
    #: How many channels the blocks hold: 1, unless they were asked for apart.
    channels: int
    #: Filled while the blocks are read: damaged packets skipped, a file cut short.
    warnings: list[str]

    def blocks(self) -> Iterator[bytes]:
        """Yield PCM at :data:`SAMPLE_RATE_HERTZ` in whole samples, at most 1 MiB at a time. Raises RecordingFailed.

        The samples of several channels are interleaved, and a block holds as many of each.
        """


class Decoder(Protocol):
    """Turns untrusted bytes into PCM without ever trusting them."""

    def open(self, media: BinaryIO, *, channels_apart: bool = False) -> AbstractContextManager[DecodedAudio]:
        """Begin to decode. Raises RecordingFailed with the fitting code; leaving the context ends the child process.

        ``media`` has a file descriptor and is seekable. ``channels_apart`` asks for the channels as they are, two at
        most, instead of their mix. May be called from many threads at once.
        """

    def close(self) -> None:
        """End every process that the decoder holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkAudio:
    """One chunk as the engine is given it."""

    job_name: str
    index: int
    #: Seconds from the recording's start; the engine's segments carry times on the recording's scale.
    start: float
    #: Signed 16-bit little-endian PCM, one channel, :data:`SAMPLE_RATE_HERTZ`.
    pcm: bytes
    #: Lower is sooner. Among equals the engine serves jobs in turn, not chunks in order of arrival.
    priority: float = 0.0

    @property
    def duration(self) -> float:
        """Seconds of audio in the chunk."""
        return len(self.pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE_HERTZ


class Engine(Protocol):
    """Recognises speech. Its words depend on the chunk's audio and the options alone."""

    capabilities: Capabilities

    def recognise(
        self,
        chunk: ChunkAudio,
        options: TranscriptionOptions,
        *,
        on_progress: Callable[[float], None],
        is_cancelled: Callable[[], bool],
    ) -> tuple[Segment, ...]:
        """Recognise one chunk; block until it is done. May be called from many threads at once.

        Segments come in order and lie within the chunk; silence gives none. ``on_progress`` is called with the chunk's
        seconds done so far. ``is_cancelled`` is asked at least once a second.
        Raises Cancelled once it answers True, EngineCrashed when the engine's process died with this audio repeatedly.
        """

    def find_voices(self, chunk: ChunkAudio, *, is_cancelled: Callable[[], bool]) -> tuple[VoiceWindow, ...]:
        """Tell apart who can be heard in a chunk, window by window; times are on the recording's scale.

        Asked only of an engine whose capabilities have ``show_speaker_labels``. Waits and raises as :meth:`recognise`.
        """

    def find_languages(
        self, chunk: ChunkAudio, *, by_stretch: bool, is_cancelled: Callable[[], bool]
    ) -> tuple[LanguageWindow, ...]:
        """Say which languages may be spoken in a chunk, window by window in order, on the recording's scale.

        The windows hold what lies between two pauses where languages are wanted ``by_stretch``; otherwise as much as
        makes the engine sure. Silence gives none. They depend on the chunk's audio alone. Asked only of an engine whose
        capabilities have ``identify_language``. Waits and raises as :meth:`recognise`.
        """

    def close(self) -> None:
        """End every process that the engine holds."""
