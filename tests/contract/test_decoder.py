"""What every decoder promises: the formats of the contract become working audio, and the rest a fitting error."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO

import pytest
from decoder_media import RATE, encoded, tone, wav

from batchscribe.decoding.cage import CagedDecoder
from batchscribe.domain.media import MediaInfo
from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ, Decoder
from batchscribe.errors import (
    MediaDamaged,
    MediaEmpty,
    MediaNotRecognised,
    MediaTooLong,
    NoAudioTrack,
)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    """Return a decoder that accepts a minute."""
    caged = CagedDecoder(max_seconds=60)
    yield caged
    caged.close()


@contextmanager
def file_of(content: bytes) -> Iterator[BinaryIO]:
    """Open content as a recording of a store would be."""
    with tempfile.TemporaryFile() as media:
        media.write(content)
        media.seek(0)
        yield media


def decoded(decoder: Decoder, content: bytes) -> tuple[MediaInfo, bytes, list[str]]:
    """Decode it whole."""
    with file_of(content) as media, decoder.open(media) as audio:
        pcm = b"".join(audio.blocks())
        return audio.info, pcm, audio.warnings


def seconds_of(pcm: bytes) -> float:
    """Return how long working audio lasts."""
    return len(pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE_HERTZ


def loudness(pcm: bytes) -> float:
    """Return the root of the mean square of the samples."""
    samples = array("h", pcm)
    return float((sum(sample * sample for sample in samples) / len(samples)) ** 0.5)


@pytest.mark.parametrize(
    ("container", "codec", "rate", "name"),
    [
        pytest.param("mp3", "libmp3lame", 44_100, "mp3", id="mp3"),
        pytest.param("mp4", "aac", 44_100, "aac", id="mp4"),
        pytest.param("wav", "pcm_s16le", 16_000, "pcm_s16le", id="wav"),
        pytest.param("wav", "pcm_mulaw", 8_000, "pcm_mulaw", id="wav of a telephone"),
        pytest.param("flac", "flac", 48_000, "flac", id="flac"),
        pytest.param("ogg", "libopus", 48_000, "opus", id="ogg"),
        pytest.param("amr", "libopencore_amrnb", 8_000, "amr_nb", id="amr"),
        pytest.param("webm", "libopus", 48_000, "opus", id="webm"),
        pytest.param("ipod", "aac", 48_000, "aac", id="m4a"),
        pytest.param("adts", "aac", 44_100, "aac", id="bare aac"),
    ],
)
def test_every_format_of_the_contract_becomes_working_audio(
    container: str, codec: str, rate: int, name: str, decoder: Decoder
) -> None:
    """A tone of two seconds comes back as two seconds about as loud, with what its headers say."""
    info, pcm, warnings = decoded(decoder, encoded(container, codec, rate=rate))
    assert (info.codec, info.sample_rate_hertz, info.channels) == (name, rate, 1)
    assert info.declared_duration == pytest.approx(2.0, abs=0.1)
    assert seconds_of(pcm) == pytest.approx(2.0, abs=0.1)
    assert loudness(pcm) == pytest.approx(8000 / 2**0.5, rel=0.3)
    assert warnings == []


@pytest.mark.parametrize(
    ("container", "codec"), [pytest.param("mp4", "aac", id="mp4"), pytest.param("matroska", "libopus", id="matroska")]
)
def test_the_sound_of_a_video_is_taken_and_keeps_its_place(container: str, codec: str, decoder: Decoder) -> None:
    """Sound that begins three seconds after the pictures has its words three seconds in, as in a player."""
    info, pcm, warnings = decoded(decoder, encoded(container, codec, rate=48_000, video="mpeg4", sound_starts_at=3.0))
    assert container.removeprefix("mp4") in info.container
    assert seconds_of(pcm) == pytest.approx(5.0, abs=0.1)
    begin = 29 * SAMPLE_RATE_HERTZ // 10 * BYTES_PER_SAMPLE
    assert loudness(pcm[:begin]) == 0
    assert loudness(pcm[begin:]) > 4000
    assert warnings == []


def test_blocks_are_whole_samples_of_at_most_a_mebibyte(decoder: Decoder) -> None:
    """A minute arrives in several blocks, none of them empty, odd or large."""
    with file_of(wav(tone(59))) as media, decoder.open(media) as audio:
        lengths = [len(block) for block in audio.blocks()]
    assert sum(lengths) == 59 * RATE * BYTES_PER_SAMPLE
    assert len(lengths) > 1
    assert all(0 < length <= 1 << 20 and length % BYTES_PER_SAMPLE == 0 for length in lengths)


def test_working_audio_at_its_own_rate_is_not_changed(decoder: Decoder) -> None:
    """16 kHz mono comes back sample for sample."""
    samples = tone(1.5)
    assert decoded(decoder, wav(samples))[1] == samples


def test_two_channels_are_mixed_and_never_cancel_each_other(decoder: Decoder) -> None:
    """A tone is heard when it is on both channels, on one, and on both with reversed polarity."""
    plain = array("h", tone(1.0))
    reversed_polarity, silent = array("h", (-sample for sample in plain)), array("h", bytes(len(plain) * 2))
    for left, right, expected in ((plain, plain, 1.0), (plain, silent, 0.5), (plain, reversed_polarity, 1.0)):
        both = array("h", bytes(len(plain) * 4))
        both[0::2], both[1::2] = left, right
        _, pcm, _ = decoded(decoder, wav(both.tobytes(), channels=2))
        assert seconds_of(pcm) == 1.0
        assert loudness(pcm) == pytest.approx(expected * loudness(plain.tobytes()), rel=0.05)


def interleaved(left: bytes, right: bytes) -> bytes:
    """Return two channels as a WAV file holds them."""
    samples = array("h", bytes(2 * len(left)))
    samples[0::2], samples[1::2] = array("h", left), array("h", right)
    return samples.tobytes()


def test_channels_apart_come_as_they_are(decoder: Decoder) -> None:
    """Interleaved, at their own rate to the sample; from another rate as long, and each still by itself."""
    left, right = tone(2.0), bytes(len(tone(2.0)))
    with file_of(wav(interleaved(left, right), channels=2)) as media, decoder.open(media, channels_apart=True) as audio:
        pcm = b"".join(audio.blocks())
        assert audio.channels == 2
    assert pcm == interleaved(left, right)
    left, right = tone(2.0, rate=8000, hertz=300.0), bytes(len(tone(2.0, rate=8000)))
    phone = wav(interleaved(left, right), channels=2, rate=8000)
    with file_of(phone) as media, decoder.open(media, channels_apart=True) as audio:
        samples = array("h", b"".join(audio.blocks()))
    assert len(samples) / 2 / SAMPLE_RATE_HERTZ == pytest.approx(2.0, abs=0.05)
    assert loudness(samples[0::2].tobytes()) > 1000
    assert max(map(abs, samples[1::2])) < 10


def test_one_channel_apart_is_one(decoder: Decoder) -> None:
    """There is nothing to keep apart."""
    with file_of(wav(tone(1.0))) as media, decoder.open(media, channels_apart=True) as audio:
        assert (audio.channels, b"".join(audio.blocks())) == (1, tone(1.0))


def test_more_channels_than_two_are_not_kept_apart(decoder: Decoder) -> None:
    """The sentence says what to do; mixed they are taken."""
    content = wav(tone(0.5) * 4, channels=4)
    with (
        file_of(content) as media,
        pytest.raises(MediaNotRecognised, match="4 channels; two at most"),
        decoder.open(media, channels_apart=True) as audio,
    ):
        list(audio.blocks())
    assert decoded(decoder, content)[1]


def test_the_offset_of_the_media_is_neither_used_nor_moved(decoder: Decoder) -> None:
    """A recording is decoded from its start wherever its file stands, and stays there."""
    with file_of(wav(tone(0.5))) as media:
        media.seek(7)
        with decoder.open(media) as audio:
            assert seconds_of(b"".join(audio.blocks())) == 0.5
        assert media.tell() == 7


def test_many_threads_decode_at_once_and_each_gets_its_own(decoder: Decoder) -> None:
    """Sixteen recordings over eight threads come back unmixed."""

    def decode_one(index: int) -> bool:
        samples = tone(1.0, hertz=200 + 50 * index)
        return decoded(decoder, wav(samples))[1] == samples

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(decode_one, range(16)))


def test_one_damaged_place_costs_itself_and_a_warning(decoder: Decoder) -> None:
    """An MP3 with 400 bytes zeroed in its middle keeps its length, within a few frames."""
    content = bytearray(encoded("mp3", "libmp3lame", seconds=8.0, rate=44_100))
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    _, pcm, warnings = decoded(decoder, bytes(content))
    assert seconds_of(pcm) > 7.5
    assert len(warnings) == 1
    assert "damaged" in warnings[0]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(wav(tone(10)), id="wav"),
        pytest.param(encoded("flac", "flac", seconds=10), id="flac"),
        pytest.param(encoded("mp3", "libmp3lame", seconds=10), id="mp3"),
    ],
)
def test_a_recording_cut_short_is_decoded_as_far_as_it_goes_with_a_warning(content: bytes, decoder: Decoder) -> None:
    """Half of a file gives about half of its sound, and says so."""
    _, pcm, warnings = decoded(decoder, content[: len(content) // 2])
    assert seconds_of(pcm) == pytest.approx(5.0, abs=1.0)
    assert [warning for warning in warnings if "cut short" in warning]


def test_a_wav_written_to_a_pipe_has_no_length_and_needs_no_warning(decoder: Decoder) -> None:
    """Sizes of 0xFFFFFFFF mean unknown."""
    content = bytearray(wav(tone(2)))
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    _, pcm, warnings = decoded(decoder, bytes(content))
    assert (seconds_of(pcm), warnings) == (2.0, [])


M4A = encoded("ipod", "aac", rate=44_100)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param(b"", MediaEmpty, id="no bytes"),
        pytest.param(wav(b""), MediaEmpty, id="a header without sound"),
        pytest.param(b"#!AMR\n", MediaEmpty, id="an AMR header alone"),
        pytest.param(b"\0", MediaNotRecognised, id="one byte"),
        pytest.param(b"Dear customer,\n" * 99, MediaNotRecognised, id="a letter"),
        pytest.param(b"PK\5\6" + bytes(18), MediaNotRecognised, id="an empty zip"),
        pytest.param(b"<!DOCTYPE html><title>404</title>", MediaNotRecognised, id="a web page"),
        pytest.param(encoded("wav", "g722"), MediaNotRecognised, id="a codec that is not allowed"),
        pytest.param(wav(bytes(64 * 3200), channels=32), MediaNotRecognised, id="32 channels in no known places"),
        pytest.param(encoded("aiff", "pcm_s16be"), MediaNotRecognised, id="a format that is not allowed"),
        pytest.param(M4A[: len(M4A) // 2], MediaDamaged, id="an M4A without its index"),
        pytest.param(encoded("flac", "flac")[:60], MediaDamaged, id="a FLAC header alone"),
        pytest.param(encoded("mp4", "", video="mpeg4"), NoAudioTrack, id="a silent film"),
        pytest.param(wav(tone(61)), MediaTooLong, id="too long by a second"),
        pytest.param(wav(bytes(RATE * 2 * 120)), MediaTooLong, id="too long by its header"),
    ],
)
def test_what_cannot_be_transcribed_ends_in_the_fitting_error(
    content: bytes, error: type[Exception], decoder: Decoder
) -> None:
    """Each has its class, and a sentence that a person can act on, without a path in it."""
    with pytest.raises(error) as caught:
        decoded(decoder, content)
    assert caught.type is error
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert len(sentence) > 30
    assert "/" not in sentence
