"""``python -m benchmarks [NAME...]``: run the named measurements, or all; each prints a table.

Words after a single name that are no names themselves are its own: ``python -m benchmarks memory 240 --speakers``.
"""

from __future__ import annotations

import importlib
import sys

#: In the order in which they are run; each module has ``main()``.
NAMES = (
    "overhead",
    "upload",
    "tus",
    "polls",
    "doors",
    "error_rates",
    "speed",
    "memory",
    "formats",
    "speakers",
    "word_times",
    "silence",
    "languages",
    "vocabularies",
    "features",
)


def main() -> None:
    """Run what is asked for."""
    asked = sys.argv[1:] or list(NAMES)
    count = next((number for number, word in enumerate(asked) if word not in NAMES), len(asked))
    names, words = asked[:count], asked[count:]
    if words and count != 1:
        raise SystemExit(f"There is no measurement {words[0]}; there are {', '.join(NAMES)}.")
    for name in names:
        print(f"\n## {name}\n", flush=True)
        importlib.import_module(f"benchmarks.{name}").main(*words)


if __name__ == "__main__":
    main()
