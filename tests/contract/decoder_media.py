"""Makes recordings of every format, honest and hostile, without a file from outside."""

from __future__ import annotations

import io
import math
import struct
import wave
import zlib
from array import array
from fractions import Fraction

import av

RATE = 16_000


def tone(seconds: float, *, rate: int = RATE, hertz: float = 440.0) -> bytes:
    """Return signed 16-bit samples of one channel, at about a quarter of full scale."""
    step = 2 * math.pi * hertz / rate
    return array("h", (round(8000 * math.sin(step * index)) for index in range(round(seconds * rate)))).tobytes()


def wav(pcm: bytes, *, rate: int = RATE, channels: int = 1) -> bytes:
    """Return a WAV file of interleaved 16-bit samples."""
    target = io.BytesIO()
    with wave.open(target, "wb") as recording:
        recording.setparams((channels, 2, rate, 0, "NONE", ""))
        recording.writeframes(pcm)
    return target.getvalue()


def encoded(
    container: str,
    codec: str,
    *,
    seconds: float = 2.0,
    rate: int = RATE,
    video: str | None = None,
    sound_starts_at: float = 0.0,
) -> bytes:
    """Return a tone in any container and codec, with moving pictures beside it on request."""
    target = io.BytesIO()
    with av.open(target, "w", format=container) as output:
        if video:
            pictures = output.add_stream(video, rate=10)
            pictures.width = pictures.height = 64
            pictures.pix_fmt = "yuv420p"
        sound = output.add_stream(codec, rate=rate, layout="mono") if codec else None
        if video:
            for index in range(round((seconds + sound_starts_at) * 10)):
                picture = av.VideoFrame(64, 64, "yuv420p")
                picture.pts, picture.time_base = index, Fraction(1, 10)
                output.mux(pictures.encode(picture))
            output.mux(pictures.encode(None))
        if sound:
            pcm = tone(seconds, rate=rate)
            frame = av.AudioFrame("s16", "mono", len(pcm) // 2)
            frame.planes[0].update(pcm.ljust(frame.planes[0].buffer_size, b"\0"))
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = round(sound_starts_at * rate)
            output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return target.getvalue()


def flac_bomb(frames: int = 4000) -> bytes:
    """Return a FLAC of constant frames: 15 bytes for each 65,535 samples, and no duration in its header (RFC 9639)."""
    block = 65_535
    rate_channels_bits_total = RATE << 44 | 0 << 41 | 15 << 36 | 0
    stream_info = struct.pack(">HH6xQ16x", block, block, rate_channels_bits_total)
    parts = [b"fLaC", b"\x80\x00\x00\x22", stream_info]
    for number in range(frames):
        header = b"\xff\xf8\x70\x08" + _coded_number(number) + struct.pack(">H", block - 1)
        frame = header + bytes([_crc(header, 0x07, 8)]) + b"\x00" + struct.pack(">h", 100)
        parts += [frame, struct.pack(">H", _crc(frame, 0x8005, 16))]
    return b"".join(parts)


def mov_bomb(chunks: int = 60_000) -> bytes:
    """Return a MOV whose table of chunks names one chunk of 64 KB again and again (ISO/IEC 14496-12)."""
    samples_per_chunk = 32_768
    total = chunks * samples_per_chunk
    file_type = _box("ftyp", b"qt  \0\0\0\0qt  ")
    data = _box("mdat", tone(samples_per_chunk / RATE))
    entry = struct.pack(">6xH8xHHHHI", 1, 1, 16, 0, 0, RATE << 16)
    tables = b"".join(
        (
            _box("stsd", struct.pack(">II", 0, 1) + _box("sowt", entry)),
            _box("stts", struct.pack(">IIII", 0, 1, total, 1)),
            _box("stsc", struct.pack(">IIIII", 0, 1, 1, samples_per_chunk, 1)),
            _box("stsz", struct.pack(">III", 0, 2, total)),
            _box("stco", struct.pack(">II", 0, chunks) + struct.pack(">I", len(file_type) + 8) * chunks),
        )
    )
    handler = _box("hdlr", struct.pack(">I4s4s13x", 0, b"mhlr", b"soun"))
    media_header = _box("mdhd", struct.pack(">IIIIIHH", 0, 0, 0, RATE, total, 0, 0))
    media = _box("mdia", media_header + handler + _box("minf", _box("stbl", tables)))
    track = _box("trak", _box("tkhd", struct.pack(">IIIII64x", 1, 0, 0, 1, 0)) + media)
    movie = _box("moov", _box("mvhd", struct.pack(">IIIII80x", 0, 0, 0, RATE, total)) + track)
    return file_type + data + movie


def mp3_with_huge_cover(side: int = 8000) -> bytes:
    """Return an MP3 whose cover is a small PNG of ``side`` times ``side`` black pixels (id3.org, APIC)."""
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + 3 * side)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    picture = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    body = b"\0image/png\0\x03\0" + picture
    frame = b"APIC" + struct.pack(">IH", len(body), 0) + body
    size = len(frame)
    seven_bits = bytes((size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127))
    return b"ID3\x03\0\0" + seven_bits + frame + encoded("mp3", "libmp3lame")


def _box(name: str, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name.encode() + content


def _coded_number(number: int) -> bytes:
    """Write a FLAC frame number, which is coded as UTF-8 codes a character."""
    return chr(number).encode("utf-8", "surrogatepass")


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    top, mask = 1 << bits - 1, (1 << bits) - 1
    remainder = 0
    for byte in data:
        remainder ^= byte << bits - 8
        for _ in range(8):
            remainder = (remainder << 1 ^ polynomial if remainder & top else remainder << 1) & mask
    return remainder
