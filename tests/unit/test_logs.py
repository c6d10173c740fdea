"""What the log looks like."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from batchscribe.logs import LineFormatter, configure_logs


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """Return a logger of the test's own, and where its lines go."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    logger = logging.getLogger("batchscribe.test")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)
    handler.close()


def test_a_record_is_one_line_with_its_facts_behind_it(log: tuple[logging.Logger, io.StringIO]) -> None:
    """Level, part, sentence, and each extra field as ``key=value``."""
    logger, stream = log
    logger.info("job %s", "failed", extra={"job_name": "transcribe-1", "code": "media_damaged"})
    line = stream.getvalue()
    assert line.endswith(" INFO batchscribe.test: job failed job_name=transcribe-1 code=media_damaged\n")


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u2028", "\x85", "\x0b", "\x1b[2K"])
def test_nothing_from_outside_begins_a_line(log: tuple[logging.Logger, io.StringIO], end: str) -> None:
    """A file name or header with line ends or terminal codes in it cannot forge a line, with a trace or without."""
    logger, stream = log
    forged = f"name{end}2026-01-01 00:00:00,000 INFO batchscribe: all is well"
    logger.warning("upload of %s", forged, extra={"file_name": forged})
    assert len(stream.getvalue().splitlines()) == 1
    try:
        raise ValueError(forged)  # noqa: TRY301 - a trace is wanted
    except ValueError:
        logger.exception("upload of %s", forged)
    lines = stream.getvalue().splitlines()
    assert [line for line in lines if line.startswith("2026-01-01")] == []
    assert all(line.startswith("    ") for line in lines[2:])
    assert all(line.isprintable() for line in lines)


def test_a_trace_stands_below_its_record(log: tuple[logging.Logger, io.StringIO]) -> None:
    """An unforeseen error is logged with the way to it."""
    logger, stream = log
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logger.exception("work on a job failed", extra={"job_name": "transcribe-1"})
    first, *trace = stream.getvalue().splitlines()
    assert first.endswith("work on a job failed job_name=transcribe-1")
    assert trace[0] == "    Traceback (most recent call last):"
    assert trace[-1] == "    ZeroDivisionError: division by zero"


def test_configuring_twice_writes_each_line_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both halves of the server configure the log, and a process may do so twice."""
    root, ours = logging.getLogger(), logging.getLogger("batchscribe")
    before = root.handlers[:], root.level, ours.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        configure_logs("INFO")
        configure_logs("INFO")
        logging.getLogger("batchscribe.part").info("heard")
        logging.getLogger("somebody.else").info("not heard")
        logging.getLogger("batchscribe.part").debug("not heard")
        root.handlers[0].close()
    finally:
        root.handlers[:], root.level, ours.level = before[0], before[1], before[2]
        root.setLevel(before[1])
        ours.setLevel(before[2])
    assert [line.split(": ")[1] for line in stream.getvalue().splitlines()] == ["heard"]
