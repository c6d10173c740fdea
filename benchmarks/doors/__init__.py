"""``python -m benchmarks.doors [NAME...]``: webhooks, streams, hostile clients and keys, on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.doors.hostile import hostile
from benchmarks.doors.keys import keys
from benchmarks.doors.streams import streams
from benchmarks.doors.webhooks import webhooks

MEASUREMENTS: dict[str, Callable[[], None]] = {
    "webhooks": webhooks,
    "streams": streams,
    "hostile": hostile,
    "keys": keys,
}


def main() -> None:
    """Run what is named, or all."""
    asked = sys.argv[1:] if Path(sys.argv[0]).parent.name == "doors" else []
    for name in asked or MEASUREMENTS:
        print(f"\n### {name}\n", flush=True)
        MEASUREMENTS[name]()
