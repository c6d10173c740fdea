"""The form of an upload, read piece by piece and without any I/O."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from batchscribe.domain.media import SNIFF_BYTES
from batchscribe.domain.media_sources import extended_file_name
from batchscribe.domain.submission import FIELDS, SOURCE_FIELDS
from batchscribe.errors import InvalidRequest, UploadTooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchscribe.domain.submission import Submission

FILE_FIELD = "file"
MAX_PARTS = 20
MAX_PART_HEADER_BYTES = 8 << 10
MAX_FIELD_BYTES = 64 << 10

NO_FILE_PROVIDED = "No file provided"
NO_FILE_SELECTED = "No file selected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a recording is that does not come with its form."""

    #: One of ``SOURCE_FIELDS``.
    field: str
    #: Perhaps a secret.
    value: str = dataclasses.field(repr=False)


class SubmissionCheck(Protocol):
    """Refuses a submission as soon as enough of it is known."""

    def __call__(self, *, file_name: str | None, head: bytes, fields: Mapping[str, str]) -> Submission:
        """Return what is asked for. Raises UnsupportedMediaFormat, UnsupportedLanguage or InvalidRequest."""


class UploadForm:
    """A multipart form with the recording in ``file`` and perhaps some of ``FIELDS``, in any order.

    In the recording's place one of ``SOURCE_FIELDS`` may say where it is. Other fields are ignored. A field counts as
    a recording only where it has a file name.
    """

    def __init__(self, boundary: bytes, *, max_file_bytes: int, check: SubmissionCheck) -> None:
        self._parser = PushMultipartParser(
            boundary, max_header_size=MAX_PART_HEADER_BYTES, max_header_count=8, max_segment_count=MAX_PARTS
        )
        self._max_file_bytes = max_file_bytes
        self._check = check
        self._part: MultipartSegment | None = None
        self._is_file_part = False
        self._field = bytearray()
        self._file_name: str | None = None
        self._file_bytes = 0
        self._fields: dict[str, str] = {}
        self._sources: dict[str, str] = {}
        self._submission: Submission | None = None
        #: The recording's first bytes, at most ``SNIFF_BYTES``.
        self.head = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the body and return those that belong to the recording.

        Raises InvalidRequest, UploadTooLarge, and whatever the check raises, as early as it can be known.
        """
        recording: list[bytes] = []
        try:
            for event in self._parser.parse(data):
                if event is None:
                    self._end_part()
                elif isinstance(event, MultipartSegment):
                    self._begin_part(event)
                elif self._is_file_part:
                    recording.append(self._take_file_bytes(event))
                else:
                    self._take_field_bytes(event)
        except MultipartError as error:
            raise InvalidRequest(f"The form cannot be read: {error}.") from error
        return recording

    def finish(self) -> tuple[str | Source, Submission]:
        """Return the recording's file name, or where it is, and what is asked for.

        Raises InvalidRequest where something is missing, and what the check raises.
        """
        try:
            self._parser.close()
        except MultipartError as error:
            raise InvalidRequest("The form is cut short: its last line is missing.") from error
        if self._file_name is None or self._submission is None:
            return read_source(self._sources), self._check(file_name=None, head=b"", fields=self._fields)
        if given := [name for name, value in self._sources.items() if value.strip()]:
            raise InvalidRequest(f"Send either file or {given[0]}, not both.")
        return self._file_name, self._submission

    def _begin_part(self, part: MultipartSegment) -> None:
        """Look at a part's headers."""
        if sum(len(name) + len(value) for name, value in part.headerlist) > MAX_PART_HEADER_BYTES:
            raise InvalidRequest(f"The headers of a form field are longer than {MAX_PART_HEADER_BYTES} bytes.")
        self._part = part
        self._field.clear()
        file_name = _file_name(part)
        self._is_file_part = part.name == FILE_FIELD and file_name is not None
        if not self._is_file_part:
            return
        if self._file_name is not None:
            raise InvalidRequest("Only one file can be sent with a request.")
        if not file_name:
            raise InvalidRequest(NO_FILE_SELECTED)
        self._file_name = file_name

    def _take_file_bytes(self, data: bytes) -> bytes:
        """Count the recording's bytes, and check the submission once its first ones are there."""
        self._file_bytes += len(data)
        if self._file_bytes > self._max_file_bytes:
            raise UploadTooLarge(f"The recording is larger than the limit of {self._max_file_bytes} bytes.")
        if len(self.head) < SNIFF_BYTES:
            self.head += bytes(data[: SNIFF_BYTES - len(self.head)])
            if len(self.head) == SNIFF_BYTES:
                self._check_now()
        return data

    def _take_field_bytes(self, data: bytes) -> None:
        """Gather a plain field's bytes."""
        self._field += data
        if len(self._field) > MAX_FIELD_BYTES:
            is_file = self._part is not None and self._part.name == FILE_FIELD
            raise InvalidRequest(
                NO_FILE_PROVIDED if is_file else f"A form field is longer than {MAX_FIELD_BYTES} bytes."
            )

    def _end_part(self) -> None:
        """Take over what the part that ends here has said."""
        if self._is_file_part:
            if self._submission is None:
                self._check_now()
        elif self._part is not None and self._part.name in FIELDS + SOURCE_FIELDS:
            fields = self._fields if self._part.name in FIELDS else self._sources
            try:
                fields.setdefault(self._part.name, self._field.decode())
            except UnicodeDecodeError as error:
                raise InvalidRequest(f"The form field {self._part.name} is not text in UTF-8.") from error
            if self._submission is not None:
                self._check_now()
        self._part = None
        self._is_file_part = False

    def _check_now(self) -> None:
        """Check what is known so far."""
        if self._file_name is not None:
            self._submission = self._check(file_name=self._file_name, head=self.head, fields=self._fields)


def read_source(fields: Mapping[str, str]) -> Source:
    """Return where the recording is. Raises InvalidRequest where no field says so, or two do."""
    given = {name: fields[name].strip() for name in SOURCE_FIELDS if fields.get(name, "").strip()}
    if not given:
        raise InvalidRequest(NO_FILE_PROVIDED)
    if len(given) > 1:
        raise InvalidRequest(f"Send one of {' and '.join(given)}, not both.")
    [(name, value)] = given.items()
    return Source(field=name, value=value)


def _file_name(part: MultipartSegment) -> str | None:
    """Return a part's file name, also where an older client wrote it as ``filename*`` (RFC 8187)."""
    if part.filename is not None:
        return str(part.filename)
    return extended_file_name(part.header("Content-Disposition") or "")
