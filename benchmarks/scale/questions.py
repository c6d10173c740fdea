"""What the model is asked: sizes and mishaps that this machine does not have. Everything here is extrapolated."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.scale.measure import load_times
from benchmarks.scale.model import Fleet, Job, Model, Times

#: Two engine processes a worker, as on the machine of the measurements; four chunks in hand for each.
PROCESSES = 2
DATABASE_CORES = 16
#: Seconds of audio, and how many jobs of a hundred: voice messages, calls, meetings, whole days.
MIX = ((10.0, 70), (300.0, 20), (3600.0, 9), (14_400.0, 1))
MEAN_SECONDS = sum(seconds * share for seconds, share in MIX) / 100
#: Workers, seconds between looks (docs/scale-out.md), an idle worker's transactions a second then.
SIZES = ((10, 0.1, 85.0), (100, 1.0, 22.0), (1000, 5.0, 15.0), (10_000, 10.0, 14.0))


@dataclass(frozen=True, kw_only=True)
class Run:
    """How long a model is run, in virtual seconds: to fill up, and to be looked at."""

    warm: float
    seconds: float


def main() -> None:
    """Print one table after the other."""
    times = load_times("postgresql", database_cores=DATABASE_CORES)
    print(
        f"One database of {DATABASE_CORES} cores, {PROCESSES} engine processes a worker, mean {MEAN_SECONDS:.0f} s.\n"
    )
    _sizes(times)
    _fewer_larger(times)
    _behind_long()
    _mishaps(times)


def fleet_of(workers: int, polling: float, idle: float, *, processes: int = PROCESSES) -> Fleet:
    """Return a fleet with the product's default limits."""
    return Fleet(
        workers=workers,
        processes=processes,
        recording_slots=16 * processes,
        chunk_slots=4 * processes,
        polling_seconds=polling,
        idle_transactions=idle,
    )


def capacity(fleet: Fleet, times: Times) -> float:
    """Return the jobs a second that the engine processes can bear."""
    return fleet.workers * (fleet.processes or 1) / times.recognise / MEAN_SECONDS


def arrivals(rate: float, until: float, seed: int = 1) -> list[Job]:
    """Return jobs of the mix that arrive at random."""
    dice, moment, jobs = random.Random(seed), 0.0, []  # noqa: S311 - nothing secret
    lengths, shares = zip(*MIX, strict=True)
    while (moment := moment + dice.expovariate(rate)) < until:
        seconds = dice.choices(lengths, shares)[0]
        jobs.append(Job(arrival=moment, audio_seconds=seconds, priority=int(seconds * 16_000) >> 20))
    return jobs


def _sizes(times: Times) -> None:
    print(
        "| workers | looks every | load | jobs/s done | hours of audio an hour | start of a 10 s job, p50 | p99 |"
        " end p50 | p99 | transactions/s: work | looking | database busy |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for workers, polling, idle in SIZES:
        run = Run(warm=600.0, seconds=600.0) if workers <= 100 else Run(warm=90.0, seconds=60.0)
        for load in (0.5, 0.8, 0.95) if workers <= 1000 else (0.8,):
            _print_size(fleet_of(workers, polling, idle), times, load, run)


def _fewer_larger(times: Times) -> None:
    print("\nThe same 20,000 engine processes in fewer, larger workers, load 80 %:\n")
    print(
        "| workers | looks every | load | jobs/s done | hours of audio an hour | start of a 10 s job, p50 | p99 |"
        " end p50 | p99 | transactions/s: work | looking | database busy |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for workers, processes, polling, idle in ((1250, 16, 5.0, 15.0), (312, 64, 2.0, 18.0)):
        _print_size(fleet_of(workers, polling, idle, processes=processes), times, 0.8, Run(warm=90.0, seconds=60.0))


def _print_size(fleet: Fleet, times: Times, load: float, run: Run) -> None:
    model = Model(fleet, times)
    jobs = arrivals(load * capacity(fleet, times), run.warm + run.seconds)
    model.run(jobs, until=run.warm)
    transactions, busy = model.transactions, model.busy_seconds
    model.run([], until=run.warm + run.seconds)
    done = [job for job in jobs if run.warm < job.ended <= run.warm + run.seconds]
    short = [job for job in done if job.audio_seconds == MIX[0][0]]
    starts, ends = ([getattr(job, name) - job.arrival for job in short] for name in ("started", "ended"))
    worked = (model.transactions - transactions) / run.seconds
    looking = fleet.workers * fleet.idle_transactions
    share = worked * times.transaction + looking * times.idle_transaction
    audio = (model.busy_seconds - busy) / times.recognise / run.seconds
    print(
        f"| {fleet.workers:,} | {fleet.polling_seconds:g} s | {load:.0%} | {len(done) / run.seconds:,.1f}"
        f" | {audio:,.0f} | {_at(starts, 0.5)} | {_at(starts, 0.99)} | {_at(ends, 0.5)} | {_at(ends, 0.99)}"
        f" | {worked:,.0f} | {looking:,.0f} | {share:.0%} |",
        flush=True,
    )


def _behind_long() -> None:
    print("\nA 10 s job that comes a minute after four-hour ones, one worker on SQLite:\n")
    print("| four-hour jobs before it | waits for its start | is done after | alone |")
    print("|---|---|---|---|")
    times = load_times("sqlite")
    fleet = fleet_of(1, 0.05, 60.0)
    alone = Model(fleet, times).run([Job(arrival=60.0, audio_seconds=10.0)])[0]
    for count in (1, 10, 32, 100):
        jobs = [Job(arrival=0.0, audio_seconds=14_400.0, priority=13) for _ in range(count)]
        jobs.append(Job(arrival=60.0, audio_seconds=10.0))
        Model(fleet, times).run(jobs, until=3600.0)
        last = jobs[-1]
        print(
            f"| {count} | {last.started - last.arrival:.2f} s | {last.ended - last.arrival:.2f} s"
            f" | {alone.ended - alone.arrival:.2f} s |"
        )


def _mishaps(times: Times) -> None:
    print("\n100 workers; how long until as little work waits as before (two hours at most):\n")
    print("| mishap | load | most work waiting | drained after |")
    print("|---|---|---|---|")
    workers, polling, idle = 100, 1.0, 22.0
    for load in (0.5, 0.8, 0.95):
        fleet = fleet_of(workers, polling, idle)
        rate = load * capacity(fleet, times)
        for name, dead, outage in (
            ("one worker of a hundred is gone for 10 minutes", 1, None),
            ("a quarter of the workers is gone for 10 minutes", 25, None),
            ("the database does not answer for 10 minutes", 0, (1800.0, 2400.0)),
        ):
            model = Model(fleet, times, outage=outage)
            for worker in model.workers[:dead]:
                model.at(1800.0, lambda worker=worker: worker.stop())  # type: ignore[misc]
                model.at(2400.0, lambda worker=worker: worker.go_on())  # type: ignore[misc]
            model.run(arrivals(rate, 9600.0), until=9600.0, sample_seconds=10.0)
            print(f"| {name} | {load:.0%} | {_most(model.depths)} | {_drained(model.depths)} |", flush=True)


def _most(depths: Iterable[tuple[float, int]]) -> str:
    return f"{max(depth for moment, depth in depths if 1800.0 <= moment < 4000.0):,}"


def _drained(depths: list[tuple[float, int]]) -> str:
    """Return how long after the mishap's end the waiting work is what it was in the half hour before."""
    before = [depth for moment, depth in depths if 600.0 <= moment < 1800.0]
    usual = statistics.mean(before) + 2 * statistics.pstdev(before)
    after = [(moment, depth) for moment, depth in depths if moment >= 2400.0 + 30.0]
    return next((f"{moment - 2400.0:,.0f} s" for moment, depth in after if depth <= usual), "not in two hours")


def _at(values: list[float], share: float) -> str:
    if not values:
        return "-"
    return f"{sorted(values)[min(len(values) - 1, int(len(values) * share))]:.2f} s"


if __name__ == "__main__":
    main()
