"""Untrusted bytes to PCM, by FFmpeg through PyAV: runs in the confined child, and nowhere else.

The lists below are the first wall. FFmpeg knows hundreds of formats, some of which name other files or hosts
(playlists, concat scripts, SDP), and none of those may be tried. What cannot be foreseen is left to ``sandbox.py``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import NoReturn, Protocol

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard

from batchscribe.decoding.messages import Kind, encode_info
from batchscribe.decoding.mixdown import Mixdown, silence
from batchscribe.domain.media import SNIFF_BYTES, MediaInfo, sniff
from batchscribe.errors import MediaDamaged, MediaEmpty, MediaNotRecognised, MediaTooLong, NoAudioTrack

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
#: A recording's stated sample rate must be possible; others make FFmpeg's filter tables grow without bound.
_LOWEST_RATE_HERTZ, _HIGHEST_RATE_HERTZ = 1_000, 768_000
#: Damaged packets: in a row, after which the rest is given up; and in all.
_MOST_DAMAGED_IN_A_ROW, _MOST_DAMAGED = 3_000, 20_000
#: Seconds by which a timestamp must be ahead of the samples before the hole is filled with silence.
_GAP_SECONDS = 0.25
#: A header that gives a duration is believed when it exceeds the limit by this factor ...
_FAR_OVER_BY_HEADER = 1.1
#: ... and where FFmpeg guesses it from the first packets' bit rate, by this one.
_FAR_OVER_BY_GUESS = 5.0
#: Containers without a duration of their own. An MP3 file may have one, in a Xing or Info frame.
_GUESSED_CONTAINERS = frozenset({"mp3", "aac", "amr", "amrnb", "amrwb"})
#: A WAV that states more bytes than this was written to a pipe and does not know its length.
_PIPED_WAV_BYTES = 0x7FFF_0000
#: The longest hole that is filled where no header says how long the recording is.
_LONGEST_BLIND_GAP_SECONDS = 600.0

_DAMAGED = "The recording is damaged and cannot be decoded. Export it again, or upload an undamaged copy."


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
        """Move, and return where to. Raises ValueError outside what a file can be."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size_bytes}[whence]
        if not 0 <= origin + offset < 1 << 62:
            raise ValueError("outside the recording")
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._position


def decode(
    media: Readable,
    *,
    max_seconds: float,
    emit: Callable[[Kind, bytes], None],
    on_duration: Callable[[float], None],
) -> None:
    """Decode the first audio track that can be: emits INFO, then PCM, then WARNINGs.

    ``on_duration`` is told the seconds that the recording may last. Raises RecordingFailed with the fitting class, and
    MemoryError.
    """
    size_bytes = media.seek(0, os.SEEK_END)
    media.seek(0)
    head = media.read(1 << 16)
    media.seek(0)
    try:
        container = av.open(media, "r", metadata_errors="ignore", io_open=_refuse_to_open, options=_OPTIONS)
    except FFmpegError as error:
        _fail_to_open(error, head)
    with container:
        stream = _audio_stream(container)
        is_guess = container.format.name in _GUESSED_CONTAINERS and not _has_xing_frame(head)
        info = _media_info(container, stream)
        emit(Kind.INFO, encode_info(info))
        declared = info.declared_duration
        far_over = max_seconds * (_FAR_OVER_BY_GUESS if is_guess else _FAR_OVER_BY_HEADER)
        if declared is not None and declared > far_over:
            raise _too_long(max_seconds)
        on_duration(max_seconds if declared is None or is_guess else min(declared, max_seconds))
        if declared is not None:
            declared = None if is_guess else declared * _stated_part(head, size_bytes)
        _Track(container, stream, declared=declared, max_seconds=max_seconds).run(emit)


class _Track:
    """The state of decoding one audio track."""

    def __init__(
        self, container: InputContainer, stream: AudioStream, *, declared: float | None, max_seconds: float
    ) -> None:
        self._container, self._stream = container, stream
        self._declared, self._max_seconds = declared, max_seconds
        #: What the timestamps count from: a video's sound may begin after its pictures.
        self._origin = (container.start_time or 0) / av.time_base
        #: Seconds of audio so far, at the recording's own rate, with holes filled.
        self._seconds = 0.0
        self._damaged = self._damaged_in_a_row = self._good = 0

    def run(self, emit: Callable[[Kind, bytes], None]) -> None:
        mixdown = Mixdown()
        for frame in self._frames():
            if not frame.samples:
                continue
            if not _LOWEST_RATE_HERTZ <= frame.sample_rate <= _HIGHEST_RATE_HERTZ:
                raise MediaDamaged(_DAMAGED)
            gap = self._gap_before(frame)
            self._seconds += gap + frame.samples / frame.sample_rate
            # Counted before anything grows: a small file may hold weeks of sound.
            if self._seconds > self._max_seconds:
                raise _too_long(self._max_seconds)
            if gap:
                for pcm in (*mixdown.flush(), *silence(gap)):
                    emit(Kind.PCM, pcm)
            for pcm in mixdown.add(frame):
                emit(Kind.PCM, pcm)
        for pcm in mixdown.flush():
            emit(Kind.PCM, pcm)
        self._conclude(emit)

    def _conclude(self, emit: Callable[[Kind, bytes], None]) -> None:
        if not self._seconds and not self._damaged:
            raise MediaEmpty("There is no sound in the recording. Check that it was recorded, and upload it again.")
        if not self._seconds or self._damaged > self._good:
            raise MediaDamaged(_DAMAGED)
        if self._damaged:
            places = "1 damaged place was" if self._damaged == 1 else f"{self._damaged} damaged places were"
            emit(Kind.WARNING, f"{places} skipped: words may be missing there.".encode())
        if self._declared is not None and self._declared - self._seconds > max(1.0, 0.02 * self._declared):
            sentence = (
                f"The recording ends after {self._seconds:.0f} of the {self._declared:.0f} seconds that its header "
                "states: it was cut short."
            )
            emit(Kind.WARNING, sentence.encode())

    def _frames(self) -> Iterator[AudioFrame]:
        """Yield frames packet by packet, so that damage costs its own packet and no more."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
                frames = packet.decode()
            except StopIteration:
                return
            except EOFError:
                continue
            except FFmpegError as error:
                if isinstance(error, MemoryError):
                    raise
                self._damaged += 1
                self._damaged_in_a_row += 1
                if self._damaged_in_a_row > _MOST_DAMAGED_IN_A_ROW or self._damaged > _MOST_DAMAGED:
                    return
                # A generator that raised is over; another takes up where the demuxer stands.
                packets = self._container.demux(self._stream)
                continue
            if frames:
                self._good += 1
                self._damaged_in_a_row = 0
            yield from frames

    def _gap_before(self, frame: AudioFrame) -> float:
        """Return the seconds of silence that belong before a frame, so that times stay those of a player.

        Holes come from damage, from a muted microphone in a conference, and from a sound track that begins late. Where
        the timestamps point backwards or beyond the declared end they are wrong, and counting starts anew.
        """
        if frame.pts is None or frame.time_base is None:
            return 0.0
        gap: float = frame.pts * float(frame.time_base) - self._origin - self._seconds
        if abs(gap) <= _GAP_SECONDS:
            return 0.0
        room = _LONGEST_BLIND_GAP_SECONDS if self._declared is None else self._declared - self._seconds
        if 0 < gap <= room:
            return gap
        self._origin += gap
        return 0.0


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


def _fail_to_open(error: FFmpegError, head: bytes) -> NoReturn:
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


def _too_long(max_seconds: float) -> MediaTooLong:
    hours = max_seconds / 3600
    limit = f"{hours:g} hours" if hours > 1 else f"{max_seconds:g} seconds"
    return MediaTooLong(f"The recording is longer than the limit of {limit}. Split it, and upload the pieces.")


def _refuse_to_open(*_: object) -> NoReturn:
    """Open nothing that a recording names."""
    raise PermissionError("a recording may not open anything")
