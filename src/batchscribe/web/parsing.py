"""A parser of HTTP that begins in the middle."""

from __future__ import annotations

from collections.abc import Iterable

import httptools


def parser_in_body(protocol: object, framing: Iterable[tuple[bytes, bytes]]) -> httptools.HttpRequestParser:
    """Return a parser that has read the headers which say how long a body is, and expects that body.

    ``protocol`` is called back for those headers too.
    """
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in framing)
    parser.feed_data(b"POST / HTTP/1.1\r\n" + lines + b"\r\n")
    return parser
