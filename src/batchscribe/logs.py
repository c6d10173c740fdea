"""What the log looks like: one line an event, with the job's name and other facts as ``key=value`` behind it."""

from __future__ import annotations

import logging
import sys

_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class LineFormatter(logging.Formatter):
    """Writes a record on one line: nothing that comes from outside can begin a line of its own."""

    def __init__(self) -> None:
        """Begin each line with the time, the level and the part that speaks."""
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Write the record, its extra fields behind the sentence."""
        fields = {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        text = self.formatMessage(record) + "".join(f" {name}={value}" for name, value in fields.items())
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        # A trace has lines of its own, and an error's words may come from outside: none of them begins a line.
        return "\n    ".join(_printable(each) for each in (text, *trace.splitlines()))


def _printable(text: str) -> str:
    """Write line ends and terminal codes as Python would."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def configure_logs(level: str) -> None:
    """Send the log of our parts to standard error. Harmless twice."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("batchscribe").setLevel(level)
