"""The form of an upload, fed in pieces."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from batchscribe.domain.submission import Submission, read_submission
from batchscribe.errors import InvalidRequest, RequestRefused, UnsupportedLanguage, UploadTooLarge
from batchscribe.web.upload_form import MAX_FIELD_BYTES, UploadForm


def check(*, file_name: str | None, head: bytes, fields: Mapping[str, str]) -> Submission:
    """Refuse what begins with BAD, and unknown languages."""
    if head.startswith(b"BAD"):
        raise InvalidRequest(f"bad: {file_name}")
    return read_submission(fields)


def part(name: str, content: bytes = b"", *, file_name: str | None = None, headers: str = "") -> bytes:
    """Write one part of a form."""
    suffix = "" if file_name is None else f'; filename="{file_name}"'
    lines = f'--b\r\nContent-Disposition: form-data; name="{name}"{suffix}\r\n{headers}\r\n'
    return lines.encode() + content + b"\r\n"


def read(body: bytes, *, piece: int = 1 << 20, max_file_bytes: int = 1 << 20) -> tuple[bytes, str, str, bytes]:
    """Feed a whole form in pieces; return recording, file name, language code and head."""
    form = UploadForm(b"b", max_file_bytes=max_file_bytes, check=check)
    recording = b""
    for start in range(0, len(body), piece):
        recording += b"".join(form.feed(body[start : start + piece]))
    file_name, submission = form.finish()
    assert isinstance(file_name, str)
    return recording, file_name, submission.options.language_code, form.head


END = b"--b--\r\n"


@pytest.mark.parametrize("piece", [1, 2, 7, 1 << 20])
def test_a_form_is_read_in_pieces_of_any_size(piece: int) -> None:
    """The order of its fields does not matter, and unknown ones are ignored."""
    content = bytes(range(256)) + b"\r\n-b\r-\r\n--"
    fields = [part("file", content, file_name="a.wav"), part("language_code", b"zh-cn"), part("other", b"x")]
    for body in (b"".join(fields) + END, b"".join(fields[::-1]) + END):
        assert read(body, piece=piece) == (content, "a.wav", "zh-CN", content[:64])


def test_an_empty_recording_is_taken() -> None:
    """Whether it can be transcribed is for the decoder to say."""
    assert read(part("file", file_name="a.wav") + END) == (b"", "a.wav", "en-US", b"")


def test_the_first_of_two_languages_counts() -> None:
    """As in the original."""
    body = part("file", file_name="a.wav") + part("language_code", b"fr-FR") + part("language_code", b"de-DE") + END
    assert read(body)[2] == "fr-FR"


def test_a_file_name_in_the_form_of_rfc_8187_is_read() -> None:
    """Older clients write names with accents so."""
    lines = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename*=utf-8''caf%C3%A9.wav\r\n\r\n\r\n" + END
    assert read(lines)[1] == "café.wav"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.wav", "été 漢字.mp3", "a\u202e3pm.wav", "x" * 3000 + ".mp3", "a;b.wav"]
)
def test_a_file_name_comes_through_as_it_was_sent(name: str) -> None:
    """It is text and nothing else: no path is ever made of it."""
    assert read(part("file", file_name=name) + END)[1] == name


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (END, "No file provided"),
        (part("language_code", b"en-US") + END, "No file provided"),
        (part("file", b"text") + END, "No file provided"),
        (part("audio", b"x", file_name="a.wav") + END, "No file provided"),
        (part("file", file_name="") + END, "No file selected"),
        (part("file", file_name="a.wav") * 2 + END, "Only one file can be sent with a request."),
        (part("other", b"x" * (MAX_FIELD_BYTES + 1)) + END, f"A form field is longer than {MAX_FIELD_BYTES} bytes."),
        (part("file", b"x" * (MAX_FIELD_BYTES + 1)) + END, "No file provided"),
        (part("language_code", b"\xff") + END, "The form field language_code is not text in UTF-8."),
        (part("file", b"BAD" + bytes(100), file_name="a.wav") + END, "bad: a.wav"),
        (part("file", b"BAD", file_name="a.wav") + END, "bad: a.wav"),
        (part("file", b"x", file_name="a.wav"), "The form is cut short: its last line is missing."),
        (b"", "The form is cut short: its last line is missing."),
    ],
)
def test_a_form_that_cannot_be_taken_is_refused_in_a_sentence(body: bytes, sentence: str) -> None:
    """The first four sentences are the original's."""
    with pytest.raises(InvalidRequest) as caught:
        read(body)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "body",
    [
        b"".join(part(f"field-{number}") for number in range(21)) + END,
        part("file", file_name="a.wav", headers="X-Long: " + "x" * 9000 + "\r\n") + END,
        part("file", file_name="a.wav", headers="".join(f"X-{n}: {'x' * 1500}\r\n" for n in range(6))) + END,
        part("file", file_name="a.wav", headers="X: y\r\n" * 30) + END,
        b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" + END,
        b'--b\nContent-Disposition: form-data; name="file"; filename="a"\n\nx\n--b--\n',
        part("file", b"xxxxx", file_name="a.wav", headers="Content-Length: 3\r\n") + END,
        b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\r\n' + END,
    ],
)
def test_a_malformed_or_overgrown_form_is_refused(body: bytes) -> None:
    """Piece by piece and at once."""
    for piece in (1, 1 << 20):
        with pytest.raises(InvalidRequest):
            read(body, piece=piece)


def test_a_recording_over_the_limit_is_refused_as_soon_as_it_is() -> None:
    """One more byte is enough; exactly as many are not."""
    assert len(read(part("file", bytes(1000), file_name="a.wav") + END, max_file_bytes=1000)[0]) == 1000
    form = UploadForm(b"b", max_file_bytes=1000, check=check)
    with pytest.raises(UploadTooLarge):
        form.feed(part("file", bytes(1001), file_name="a.wav"))


def test_a_bad_language_is_refused_before_the_recording_has_arrived() -> None:
    """Where it comes first, the recording's first bytes are enough."""
    form = UploadForm(b"b", max_file_bytes=1 << 20, check=check)
    form.feed(part("language_code", b"xx"))
    with pytest.raises(UnsupportedLanguage):
        form.feed(part("file", bytes(100), file_name="a.wav")[:-2])


def test_what_follows_the_last_line_is_ignored() -> None:
    """As RFC 2046 wants it."""
    assert read(part("file", b"x", file_name="a.wav") + END + b"epilogue")[0] == b"x"


def test_every_refusal_is_one_that_has_a_status() -> None:
    """Whatever is fed."""
    for junk in (b"\0" * 100, b"--b", b"--b\r\n", b"--b\r\n\r\n", b"\r\n--b\r\n: \r\n\r\n", b"--b\r\nA\r\n\r\n"):
        with pytest.raises(RequestRefused):
            read(junk)
