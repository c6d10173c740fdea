"""What the pool takes next: fair by job, full batches while many wait, even shares at the end."""

from __future__ import annotations

import threading

import pytest

from batchscribe.domain.ports import BYTES_PER_SAMPLE, SAMPLE_RATE_HERTZ
from batchscribe.engines.schedule import Batch, Call, Cut, PooledWindow, Schedule
from batchscribe.errors import EngineClosed, EngineCrashed


def make_call(schedule: Schedule, *, job_name: str = "job", priority: float = 0.0, seconds: float = 100.0) -> Call:
    """Return a call that is ready to be added."""
    return Call(
        job_name=job_name,
        priority=priority,
        language="en",
        pcm=memoryview(bytes(round(seconds * SAMPLE_RATE_HERTZ) * BYTES_PER_SAMPLE)),
        changed=threading.Condition(schedule.lock),
    )


def add_cut_call(
    schedule: Schedule, windows: list[float], *, job_name: str = "job", priority: float = 0.0, bucket: int = 8
) -> Call:
    """Add a call whose windows, of these many seconds one after another, are already found."""
    call = make_call(schedule, job_name=job_name, priority=priority, seconds=sum(windows))
    schedule.add(call)
    work = schedule.take(8, 0)
    assert isinstance(work, Cut)
    found, start = [], 0
    for seconds in windows:
        end = start + round(seconds * SAMPLE_RATE_HERTZ)
        found.append(PooledWindow(call=call, start=start, end=end, bucket=bucket))
        start = end
    schedule.cut_done(work.call, found)
    return call


def take_batch(schedule: Schedule, max_batch: int = 8) -> Batch:
    """Take what must be a batch."""
    work = schedule.take(max_batch, 0)
    assert isinstance(work, Batch)
    return work


def jobs_of(batch: Batch) -> list[str]:
    """Return whose windows a batch holds."""
    return [call.job_name for call in batch.calls]


def test_cutting_goes_ahead_of_batches() -> None:
    """A new call learns what there is to do before anybody's windows are recognised."""
    schedule = Schedule(children=1)
    add_cut_call(schedule, [20.0] * 3)
    newcomer = make_call(schedule)
    schedule.add(newcomer)
    work = schedule.take(8, 0)
    assert isinstance(work, Cut)
    assert work.call is newcomer


def test_the_lowest_priority_number_is_served_first() -> None:
    """Priority wins over arrival and over what was served before."""
    schedule = Schedule(children=1)
    add_cut_call(schedule, [20.0], job_name="later", priority=5.0)
    add_cut_call(schedule, [20.0], job_name="sooner", priority=1.0)
    assert jobs_of(take_batch(schedule, 1)) == ["sooner"]


def test_the_job_that_was_served_least_is_next() -> None:
    """Jobs of one priority take turns by audio seconds, not by chunks in order of arrival."""
    schedule = Schedule(children=1)
    add_cut_call(schedule, [20.0] * 4, job_name="long")
    add_cut_call(schedule, [15.0] * 2, job_name="short")
    taken = [jobs_of(take_batch(schedule, 1))[0] for _ in range(6)]
    assert taken == ["long", "short", "short", "long", "long", "long"]


def test_what_a_job_was_served_counts_for_its_next_chunk() -> None:
    """A job with much behind it waits for one that has had nothing."""
    schedule = Schedule(children=1)
    first = add_cut_call(schedule, [20.0], job_name="long")
    schedule.batch_done(take_batch(schedule), [()])
    schedule.drop(first)
    add_cut_call(schedule, [20.0], job_name="long")
    add_cut_call(schedule, [20.0], job_name="new")
    assert jobs_of(take_batch(schedule, 1)) == ["new"]


def test_a_batch_mixes_jobs_by_the_same_rule() -> None:
    """Within a batch, too, equal jobs take turns."""
    schedule = Schedule(children=1)
    add_cut_call(schedule, [20.0] * 6, job_name="a")
    add_cut_call(schedule, [20.0] * 6, job_name="b")
    assert jobs_of(take_batch(schedule, 4)) == ["a", "b", "a", "b"]


def test_a_batch_holds_windows_of_one_bucket() -> None:
    """Nobody's words may depend on a neighbour's length."""
    schedule = Schedule(children=1)
    add_cut_call(schedule, [20.0] * 2, job_name="a", bucket=20)
    add_cut_call(schedule, [7.0] * 3, job_name="b", bucket=8)
    batches = [take_batch(schedule), take_batch(schedule)]
    assert sorted({window.bucket for window in batch.windows}.pop() for batch in batches) == [8, 20]
    assert all(len({window.bucket for window in batch.windows}) == 1 for batch in batches)


@pytest.mark.parametrize(
    ("windows", "children", "sizes"),
    [(6, 2, [3, 2, 1]), (40, 2, [8, 8, 8]), (6, 8, [1, 1, 1]), (1, 2, [1]), (16, 2, [8, 4, 2])],
)
def test_batches_are_full_while_many_wait_and_shared_when_few_do(windows: int, children: int, sizes: list[int]) -> None:
    """A child takes at most its share of what waits."""
    schedule = Schedule(children=children)
    add_cut_call(schedule, [10.0] * windows)
    assert [len(take_batch(schedule).windows) for _ in sizes] == sizes


@pytest.mark.parametrize(("bucket", "size"), [(4, 8), (8, 8), (16, 4), (20, 3), (30, 2), (100, 1)])
def test_a_batch_is_about_a_minute_long_at_most(bucket: int, size: int) -> None:
    """Whoever comes while a batch is recognised waits for its end."""
    schedule = Schedule(children=1)
    add_cut_call(schedule, [4.0] * 20, bucket=bucket)
    assert len(take_batch(schedule).windows) == size


def test_a_suspected_window_is_recognised_by_itself() -> None:
    """After a child died with a batch, each of its windows has a child to itself, and others still share."""
    schedule = Schedule(children=1)
    add_cut_call(schedule, [20.0] * 3, job_name="a")
    schedule.died(take_batch(schedule), "It died.")
    assert [len(take_batch(schedule).windows) for _ in range(3)] == [1, 1, 1]


def test_a_window_that_ends_two_children_by_itself_fails_its_call() -> None:
    """A death beside others is no proof; the second alone is."""
    schedule = Schedule(children=1)
    call = add_cut_call(schedule, [20.0, 20.0])
    schedule.died(take_batch(schedule), "It died.")
    schedule.died(take_batch(schedule), "It died.")
    assert not call.is_over
    schedule.died(take_batch(schedule), "It died.")
    assert isinstance(call.error, EngineCrashed)
    assert schedule.take(8, 0) is None


def test_nothing_waits_for_a_dropped_call() -> None:
    """Windows of a call that nobody waits for are never recognised."""
    schedule = Schedule(children=1)
    call = add_cut_call(schedule, [20.0] * 3)
    schedule.drop(call)
    assert schedule.take(8, 0) is None
    assert schedule.children_wanted() == 0


def test_silence_is_done_once_a_chunk_is_cut() -> None:
    """What lies in no window counts as done."""
    schedule = Schedule(children=1)
    call = make_call(schedule, seconds=60.0)
    schedule.add(call)
    assert schedule.take(8, 0) is not None
    schedule.cut_done(call, [PooledWindow(call=call, start=0, end=20 * SAMPLE_RATE_HERTZ, bucket=24)])
    assert call.seconds_done == pytest.approx(40.0)
    assert not call.is_over


def test_a_call_with_one_short_window_wants_one_child_and_a_long_one_several() -> None:
    """Children are started for the work that there is, no more."""
    schedule = Schedule(children=4)
    schedule.add(make_call(schedule, seconds=3.0))
    assert schedule.children_wanted() == 1
    schedule.add(make_call(schedule, seconds=150.0))
    assert schedule.children_wanted() == 4


def test_a_closed_schedule_ends_every_call_and_takes_none() -> None:
    """Also calls whose work is in a child's hands end."""
    schedule = Schedule(children=1)
    call = add_cut_call(schedule, [20.0])
    take_batch(schedule)
    schedule.close()
    assert isinstance(call.error, EngineClosed)
    with pytest.raises(EngineClosed):
        schedule.add(make_call(schedule))
    assert schedule.take(8, None) is None
