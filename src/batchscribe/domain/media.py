"""Media formats, how they are told from their first bytes, and what a probe finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from batchscribe.errors import UnsupportedMediaFormat

#: How many leading bytes :func:`sniff` wants.
SNIFF_BYTES = 64


class MediaFormat(Enum):
    """The media formats of the contract, in the contract's order."""

    MP3 = "mp3"
    MP4 = "mp4"
    WAV = "wav"
    FLAC = "flac"
    OGG = "ogg"
    AMR = "amr"
    WEBM = "webm"
    M4A = "m4a"


#: Content types served with the recording, by format.
CONTENT_TYPES: dict[MediaFormat, str] = {
    MediaFormat.MP3: "audio/mpeg",
    MediaFormat.MP4: "video/mp4",
    MediaFormat.WAV: "audio/wav",
    MediaFormat.FLAC: "audio/flac",
    MediaFormat.OGG: "audio/ogg",
    MediaFormat.AMR: "audio/amr",
    MediaFormat.WEBM: "video/webm",
    MediaFormat.M4A: "audio/mp4",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """What the decoder found in a recording's headers."""

    #: FFmpeg's name of the container, for example ``mov,mp4,m4a,3gp,3g2,mj2``.
    container: str
    #: FFmpeg's name of the audio codec, for example ``aac``.
    codec: str
    #: Of the recording itself, before resampling.
    sample_rate_hertz: int
    channels: int
    #: Seconds by the header; None where the header says nothing. Never to be relied on.
    declared_duration: float | None


def format_by_name(file_name: str) -> MediaFormat | None:
    """Return the format that a file name's extension stands for, or None."""
    extension = extension_of(file_name).lower()
    return next((each for each in MediaFormat if each.value == extension), None)


def extension_of(file_name: str) -> str:
    """Return what stands after the last dot of a file name as it was sent, or the whole name where there is no dot."""
    name = PurePosixPath(file_name.replace("\\", "/")).name
    return name.rpartition(".")[2] if "." in name else name


def sniff(head: bytes) -> MediaFormat | None:
    """Tell the format from a recording's first :data:`SNIFF_BYTES` bytes, or return None.

    Sources: RFC 3533 (Ogg), RFC 9559 (Matroska and WebM), RFC 9639 (FLAC), RFC 4867 (AMR), ISO/IEC 14496-12 (MP4),
    ISO/IEC 11172-3 and id3.org (MP3), the RIFF and RF64 specifications (WAV).
    """
    simple = {
        b"OggS": MediaFormat.OGG,
        b"fLaC": MediaFormat.FLAC,
        b"#!AMR": MediaFormat.AMR,
        b"\x1aE\xdf\xa3": MediaFormat.WEBM,
        b"ID3": MediaFormat.MP3,
    }
    for magic, media_format in simple.items():
        if head.startswith(magic):
            return media_format
    if head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return MediaFormat.WAV
    if head[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}:
        return MediaFormat.M4A if head[4:11] in {b"ftypM4A", b"ftypM4B", b"ftypM4P"} else MediaFormat.MP4
    if _is_mpeg_audio_header(head):
        return MediaFormat.MP3
    return None


def _is_mpeg_audio_header(head: bytes) -> bool:
    """Whether four bytes are an MPEG audio frame header of layer I to III, or an ADTS one (AAC named ``.mp3``)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    # The byte order mark of UTF-16 text would be MPEG-1 layer I with a checksum, which no recording uses.
    if head[1] == 0xFE:
        return False
    is_adts = head[1] & 0xF6 == 0xF0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, sample_rate = head[2] >> 4, head[2] >> 2 & 3
    return is_adts or (version != 1 and layer != 0 and bit_rate != 0xF and sample_rate != 3)


def choose_format(file_name: str, head: bytes) -> MediaFormat | None:
    """Return the format an upload is taken as, or None where neither its name nor its bytes are a supported one.

    The bytes win over the name, but MP4 and M4A are one container: there the name says which. A supported name over
    unknown bytes is taken too: whether it can be read is for the decoder to find, and then the job says why.
    """
    named, sniffed = format_by_name(file_name), sniff(head)
    same_container = {MediaFormat.MP4, MediaFormat.M4A}
    if named in same_container and sniffed in same_container:
        return named
    return sniffed or named


def checked_format(file_name: str, head: bytes) -> MediaFormat:
    """Return a recording's format by its name and its first bytes. Raises UnsupportedMediaFormat."""
    media_format = choose_format(file_name, head)
    if media_format is None:
        supported = ", ".join(each.value for each in MediaFormat)
        raise UnsupportedMediaFormat(
            f"Unsupported file format: {extension_of(file_name)[:100]}. Supported formats: {supported}"
        )
    return media_format
