"""The AWS engine over the fake Transcribe and moto: what it promises, counted.

    python -m benchmarks.aws examples     the contract's own examples, unchanged
    python -m benchmarks.aws quotas       1,000 jobs at once from two replicas over PostgreSQL
    python -m benchmarks.aws events       from an event to COMPLETED, and with every event lost
    python -m benchmarks.aws kills        kill -9 of apis and workers at random during 200 jobs
    python -m benchmarks.aws waiting      a worker with 10,000 waiting jobs
    python -m benchmarks.aws failures     what a client reads for each failure that AWS documents

Everything runs on this machine alone. Each prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benchmarks import aws_failures, aws_fleet, aws_single

NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    "examples": aws_single.examples,
    "quotas": aws_fleet.quotas,
    "events": aws_single.events,
    "kills": aws_fleet.kills,
    "waiting": aws_fleet.waiting,
    "failures": aws_failures.failures,
}


def main(arguments: list[str]) -> int:
    """Measure what is named, and print it; 2 for another name."""
    if len(arguments) != 1 or arguments[0] not in NAMES:
        print(f"Usage: python -m benchmarks.aws {'|'.join(NAMES)}", file=sys.stderr)
        return 2
    print(json.dumps(NAMES[arguments[0]](), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
