"""Whatever order requests of a resumable upload come, break and overtake each other in, the recording is whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event

from batchscribe import settings as settings_module
from batchscribe.app import build_service, upgrade_database
from batchscribe.database.connection import connect
from batchscribe.domain.resumable import SLICE_BYTES, Slice, absorbed
from batchscribe.errors import RequestRefused, UploadNotFound, UploadOffsetConflict
from batchscribe.service import TranscriptionService
from batchscribe.slices import SliceWriter

_HEAD = b"RIFF\x24\x00\x00\x00WAVEfmt "


@given(st.lists(st.one_of(st.integers(1, 64), st.integers(1, SLICE_BYTES), st.just(SLICE_BYTES)), max_size=300))
def test_slices_are_few_and_in_order_however_small_the_pieces(sizes: list[int]) -> None:
    """As many as whole slices fit twice, and a few more; and no byte is stored anew more often than sizes double."""
    kept: list[Slice] = []
    rewritten = 0
    for number, size in enumerate(sizes):
        taken_in = absorbed(kept, size)
        begin = taken_in[0].offset_bytes if taken_in else sum(each.size_bytes for each in kept)
        more = sum(each.size_bytes for each in taken_in)
        rewritten += more
        kept = [*kept[: len(kept) - len(taken_in)], Slice(key=str(number), offset_bytes=begin, size_bytes=more + size)]
    total = sum(sizes)
    assert sum(each.size_bytes for each in kept) == total
    ends = [each.offset_bytes + each.size_bytes for each in kept]
    assert [each.offset_bytes for each in kept] == [0, *ends][: len(kept)]
    assert len(kept) <= 2 * (total // SLICE_BYTES) + SLICE_BYTES.bit_length() + 1
    assert rewritten <= total * SLICE_BYTES.bit_length()


#: The one that the machine below asks; hypothesis makes machines by itself, so none can be given a fixture.
_services: list[TranscriptionService] = []


@pytest.fixture(scope="module", autouse=True)
def _service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Build a service over a real database and store."""
    folder = tmp_path_factory.mktemp("data")
    chosen = settings_module.load(data_dir=folder, engine="scripted", min_free_bytes=0)
    upgrade_database(chosen)
    database = connect(chosen.effective_database_url)
    # What a power cut leaves is not at stake here, and waiting for the disk would take most of the time.
    event.listen(database, "connect", lambda connection, _entry: connection.execute("PRAGMA synchronous=OFF"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _descriptor: None)
        _services.append(build_service(chosen, database))
        yield
        _services.clear()
    database.dispose()


class Uploading(RuleBasedStateMachine):
    """One upload, some requests at once, over the real database and store."""

    @initialize(length=st.integers(1, 2000))
    def begin(self, length: int) -> None:
        """Create it."""
        self._service = _services[0]
        self._uploads = self._service.resumable
        self._before = self._job_names()
        self._recording = (_HEAD + bytes(index * 7 % 251 for index in range(length)))[:length]
        self._id = self._uploads.create(length_bytes=length, file_name="a.wav", fields={}).id
        #: Every request that was ever begun and not ended, each with where its next byte belongs.
        self._open: list[list[SliceWriter | int]] = []
        self._newest: SliceWriter | None = None
        self._acknowledged = 0
        self._names: set[str] = set()

    @rule()
    def take_over(self) -> None:
        """Begin another request where the upload is."""
        offset = self._uploads.get(self._id, owner="").offset_bytes
        self._newest = self._uploads.take_over(self._id, offset_bytes=offset, owner="")
        self._open.append([self._newest, offset])

    @rule(off_by=st.integers(1, 3000))
    def ask_wrongly(self, off_by: int) -> None:
        """Begin a request somewhere else: it is refused, and takes nothing over."""
        offset = self._uploads.get(self._id, owner="").offset_bytes
        try:
            self._uploads.take_over(self._id, offset_bytes=offset + off_by, owner="")
        except UploadOffsetConflict:
            return
        raise AssertionError("taken over at a wrong offset")

    @precondition(lambda self: self._open)
    @rule(data=st.data(), size=st.integers(1, 700), commits=st.booleans(), is_garbage=st.booleans())
    def write(self, data: st.DataObject, size: int, *, commits: bool, is_garbage: bool) -> None:
        """Have any request go on; those that were overtaken also with bytes that do not belong there."""
        request = data.draw(st.sampled_from(self._open))
        writer, at = request
        assert isinstance(writer, SliceWriter)
        assert isinstance(at, int)
        piece = self._recording[at : at + size]
        if is_garbage and writer is not self._newest:
            piece = b"\xff" * len(piece)
        try:
            writer.write(piece)
            request[1] = at + len(piece)
            if commits:
                writer.commit()
                # Without bytes there is nothing to refuse.
                assert writer is self._newest or not piece
                self._acknowledged = at + len(piece)
        except (UploadOffsetConflict, UploadNotFound):
            assert writer is not self._newest
            self._open.remove(request)

    @precondition(lambda self: self._open)
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        """Have a request break."""
        request = data.draw(st.sampled_from(self._open))
        writer = request[0]
        assert isinstance(writer, SliceWriter)
        writer.abort()
        self._open.remove(request)

    @rule()
    def finish(self) -> None:
        """Ask for the job, whether everything is there or not."""
        upload = self._uploads.finish(self._id, owner="", key=None)
        assert (upload.job_name is not None) == upload.is_whole
        if upload.job_name is not None:
            self._names.add(upload.job_name)

    @invariant()
    def tells_the_truth(self) -> None:
        """Tell that what was acknowledged is there, and that there is one job, with the recording's bytes."""
        if not hasattr(self, "_uploads"):
            return
        assert self._uploads.get(self._id, owner="").offset_bytes >= self._acknowledged
        assert self._job_names() - self._before == self._names
        assert len(self._names) <= 1
        for name in self._names:
            _, media = self._service.open_media(name)
            with media:
                assert media.read() == self._recording

    def teardown(self) -> None:
        """Finish what is left, and let go of everything."""
        if not hasattr(self, "_uploads"):
            return
        try:
            offset = self._uploads.get(self._id, owner="").offset_bytes
            writer = self._uploads.take_over(self._id, offset_bytes=offset, owner="")
            writer.write(self._recording[offset:])
            writer.commit()
            self.finish()
            self.tells_the_truth()
        except RequestRefused as error:
            raise AssertionError("the upload could not be finished") from error
        finally:
            for name in self._names:
                self._service.delete(name)

    def _job_names(self) -> set[str]:
        return {job.name for job in self._service.list(status=None, max_results=50, next_token=None).jobs}


TestUploading = Uploading.TestCase
TestUploading.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
