"""Media formats, told by first bytes and by names."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchscribe.domain.media import (
    CONTENT_TYPES,
    SNIFF_BYTES,
    MediaFormat,
    choose_format,
    extension_of,
    format_by_name,
    sniff,
)

CLIPS = Path(__file__).parents[1] / "media"

FIRST_BYTES = [
    (b"OggS\x00\x02", MediaFormat.OGG),
    (b"fLaC\x00\x00\x00\x22", MediaFormat.FLAC),
    (b"#!AMR\n\x3c", MediaFormat.AMR),
    (b"#!AMR-WB\n", MediaFormat.AMR),
    (b"\x1aE\xdf\xa3\x9fB\x86\x81", MediaFormat.WEBM),
    (b"RIFF\xff\xff\xff\xffWAVEfmt ", MediaFormat.WAV),
    (b"RF64\xff\xff\xff\xffWAVEds64", MediaFormat.WAV),
    (b"BW64\xff\xff\xff\xffWAVEds64", MediaFormat.WAV),
    (b"\x00\x00\x00\x20ftypisom\x00\x00", MediaFormat.MP4),
    (b"\x00\x00\x00\x20ftypM4A \x00\x00", MediaFormat.M4A),
    (b"\x00\x00\x00\x20ftypM4B \x00\x00", MediaFormat.M4A),
    (b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat", MediaFormat.MP4),
    (b"\x00\x00\x10\x00mdatM4A ", MediaFormat.MP4),
    (b"ID3\x04\x00\x00", MediaFormat.MP3),
    (b"\xff\xfb\x90\x64", MediaFormat.MP3),
    (b"\xff\xf3\x48\xc4", MediaFormat.MP3),
    (b"\xff\xe3\x18\xc4", MediaFormat.MP3),
    (b"\xff\xfd\x90\x64", MediaFormat.MP3),
    (b"\xff\xf1\x50\x80", MediaFormat.MP3),
]

NOT_MEDIA = [
    b"",
    b"\x00",
    b"\xff",
    b"\xff\xfb",
    b"\xff\xfeh\x00e\x00l\x00l\x00o\x00",
    b"\xff\xd8\xff\xe0\x00\x10JFIF",
    b"\xff\xff\xff\xff",
    b"\xff\xfb\xf0\x64",
    b"\xff\xfb\x9c\x64",
    b"\xff\xeb\x90\x64",
    b"RIFF\x24\x00\x00\x00AVI LIST",
    b"PK\x03\x04",
    b"\x7fELF\x02\x01\x01",
    b"<!DOCTYPE html>",
    b"#EXTM3U\n",
    b"just some words",
]


@pytest.mark.parametrize(("head", "media_format"), FIRST_BYTES)
def test_a_format_is_told_by_its_first_bytes(head: bytes, media_format: MediaFormat) -> None:
    """Each format of the contract has marks of its own, whatever follows them."""
    assert sniff(head) is media_format
    assert sniff(head + bytes(SNIFF_BYTES)) is media_format


@pytest.mark.parametrize("head", NOT_MEDIA)
def test_other_bytes_are_no_media(head: bytes) -> None:
    """Text, pictures, archives and programs are not taken for recordings."""
    assert sniff(head) is None


def test_real_recordings_are_told_by_their_first_bytes() -> None:
    """The clips beside the tests are FLAC."""
    clips = list(CLIPS.glob("*.flac"))
    assert clips
    for clip in clips:
        with clip.open("rb") as file:
            assert sniff(file.read(SNIFF_BYTES)) is MediaFormat.FLAC


@pytest.mark.parametrize(
    ("file_name", "extension"),
    [
        ("talk.mp3", "mp3"),
        ("talk.MP3", "MP3"),
        ("a.b.wav", "wav"),
        ("talk", "talk"),
        ("talk.", ""),
        (".ogg", "ogg"),
        ("C:\\Users\\me\\talk.m4a", "m4a"),
        ("folder.mp3/talk", "talk"),
        ("", ""),
    ],
)
def test_the_extension_is_what_stands_after_the_last_dot_of_the_last_name(file_name: str, extension: str) -> None:
    """Folders that a browser sends along do not count."""
    assert extension_of(file_name) == extension


@pytest.mark.parametrize("media_format", MediaFormat)
def test_a_name_stands_for_its_format_in_any_case(media_format: MediaFormat) -> None:
    """An extension is read whatever its case."""
    assert format_by_name(f"talk.{media_format.value}") is media_format
    assert format_by_name(f"TALK.{media_format.value.upper()}") is media_format


def test_an_unknown_name_stands_for_no_format() -> None:
    """Only the contract's formats have names."""
    assert format_by_name("talk.txt") is None
    assert format_by_name("") is None


def test_every_format_has_a_content_type() -> None:
    """A recording can be served whatever its format."""
    assert set(CONTENT_TYPES) == set(MediaFormat)


@pytest.mark.parametrize(
    ("file_name", "head", "chosen"),
    [
        ("talk.mp3", b"fLaC", MediaFormat.FLAC),
        ("talk.txt", b"OggS", MediaFormat.OGG),
        ("talk", b"OggS", MediaFormat.OGG),
        ("talk.mp4", b"\x00\x00\x00\x20ftypM4A ", MediaFormat.MP4),
        ("talk.m4a", b"\x00\x00\x00\x20ftypisom", MediaFormat.M4A),
        ("talk.mp3", b"\x00\x00\x00\x20ftypM4A ", MediaFormat.M4A),
        ("talk.mp3", b"\x00\x00\x00\x00\x00\x00", MediaFormat.MP3),
        ("talk.wav", b"", MediaFormat.WAV),
        ("talk.txt", b"hello", None),
        ("talk", b"", None),
    ],
)
def test_bytes_win_over_the_name_except_between_mp4_and_m4a(
    file_name: str, head: bytes, chosen: MediaFormat | None
) -> None:
    """What a recording is outweighs what it is called; a supported name over unknown bytes is for the decoder."""
    assert choose_format(file_name, head) is chosen
