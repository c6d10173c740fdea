"""Opening a recording: what FFmpeg may try, which track is taken, and what the headers say.

The lists below are the first wall. FFmpeg knows hundreds of formats, some of which name other files or hosts
(playlists, concat scripts, SDP), and none of those may be tried. What cannot be foreseen is left to ``sandbox.py``.
"""

from __future__ import annotations

import errno
import math
import os
from dataclasses import dataclass
from typing import NoReturn, Protocol

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard

from batchscribe.domain.media import SNIFF_BYTES, MediaInfo, sniff
from batchscribe.errors import MediaDamaged, MediaNotRecognised, NoAudioTrack

#: FFmpeg's demuxers of the contract's formats, and of their plain relatives.
FORMATS = "mov,mp3,wav,w64,flac,ogg,amr,amrnb,amrwb,matroska,webm,aac"
#: FFmpeg's decoders. No video one: a video's pictures and a recording's cover are never decoded.
CODECS = (
    "mp3float,mp3,mp2float,mp2,aac,opus,libopus,vorbis,flac,alac,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,"
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f64le,pcm_u8,pcm_mulaw,pcm_alaw,"
    "adpcm_ima_wav,adpcm_ms"
)
_OPTIONS = {
    "format_whitelist": FORMATS,
    "codec_whitelist": CODECS,
    "protocol_whitelist": "none",
    "max_streams": "16",
    "probesize": "5000000",
    "analyzeduration": "5000000",
}
#: Containers without a duration of their own. An MP3 file may have one, in a Xing or Info frame.
_GUESSED_CONTAINERS = frozenset({"mp3", "aac", "amr", "amrnb", "amrwb"})
#: A WAV that states more bytes than this was written to a pipe and does not know its length.
_PIPED_WAV_BYTES = 0x7FFF_0000
#: Enough for an MP3's tag without a picture and its first frame.
_HEAD_BYTES = 1 << 16


class Readable(Protocol):
    """What FFmpeg reads from. It has no ``name``: FFmpeg would take a hint from it."""

    def read(self, count: int, /) -> bytes:
        """Return at most ``count`` bytes, none at the end."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move, and return where to."""

    def tell(self) -> int:
        """Return where the next byte is read."""


class DescriptorReader:
    """Reads a descriptor by position: its offset belongs to the parent too."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self._fd, self._size_bytes, self._position = fd, size_bytes, 0

    def read(self, count: int, /) -> bytes:
        """Return at most ``count`` bytes, none at the end."""
        data = os.pread(self._fd, count, self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move, and return where to, or as FFmpeg has it a negative error number."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size_bytes}[whence]
        if not 0 <= origin + offset < 1 << 62:
            return -errno.EINVAL
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._position


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedMedia:
    """A recording whose headers have been read."""

    container: InputContainer
    stream: AudioStream
    info: MediaInfo
    #: Seconds of the track as a header states them, however much of it is there; None where FFmpeg can but guess.
    stated_seconds: float | None
    #: Seconds from the start of the first track to the end of the last; None where no header says.
    timeline_seconds: float | None


def open_media(media: Readable) -> OpenedMedia:
    """Open a recording and choose its first audio track that has an allowed codec.

    Raises MediaNotRecognised, MediaDamaged, NoAudioTrack and MemoryError.
    """
    size_bytes = media.seek(0, os.SEEK_END)
    media.seek(0)
    head = media.read(_HEAD_BYTES)
    media.seek(0)
    try:
        container = av.open(media, "r", metadata_errors="ignore", io_open=_refuse_to_open, options=_OPTIONS)
    except (FFmpegError, OSError, ValueError) as error:
        _fail_to_open(error, head)
    stream = _audio_stream(container)
    info = _media_info(container, stream)
    is_guess = info.container in _GUESSED_CONTAINERS and not _has_xing_frame(head)
    # Without a length of its own a track may end before the others do.
    is_of_others = stream.duration is None and len(container.streams) > 1
    stated = None if is_guess or is_of_others else info.declared_duration
    if stated is not None:
        stated *= _stated_part(head, size_bytes)
    timeline = container.duration / av.time_base if container.duration else None
    return OpenedMedia(container=container, stream=stream, info=info, stated_seconds=stated, timeline_seconds=timeline)


def _audio_stream(container: InputContainer) -> AudioStream:
    """Choose the first audio track with an allowed codec; tell the demuxer to pass over all others."""
    if not container.streams.audio:
        raise NoAudioTrack("The recording has no audio track. Upload one that has sound.")
    allowed = CODECS.split(",")
    usable = [each for each in container.streams.audio if each.codec_context and each.codec_context.name in allowed]
    if not usable:
        context = container.streams.audio[0].codec_context
        name = context.codec.canonical_name if context else "unknown"
        raise MediaNotRecognised(
            f"The recording's audio codec ({name}) is not supported. Convert it to MP3, AAC or FLAC."
        )
    chosen = usable[0]
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all
    chosen.codec_context.thread_count = 1
    return chosen


def _media_info(container: InputContainer, stream: AudioStream) -> MediaInfo:
    context = stream.codec_context
    declared = None
    if stream.duration is not None and stream.time_base is not None:
        declared = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        declared = container.duration / av.time_base
    if declared is not None and not (math.isfinite(declared) and declared > 0):
        declared = None
    return MediaInfo(
        container=container.format.name,
        codec=context.codec.canonical_name,
        sample_rate_hertz=context.sample_rate or 0,
        channels=context.channels,
        declared_duration=declared,
    )


def _stated_part(head: bytes, size_bytes: int) -> float:
    """Return how many times its real size a WAV file claims to have: FFmpeg reports the duration of what is there.

    1 for anything else. Bytes 4 to 8 of a RIFF file hold its size without those first eight.
    """
    stated_bytes = int.from_bytes(head[4:8], "little") + 8
    is_cut_wav = head.startswith(b"RIFF") and head[8:12] == b"WAVE" and size_bytes < stated_bytes < _PIPED_WAV_BYTES
    return stated_bytes / size_bytes if is_cut_wav else 1.0


def _has_xing_frame(head: bytes) -> bool:
    """Whether an MP3's first frame holds the number of frames that follow (the Xing and LAME tag)."""
    start = 0
    if head.startswith(b"ID3") and len(head) >= 10:
        # id3.org, ID3v2.4.0 section 3.1: four times seven bits, without the ten bytes of the header.
        start = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    first_frame = head[start : start + 1500]
    return b"Xing" in first_frame or b"Info" in first_frame


def _fail_to_open(error: Exception, head: bytes) -> NoReturn:
    if isinstance(error, MemoryError):
        raise error
    media_format = sniff(head[:SNIFF_BYTES])
    if media_format is None:
        raise MediaNotRecognised(
            "This is not a recording in a supported format. Upload MP3, MP4, WAV, FLAC, OGG, AMR, WebM or M4A."
        ) from error
    raise MediaDamaged(
        f"This begins like a recording in the format {media_format.value}, but it is damaged or incomplete. "
        "Upload an undamaged copy."
    ) from error


def _refuse_to_open(*_: object) -> NoReturn:
    """Open nothing that a recording names."""
    raise PermissionError("a recording may not open anything")
