"""What a seed stands for: recordings, workers, and how rough the world is."""

from __future__ import annotations

import random
import sys
import traceback

from simulated_service import Scenario, SimulatedService
from simulated_store import Recording
from simulated_world import Faults


def scenario_of(seed: int) -> Scenario:
    """Make a scenario from a seed; each fault is absent from about half of them, so that some faults meet alone."""
    dice = random.Random(seed)  # noqa: S311 - nothing secret

    def some(most: float) -> float:
        return dice.choice([0.0, 0.0, most / 5, most])

    def outage() -> tuple[float, float] | None:
        if dice.random() < 0.8:
            return None
        start = dice.uniform(0.0, 15.0)
        return start, start + dice.choice([3.0, 40.0, 120.0])

    recordings = tuple(
        Recording(
            number=dice.randrange(1000),
            seconds=round(dice.choice([dice.uniform(0.1, 1.4), dice.uniform(1.5, 6.0)]), 2),
            delete_after_seconds=dice.choice([None, None, None, 0, 5, 200_000]),
            delete_media_after_seconds=dice.choice([None, None, None, 0, 5, 200_000]),
            idempotency_key=dice.choice([None, f"key-{place}"]),
            kind=dice.choices(["good", "silent", "damaged", "poison"], [8, 1, 1, 1])[0],
        )
        for place in range(dice.randint(1, 4))
    )
    return Scenario(
        recordings=recordings,
        workers=dice.randint(1, 3),
        faults=Faults(
            crash=some(0.02),
            freeze=some(0.01),
            database_error=some(0.03),
            database_false_error=some(0.02),
            late_commit=some(0.2),
            store_error=some(0.03),
            store_false_error=some(0.02),
            engine_crash=some(0.05),
            decoder_crash=some(0.3),
            duplicate=some(0.3),
            slow=some(0.02),
            database_outage=outage(),
            store_outage=outage(),
        ),
        cancels=some(0.5),
        deletes=some(0.5),
        clears=some(0.7),
        days_until_cleared=dice.choice([0, 1, 5]),
        last_chunk_seconds=dice.choice([0.0, 0.0, 30.0]),
    )


def play(seed: int) -> SimulatedService:
    """Play one seed. Raises Violation where a promise is broken."""
    simulated = SimulatedService(seed, scenario_of(seed))
    simulated.play()
    return simulated


def main() -> None:
    """Replay one seed and say what happened: ``python tests/simulation/scenarios.py SEED``."""
    seed = int(sys.argv[1])
    simulated = SimulatedService(seed, scenario_of(seed))
    sys.stdout.write(f"{simulated.scenario}\n")
    try:
        simulated.play()
    except AssertionError:
        traceback.print_exc(file=sys.stdout)
    finally:
        sys.stdout.write("\n".join(simulated.world.trace) + "\n")


if __name__ == "__main__":
    main()
