"""JSON that a client sends: bounded, checked, and an object."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.requests import Request

from batchscribe.errors import InvalidRequest

MAX_BODY_BYTES = 64 << 10
MAX_DEPTH = 20

#: What PostgreSQL cannot keep in a text: NUL and halves of characters.
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")


async def json_body(request: Request, *, fields: dict[str, type], max_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """Return those fields of an object that are there, each of its type; others are ignored. Raises InvalidRequest.

    A field may be ``str`` or ``list``, which then holds strings. No body at all is an empty object.
    """
    data = await json_object(request, max_bytes=max_bytes)
    found = {name: data[name] for name in fields if data.get(name) is not None}
    for name, value in found.items():
        texts = value if isinstance(value, list) else [value]
        if not isinstance(value, fields[name]) or not all(isinstance(each, str) for each in texts):
            kind = "a list of strings" if fields[name] is list else "a string"
            raise InvalidRequest(f"Invalid {name}. Must be {kind}")
        for each in texts:
            check_text(each, name)
    return found


async def json_object(request: Request, *, max_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """Return the object that a body holds, whatever its fields; no body is an empty one. Raises InvalidRequest."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise InvalidRequest("Content-Encoding is not supported: send the body as it is.")
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > max_bytes:
            raise InvalidRequest(f"The body is longer than {max_bytes} bytes.")
    try:
        text = content.decode("utf-8")
        data = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object) if text else {}
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not JSON in UTF-8.") from None
    if _is_deeper(data, MAX_DEPTH):
        raise InvalidRequest(f"The body's lists and objects are nested deeper than {MAX_DEPTH}.")
    if not isinstance(data, dict):
        raise InvalidRequest("The body is not a JSON object.")
    return data


def _refuse_constant(name: str) -> None:
    """Refuse what Python reads and JSON does not have: NaN and the infinities."""
    raise ValueError(name)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; a field that is there twice would be read differently by others."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a field is there twice")
    return made


def _is_deeper(data: object, levels: int) -> bool:
    """Whether lists and objects are nested deeper than so many levels."""
    layer = [data]
    for _ in range(levels + 1):
        inner = [
            list(each.values()) if isinstance(each, dict) else each for each in layer if isinstance(each, (dict, list))
        ]
        if not inner:
            return False
        layer = [each for members in inner for each in members]
    return True


def check_text(text: str, name: str) -> None:
    """Raise InvalidRequest for what JSON can hold and a database cannot: half a character, or a zero byte."""
    if _UNKEEPABLE.search(text):
        raise InvalidRequest(f"Invalid {name}. It has characters that no text has")
