"""The fault matrix: runs the tests of every row in their long versions and prints what each measured, as a table.

``python -m benchmarks.faults`` runs every row, ``python -m benchmarks.faults F5 F10`` some; ``FAULTS=quick`` the short
versions. What each row injects and promises stands in ``docs/faults.md``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree as ET

REPOSITORY = Path(__file__).parents[1]
ROWS = (
    "F1", "F2", "F3", "F5", "F6", "F8", "F10", "F11", "F16", "F17", "F18", "F19", "F20", "F22", "F23", "F24", "F27",
    "F28", "F29",
)  # fmt: skip


def main() -> int:
    """Print one line a row; return 1 where a promise was broken."""
    asked = sys.argv[1:] or ROWS
    print("| row | result | measured | seconds |")
    print("|---|---|---|---|", flush=True)
    return max(_run(row) for row in asked)


def command_of(row: str) -> list[str]:
    """Return the command that runs a row."""
    return ["pytest", "tests/faults", "-m", f"faults(row='{row}')"]


def _run(row: str) -> int:
    began_at = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run(
            [sys.executable, "-m", *command_of(row), "-q", "-o", "junit_family=xunit1", f"--junitxml={report}"],
            cwd=REPOSITORY,
            env={"FAULTS": "full", **os.environ},
            capture_output=True,
            text=True,
            check=False,
        )
        measured, outcomes = _read(report) if report.exists() else ([], [])
    said = " ".join(
        f"{number} {outcome}" for outcome in ("passed", "failed", "skipped") if (number := outcomes.count(outcome))
    )
    print(
        f"| {row} | {said or 'did not run'} | {'; '.join(measured)} | {time.monotonic() - began_at:.0f} |", flush=True
    )
    if done.returncode:
        print(done.stdout[-5000:], file=sys.stderr)
    return int(done.returncode != 0)


def _read(report: Path) -> tuple[list[str], list[str]]:
    """Return what the tests measured and how each came out."""
    measured, outcomes = [], []
    # Our own file, written a moment ago.
    for case in ET.parse(report).iter("testcase"):  # noqa: S314
        measured += [each.get("value", "") for each in case.iter("property") if each.get("name") == "measured"]
        has_failed = case.find("failure") is not None or case.find("error") is not None
        outcomes.append("failed" if has_failed else "skipped" if case.find("skipped") is not None else "passed")
    return measured, outcomes


if __name__ == "__main__":
    sys.exit(main())
