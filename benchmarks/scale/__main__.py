"""``python -m benchmarks.scale measure|validate|questions``: see docs/scale.md."""

from __future__ import annotations

import importlib
import sys

NAMES = ("measure", "validate", "questions")


def main() -> None:
    """Run what is asked for; further words are its own."""
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        raise SystemExit(f"Say what: {', '.join(NAMES)}.")
    importlib.import_module(f"benchmarks.scale.{sys.argv[1]}").main(*sys.argv[2:])


if __name__ == "__main__":
    main()
