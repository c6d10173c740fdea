"""Frames of any sort to working audio: 16 kHz, signed 16-bit, one channel or two that stay apart."""

from __future__ import annotations

from collections.abc import Iterator
from operator import mul

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ

#: One second a block: few messages, little memory.
_BLOCK_SAMPLES = SAMPLE_RATE_HERTZ
#: Every how many samples the channels are compared.
_STRIDE = 16
#: Mean square of a sample (of 32768 squared) below which a block is silence and proves nothing.
_SILENCE_POWER = 16
#: The mix of two unlike channels has about half of one's power, of two alike all of it, of opposites none.
_CANCELS_BELOW, _AGREES_ABOVE = 0.02, 0.2


class Mixdown:
    """Resamples and mixes frames of one recording, in order.

    Two channels are averaged, unless they cancel each other out (one recorded with reversed polarity): then the first
    alone is taken. More channels are first folded to two by FFmpeg's own matrix, which reads their places. With two
    ``channels`` the blocks hold both, interleaved and as they are; a frame of one channel is on both.
    """

    def __init__(self, *, channels: int = 1) -> None:
        self._channels = channels
        self._resampler = AudioResampler()
        self._source: tuple[str, str, int] | None = None
        self._is_stereo = False
        self._to_mono = AudioResampler("s16", "mono", SAMPLE_RATE_HERTZ)
        self._cancels = False

    def add(self, frame: AudioFrame) -> Iterator[bytes]:
        """Take in one decoded frame and yield the blocks of PCM that are ready.

        A frame may differ from the one before in format, layout and rate. Raises ``av.error.FFmpegError`` where FFmpeg
        cannot convert it.
        """
        source = (frame.format.name, frame.layout.name, frame.sample_rate)
        if source != self._source:
            yield from self.flush()
            self._source = source
            self._is_stereo = frame.layout.nb_channels > 1 or self._channels > 1
            layout = "stereo" if self._is_stereo else "mono"
            self._resampler = AudioResampler("s16", layout, SAMPLE_RATE_HERTZ, frame_size=_BLOCK_SAMPLES)
        # Timestamps are dealt with by the caller; here they would only make FFmpeg warn.
        frame.pts = None
        for block in self._resampler.resample(frame):
            yield from self._mono(block)

    def flush(self) -> Iterator[bytes]:
        """Yield what is still held back; the next frame begins afresh."""
        if self._source is not None:
            self._source = None
            for block in self._resampler.resample(None):
                yield from self._mono(block)

    def _mono(self, block: AudioFrame) -> Iterator[bytes]:
        if not self._is_stereo:
            yield _pcm(block, channels=1)
            return
        if self._channels > 1:
            yield _pcm(block, channels=2)
            return
        samples = memoryview(_pcm(block, channels=2)).cast("h")
        self._compare(samples)
        if self._cancels:
            yield samples[0::2].tobytes()
            return
        block.pts = None
        for mixed in self._to_mono.resample(block):
            yield _pcm(mixed, channels=1)

    def _compare(self, samples: memoryview[int]) -> None:
        left, right = samples[0 :: 2 * _STRIDE].tolist(), samples[1 :: 2 * _STRIDE].tolist()
        left_power, right_power = sum(map(mul, left, left)), sum(map(mul, right, right))
        loudest = max(left_power, right_power)
        if loudest <= _SILENCE_POWER * len(left):
            return
        mixed_power = (left_power + right_power + 2 * sum(map(mul, left, right))) / 4
        if mixed_power < _CANCELS_BELOW * loudest:
            self._cancels = True
        elif mixed_power > _AGREES_ABOVE * loudest:
            self._cancels = False


def silence(seconds: float, *, channels: int = 1) -> Iterator[bytes]:
    """Yield this much silence in blocks."""
    samples = round(seconds * SAMPLE_RATE_HERTZ)
    while samples > 0:
        yield bytes(channels * BYTES_PER_SAMPLE * min(samples, _BLOCK_SAMPLES))
        samples -= _BLOCK_SAMPLES


def warm_up() -> None:
    """Run every conversion once, so that PyAV has imported and FFmpeg has set up all that it will need."""
    for layout in ("mono", "stereo", "5.1"):
        frame = AudioFrame(format="s16", layout=layout, samples=1000)
        frame.sample_rate = 44_100
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        mixdown = Mixdown()
        for _ in (*mixdown.add(frame), *mixdown.flush()):
            pass


def _pcm(block: AudioFrame, *, channels: int) -> bytes:
    # A plane is padded beyond its samples.
    return bytes(block.planes[0])[: block.samples * channels * BYTES_PER_SAMPLE]
