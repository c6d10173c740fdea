"""What the decoder's processes say to one another over their sockets.

A request is :data:`REQUEST` with three descriptors: the recording, the output socket, the status socket. On the output
socket the child writes messages: kind and length (:data:`HEADER`), then the payload. On the status socket the fork
server writes the child's wait status (:data:`EXIT`) once; when the other end is shut, it kills the child.
"""

from __future__ import annotations

import json
import math
import struct
from enum import IntEnum
from typing import Any

from batchscribe.domain.media import MediaInfo
from batchscribe.errors import (
    DecoderCrashed,
    DecoderLimit,
    MediaDamaged,
    MediaEmpty,
    MediaNotRecognised,
    MediaTooLong,
    NoAudioTrack,
    RecordingFailed,
    SandboxUnavailable,
)


class Kind(IntEnum):
    """What a message carries."""

    #: JSON of a MediaInfo; always the first message, unless an ERROR is.
    INFO = 1
    #: Working audio in whole samples; of several channels, as many of each, interleaved.
    PCM = 2
    #: A sentence.
    WARNING = 3
    #: An error's code, a line feed, a sentence. Nothing follows.
    ERROR = 4
    #: Empty. Nothing follows.
    DONE = 5


#: Kind and payload length in bytes.
HEADER = struct.Struct("<BI")
#: Longest recording in seconds, address space in bytes, whether the sandbox is required, whether channels stay apart.
REQUEST = struct.Struct("<dQ??")
#: A wait status as of waitpid(2).
EXIT = struct.Struct("<i")
#: What the fork server writes once when it is ready for requests.
READY = b"R"

LONGEST_PCM_BYTES = 1 << 20
LONGEST_TEXT_BYTES = 4096

_LONGEST_SENTENCE = 300
_ERRORS: dict[str, type[RecordingFailed | SandboxUnavailable]] = {
    error.code: error
    for error in (
        MediaEmpty,
        MediaNotRecognised,
        MediaDamaged,
        NoAudioTrack,
        MediaTooLong,
        DecoderLimit,
        DecoderCrashed,
        SandboxUnavailable,
    )
}


def longest_payload(kind: Kind) -> int:
    """Return how many bytes a message of this kind may carry."""
    return LONGEST_PCM_BYTES if kind is Kind.PCM else LONGEST_TEXT_BYTES


def encode_info(info: MediaInfo) -> bytes:
    """Write an INFO payload."""
    fields = {name: getattr(info, name) for name in MediaInfo.__slots__}
    return json.dumps(fields).encode()


def decode_info(payload: bytes) -> MediaInfo:
    """Read an INFO payload that a child wrote, which may be anything. Raises ValueError where it is no such thing."""
    try:
        fields: dict[str, Any] = json.loads(payload)
        declared = fields["declared_duration"]
        info = MediaInfo(
            container=plain_text(str(fields["container"])),
            codec=plain_text(str(fields["codec"])),
            sample_rate_hertz=int(fields["sample_rate_hertz"]),
            channels=int(fields["channels"]),
            declared_duration=None if declared is None else float(declared),
        )
    except (KeyError, TypeError, RecursionError, OverflowError) as error:
        raise ValueError("not a MediaInfo") from error
    if info.declared_duration is not None and not math.isfinite(info.declared_duration):
        raise ValueError("not a duration")
    return info


def channels_of(info: MediaInfo) -> int:
    """Return how many channels a recording has when they are kept apart; the decoder refuses more than two."""
    return 2 if info.channels > 1 else 1


def encode_error(error: RecordingFailed | SandboxUnavailable) -> bytes:
    """Write an ERROR payload."""
    return f"{error.code}\n{error}".encode()[:LONGEST_TEXT_BYTES]


def decode_error(payload: bytes) -> RecordingFailed | SandboxUnavailable:
    """Read an ERROR payload that a child wrote. Raises ValueError where it is no such thing."""
    code, _, sentence = payload.decode(errors="replace").partition("\n")
    if code not in _ERRORS:
        raise ValueError("not an error code")
    return _ERRORS[code](plain_text(sentence))


def plain_text(text: str) -> str:
    """Return text that is safe to show and to log: one line, printable, of bounded length."""
    return "".join(each if each.isprintable() else " " for each in text[:_LONGEST_SENTENCE])
