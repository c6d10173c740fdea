"""Untrusted bytes to PCM, by FFmpeg through PyAV: runs in the confined child, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import av
from av.audio.frame import AudioFrame
from av.error import ArgumentError, FFmpegError

from batchscribe.decoding.messages import Kind, channels_of, encode_info
from batchscribe.decoding.mixdown import Mixdown, silence
from batchscribe.decoding.opening import OpenedMedia, Readable, open_media
from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ
from batchscribe.errors import MediaDamaged, MediaEmpty, MediaNotRecognised, MediaTooLong

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
#: The longest hole that is filled where no header says how long the recording is.
_LONGEST_BLIND_GAP_SECONDS = 600.0
#: As AWS Transcribe has it.
_MOST_CHANNELS_APART = 2

_DAMAGED = "The recording is damaged and cannot be decoded. Export it again, or upload an undamaged copy."


def decode(
    media: Readable,
    *,
    max_seconds: float,
    emit: Callable[[Kind, bytes], None],
    on_duration: Callable[[float], None],
    channels_apart: bool = False,
) -> None:
    """Decode the first audio track that can be: emits INFO, then PCM, then WARNINGs.

    ``on_duration`` is told the seconds that the recording may last. ``channels_apart`` gives two channels interleaved
    instead of their mix; a recording of more is refused then. Raises RecordingFailed with the fitting class, and
    MemoryError.
    """
    opened = open_media(media)
    with opened.container:
        emit(Kind.INFO, encode_info(opened.info))
        declared, stated = opened.info.declared_duration, opened.stated_seconds
        far_over = max_seconds * (_FAR_OVER_BY_GUESS if stated is None else _FAR_OVER_BY_HEADER)
        if declared is not None and declared > far_over:
            raise _too_long(max_seconds)
        if channels_apart and opened.info.channels > _MOST_CHANNELS_APART:
            raise MediaNotRecognised(
                f"The recording has {opened.info.channels} channels; two at most can be transcribed apart. Send it "
                "without channel_identification, or split it."
            )
        on_duration(max_seconds if stated is None else min(stated, max_seconds))
        channels = channels_of(opened.info) if channels_apart else 1
        _Track(opened, max_seconds=max_seconds, channels=channels).run(emit)


class _Track:
    """The state of decoding one audio track."""

    def __init__(self, opened: OpenedMedia, *, max_seconds: float, channels: int) -> None:
        self._container, self._stream = opened.container, opened.stream
        self._stated_seconds, self._timeline_seconds = opened.stated_seconds, opened.timeline_seconds
        self._max_seconds, self._channels = max_seconds, channels
        #: What the timestamps count from: a video's sound may begin after its pictures.
        self._origin = (opened.container.start_time or 0) / av.time_base
        #: Seconds of audio so far, at the recording's own rate, with holes filled.
        self._seconds = 0.0
        self._damaged = self._damaged_in_a_row = self._good = 0

    def run(self, emit: Callable[[Kind, bytes], None]) -> None:
        emitted_bytes = 0
        for pcm in self._blocks():
            emit(Kind.PCM, pcm)
            emitted_bytes += len(pcm)
        emitted_seconds = emitted_bytes / self._channels / BYTES_PER_SAMPLE / SAMPLE_RATE_HERTZ
        if self._seconds - emitted_seconds > 0.1 + 0.01 * self._seconds:
            # FFmpeg's filters end quietly when they can get no memory.
            raise MemoryError
        self._conclude(emit)

    def _blocks(self) -> Iterator[bytes]:
        mixdown = Mixdown(channels=self._channels)
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
                yield from chain(mixdown.flush(), silence(gap, channels=self._channels))
            try:
                yield from mixdown.add(frame)
            except ArgumentError as error:
                channels = f"{frame.layout.nb_channels} channels"
                raise MediaNotRecognised(
                    f"The recording's {channels} cannot be mixed. Convert it to mono or stereo."
                ) from error
        yield from mixdown.flush()

    def _conclude(self, emit: Callable[[Kind, bytes], None]) -> None:
        if not self._seconds and not self._damaged and not self._stated_seconds:
            raise MediaEmpty("There is no sound in the recording. Check that it was recorded, and upload it again.")
        if not self._seconds or self._damaged > self._good:
            raise MediaDamaged(_DAMAGED)
        if self._damaged:
            places = "1 damaged place was" if self._damaged == 1 else f"{self._damaged} damaged places were"
            emit(Kind.WARNING, f"{places} skipped: words may be missing there.".encode())
        stated = self._stated_seconds or 0.0
        if stated - self._seconds > max(1.0, 0.02 * stated):
            lengths = f"{self._seconds:.0f} of the {stated:.0f} seconds"
            emit(Kind.WARNING, f"The recording ends after {lengths} that its header states: it was cut short.".encode())

    def _frames(self) -> Iterator[AudioFrame]:
        """Yield frames packet by packet, so that damage costs its own packet and no more."""
        packets = self._container.demux(self._stream)
        while self._damaged_in_a_row <= _MOST_DAMAGED_IN_A_ROW and self._damaged <= _MOST_DAMAGED:
            try:
                packet = next(packets, None)
            except (FFmpegError, OSError, ValueError) as error:
                self._count_damage(error)
                # A generator that raised is over; another takes up where the demuxer stands.
                packets = self._container.demux(self._stream)
                continue
            if packet is None:
                return
            try:
                frames = packet.decode()
            except EOFError:
                continue
            except (FFmpegError, OSError, ValueError) as error:
                self._count_damage(error)
                continue
            if frames:
                self._good += 1
                self._damaged_in_a_row = 0
            yield from frames

    def _count_damage(self, error: Exception) -> None:
        if isinstance(error, MemoryError):
            raise error
        self._damaged += 1
        self._damaged_in_a_row += 1

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
        whole = self._timeline_seconds
        room = _LONGEST_BLIND_GAP_SECONDS if whole is None else whole - self._seconds
        if 0 < gap <= room:
            return gap
        self._origin += gap
        return 0.0


def _too_long(max_seconds: float) -> MediaTooLong:
    hours = max_seconds / 3600
    limit = f"{hours:g} hours" if hours > 1 else f"{max_seconds:g} seconds"
    return MediaTooLong(f"The recording is longer than the limit of {limit}. Split it, and upload the pieces.")
