"""Recordings made to harm: files that name other files and hosts, and small ones that grow."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from decoder_media import encoded, flac_bomb, mov_bomb, mp3_with_huge_cover, tone, wav

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.errors import MediaNotRecognised, MediaTooLong, RecordingFailed


@pytest.fixture(scope="module")
def decoder() -> Iterator[CagedDecoder]:
    """Return a decoder that accepts ten minutes and a quarter of the usual memory."""
    caged = CagedDecoder(max_seconds=600, memory_bytes=1 << 28)
    yield caged
    caged.close()


NAMES = ("x.m3u8", "x.mp3", "x.mp4", "x.sdp", "x.ffconcat", "x.wav", "a%03d.png")

SCRIPTS = {
    "HLS playlist of a file": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{canary}\n#EXT-X-ENDLIST\n",
    "HLS playlist of a neighbour": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\ncanary.wav\n#EXT-X-ENDLIST\n",
    "HLS playlist of a host": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{host}/a.ts\n#EXT-X-ENDLIST\n",
    "HLS playlist of itself": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{own}\n",
    "concat script of a neighbour": "ffconcat version 1.0\nfile canary.wav\n",
    "concat script of a file": "ffconcat version 1.0\nfile '{canary}'\n",
    "concat script of a host": "ffconcat version 1.0\nfile '{host}/a.wav'\n",
    "session description": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 45678 RTP/AVP 0\n",
    "DASH manifest": '<?xml version="1.0"?><MPD><BaseURL>{canary}</BaseURL></MPD>',
    "VobSub index": "# VobSub index file, v7\nid: en, index: 0\n",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_recording_that_names_others_reads_none_of_them_under_any_name(
    script: str, decoder: CagedDecoder, tmp_path: Path
) -> None:
    """No neighbour's sound comes out, no host is asked, and it is over at once."""
    canary = tmp_path / "canary.wav"
    canary.write_bytes(wav(tone(3)))
    with socket.create_server(("127.0.0.1", 0)) as host:
        host.setblocking(False)
        address = f"http://127.0.0.1:{host.getsockname()[1]}"
        for name in NAMES:
            path = tmp_path / name
            path.write_text(script.format(canary=canary, host=address, own=path))
            with path.open("rb") as media, pytest.raises(MediaNotRecognised), decoder.open(media) as audio:
                list(audio.blocks())
        with pytest.raises(BlockingIOError):
            host.accept()


@pytest.mark.parametrize(
    "content",
    [pytest.param(flac_bomb(), id="58 KB of FLAC, 4.5 hours"), pytest.param(mov_bomb(), id="306 KB of MOV, 34 hours")],
)
def test_a_small_file_with_hours_of_sound_is_stopped_at_the_limit(
    content: bytes, decoder: CagedDecoder, tmp_path: Path
) -> None:
    """The samples are counted before anything grows, so it ends in seconds with little read."""
    path = tmp_path / "bomb"
    path.write_bytes(content)
    received_bytes = 0
    started_at = time.monotonic()
    with path.open("rb") as media, pytest.raises(MediaTooLong), decoder.open(media) as audio:  # noqa: PT012
        for block in audio.blocks():
            received_bytes += len(block)
    assert received_bytes <= 600 * 32_000
    assert time.monotonic() - started_at < 30


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the address space")
def test_a_recording_that_needs_more_memory_than_allowed_ends_in_a_limit_never_in_less_sound(tmp_path: Path) -> None:
    """With next to no memory left, what comes out is an error or every sample."""
    for name, content in (("a.wav", wav(tone(10), channels=2)), ("b.mp4", encoded("mp4", "aac", rate=48_000))):
        path = tmp_path / name
        path.write_bytes(content)
        for megabytes in (40, 100, 150, 154):
            decoder = CagedDecoder(memory_bytes=megabytes << 20)
            try:
                outcome = outcome_of(path, decoder)
            finally:
                decoder.close()
            assert outcome in {"decoder_limit", "5.0", "2.0"}, (name, megabytes)


def test_a_cover_picture_is_never_unpacked(decoder: CagedDecoder, tmp_path: Path) -> None:
    """192 MB of pixels would not fit beside the decoder in 256 MiB; the sound beside them comes out."""
    path = tmp_path / "song.mp3"
    path.write_bytes(mp3_with_huge_cover())
    with path.open("rb") as media, decoder.open(media) as audio:
        assert sum(map(len, audio.blocks())) == pytest.approx(2 * 32_000, rel=0.05)


def test_headers_with_impossible_numbers_end_in_a_sentence(decoder: CagedDecoder, tmp_path: Path) -> None:
    """No number of channels, rate or sample width in a WAV header crashes or stalls the decoder."""
    good = wav(tone(0.1))
    path = tmp_path / "odd.wav"
    for offset, length in ((22, 2), (24, 4), (28, 4), (32, 2), (34, 2), (16, 4), (20, 2)):
        for value in (0, 1, 2 ** (8 * length - 1), 2 ** (8 * length) - 1):
            path.write_bytes(good[:offset] + value.to_bytes(length, "little") + good[offset + length :])
            assert outcome_of(path, decoder) not in {"decoder_crashed", "decoder_limit"}, (offset, value)


def outcome_of(path: Path, decoder: CagedDecoder) -> str:
    """Return the error's code, or the seconds of sound to a tenth."""
    try:
        with path.open("rb") as media, decoder.open(media) as audio:
            received_bytes = sum(map(len, audio.blocks()))
    except RecordingFailed as error:
        return error.code
    assert received_bytes <= 600 * 32_000
    return f"{received_bytes / 32_000:.1f}"
