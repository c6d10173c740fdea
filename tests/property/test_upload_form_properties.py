"""Properties of the upload form's reader, for any form and any way of cutting it into pieces."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from batchscribe.domain.media import SNIFF_BYTES
from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.submission import Submission
from batchscribe.errors import RequestRefused
from batchscribe.web.upload_form import UploadForm

#: Bytes that a multipart reader is likely to stumble over.
AWKWARD = st.lists(
    st.sampled_from([b"\r\n--b", b"\r\n--bo", b"--b--", b"\r", b"\n", b"-", b"b", b"\0", b"RIFF", b"\r\n"])
    | st.binary(),
    max_size=12,
).map(b"".join)


def accept(*, file_name: str | None, head: bytes, fields: Mapping[str, str]) -> Submission:
    """Take anything."""
    del file_name, head
    return Submission(options=TranscriptionOptions(language_code=fields.get("language_code", "en-US")))


def pieces_of(body: bytes, cuts: list[int]) -> list[bytes]:
    """Cut a body at these places."""
    places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    return [body[start:end] for start, end in pairwise(places)]


@given(
    content=AWKWARD.filter(lambda content: b"\r\n--boundary" not in content),
    is_language_first=st.booleans(),
    cuts=st.lists(st.integers(min_value=0, max_value=10_000), max_size=8),
)
def test_the_recording_comes_out_byte_for_byte(content: bytes, is_language_first: bool, cuts: list[int]) -> None:
    """However the form is cut, and whichever field comes first."""
    file = b'--boundary\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + content + b"\r\n"
    language = b'--boundary\r\nContent-Disposition: form-data; name="language_code"\r\n\r\nfr-FR\r\n'
    body = (language + file if is_language_first else file + language) + b"--boundary--\r\n"
    form = UploadForm(b"boundary", max_file_bytes=1 << 20, check=accept)
    recording = b"".join(piece for data in pieces_of(body, cuts) for piece in form.feed(data))
    assert recording == content
    assert form.finish() == ("a.wav", Submission(options=TranscriptionOptions(language_code="fr-FR")))
    assert form.head == content[:SNIFF_BYTES]


@given(body=AWKWARD, cuts=st.lists(st.integers(min_value=0, max_value=10_000), max_size=4))
def test_any_bytes_are_either_taken_or_refused(body: bytes, cuts: list[int]) -> None:
    """Nothing but a refusal is ever raised, and no more comes out than went in."""
    form = UploadForm(b"b", max_file_bytes=1 << 20, check=accept)
    recording = b""
    try:
        for data in pieces_of(b"--b\r\nContent-Disposition: form-data; name=" + body, cuts):
            recording += b"".join(form.feed(data))
        form.finish()
    except RequestRefused:
        pass
    assert len(recording) <= len(body)
