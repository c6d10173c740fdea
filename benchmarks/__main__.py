"""``python -m benchmarks [NAME...]``: run the named measurements, or all; each prints a table."""

from __future__ import annotations

import importlib
import sys

#: In the order in which they are run; each module has ``main()``.
NAMES = (
    "overhead",
    "upload",
    "polls",
    "doors",
    "error_rate",
    "speed",
    "memory",
    "formats",
    "speakers",
    "word_times",
    "silence",
)


def main() -> None:
    """Run what is asked for."""
    asked = sys.argv[1:] or list(NAMES)
    unknown = [name for name in asked if name not in NAMES]
    if unknown:
        raise SystemExit(f"There is no measurement {unknown[0]}; there are {', '.join(NAMES)}.")
    for name in asked:
        print(f"\n## {name}\n", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
