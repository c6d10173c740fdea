"""What the log looks like, and how it reaches standard error without anybody waiting for it.

As text a record is one line with the job's name and other facts as ``key=value`` behind the sentence; as JSON it is one
object a line. A thread of its own writes the lines, so that a reader that has stopped to read never stops the server.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any

from batchscribe.hiding import Hider

_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

#: So many lines wait for whoever reads them; what comes then is dropped and counted.
MOST_WAITING_LINES = 2_000
#: Characters of a sentence or a field, and of a trace, beyond which the middle is left out.
LONGEST_TEXT = 4_000
LONGEST_TRACE = 16_000
#: How long the end of a process waits for its last lines to be read.
FLUSH_SECONDS = 2.0


class LineFormatter(logging.Formatter):
    """Writes a record on one line: nothing that comes from outside can begin a line of its own."""

    def __init__(self, hide: Hider | None = None) -> None:
        """Begin each line with the time, the level and the part that speaks; ``hide`` takes secrets out."""
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._hide = hide or Hider()

    def format(self, record: logging.LogRecord) -> str:
        """Write the record, its extra fields behind the sentence."""
        record.message = _said(record.getMessage(), self._hide)
        record.asctime = self.formatTime(record)
        text = self.formatMessage(record) + "".join(
            f" {name}={value}" for name, value in _fields(record, self._hide).items()
        )
        # A trace has lines of its own, and an error's words may come from outside: none of them begins a line.
        return "\n    ".join(_printable(each) for each in (text, *_trace(record, self._hide).splitlines()))


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object: ``time`` (UTC), ``level``, ``logger``, ``message``, then its extra fields.

    A trace is in ``exception``. ``hide`` takes secrets out.
    """

    def __init__(self, hide: Hider | None = None) -> None:
        super().__init__()
        self._hide = hide or Hider()

    def format(self, record: logging.LogRecord) -> str:
        """Write the record in ASCII, on one line whatever is in it."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _said(record.getMessage(), self._hide),
        }
        content |= {name: value for name, value in _fields(record, self._hide).items() if name not in content}
        if trace := _trace(record, self._hide):
            content["exception"] = trace
        return json.dumps(content)


class Outlet(QueueHandler):
    """Hands each record, already written out, to the thread that writes to a stream; never waits."""

    def __init__(self, stream: IO[str], formatter: logging.Formatter) -> None:
        """Begin to write; :meth:`close` ends it."""
        self._lines: SimpleQueue[Any] = SimpleQueue()
        super().__init__(self._lines)
        self.setFormatter(formatter)
        self._dropped = 0
        self._listener = _Listener(self._lines, stream)
        self._listener.start()

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Write the record out here and now: what it speaks of may be another by the time it is read."""
        return logging.makeLogRecord({"msg": self.format(record), "levelno": record.levelno})

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put a line in the queue, unless too many wait; the next one that finds room says how many were dropped."""
        if self._lines.qsize() >= MOST_WAITING_LINES:
            self._dropped += 1
            return
        self._tell_dropped()
        self._lines.put(record)

    def close(self) -> None:
        """Write what waits, for up to :data:`FLUSH_SECONDS`, and end the thread. Harmless twice."""
        self._tell_dropped()
        self._listener.end()
        super().close()

    def _tell_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            facts = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "dropped": dropped}
            self._lines.put(self.prepare(logging.makeLogRecord(facts | {"msg": "lines of the log were dropped"})))


class _Listener(QueueListener):
    """Writes the lines; its end does not wait for a reader that has stopped to read."""

    def __init__(self, lines: SimpleQueue[Any], stream: IO[str]) -> None:
        # No handler: whoever hangs in one holds its lock, and at the end Python takes the locks of all handlers.
        super().__init__(lines)
        self._stream = stream

    def handle(self, record: logging.LogRecord) -> None:
        """Write one line; what cannot be written is lost.

        It goes to the stream's descriptor where there is one: Python's own streams have a lock too.
        """
        line = f"{record.getMessage()}\n"
        with suppress(OSError, ValueError):
            try:
                descriptor = self._stream.fileno()
            except OSError:
                self._stream.write(line)
                return
            data = line.encode(errors="backslashreplace")
            while data:
                data = data[os.write(descriptor, data) :]

    def end(self) -> None:
        """End the thread, or leave it behind where it hangs in a write."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self.enqueue_sentinel()
            thread.join(FLUSH_SECONDS)


def configure_logs(level: str, log_format: str = "text", *, secrets: Iterable[str] = ()) -> None:
    """Send the log of our parts, and every library's warnings, to standard error. Harmless twice.

    ``log_format`` is ``text`` or ``json``; ``secrets`` are left out everywhere. ``logging.shutdown``, which
    Python calls at its exit, writes what waits.
    """
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, Outlet):
            handler.close()
    hide = Hider(secrets)
    root.handlers[:] = [Outlet(sys.stderr, JsonFormatter(hide) if log_format == "json" else LineFormatter(hide))]
    root.setLevel(logging.WARNING)
    logging.getLogger("batchscribe").setLevel(level)
    # The durable engine writes by itself, in a form of its own, unless its log has a handler already.
    logging.getLogger("dbos").addHandler(logging.NullHandler())
    threading.excepthook = _log_end_of_thread
    # In the log's form, after its other lines and without secrets; Python's own hook would write between them.
    sys.excepthook = _log_end_of_process


def _log_end_of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger(__name__).critical("the process ends", exc_info=(kind, error, trace))


def _log_end_of_thread(end: threading.ExceptHookArgs) -> None:
    if end.exc_value is not None:
        trace = (end.exc_type, end.exc_value, end.exc_traceback)
        logging.getLogger(__name__).error("a thread ended", exc_info=trace, extra={"thread_of": str(end.thread)})


def _fields(record: logging.LogRecord, hide: Hider) -> dict[str, Any]:
    """Return the record's extra fields; numbers stay numbers."""
    extra = {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}
    return {name: value if _is_plain(value) else _said(str(value), hide) for name, value in extra.items()}


def _is_plain(value: object) -> bool:
    """Whether JSON has a word for the value that needs no checking."""
    return value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _trace(record: logging.LogRecord, hide: Hider) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return _said("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"), hide, LONGEST_TRACE)


def _said(text: str, hide: Hider, longest: int = LONGEST_TEXT) -> str:
    """Return a text without the secrets in it, and not too long."""
    if len(text) <= longest:
        return hide(text)
    # Half of a secret, where the middle begins, would not be known for one.
    return f"{hide(text[:longest])[: longest // 2]} [...] {hide(text[-longest:])[-(longest // 2) :]}"


def _printable(text: str) -> str:
    """Write line ends and terminal codes as Python would."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
