"""Small JSON bodies of requests, read and checked."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from batchscribe.errors import InvalidRequest

#: More than any list of words has.
MOST_BODY_BYTES = 256 << 10


async def read_object(request: Request) -> dict[str, Any]:
    """Return the object that a request's body holds. Raises InvalidRequest with a sentence."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BODY_BYTES:
            raise InvalidRequest(f"The body is longer than {MOST_BODY_BYTES} bytes.")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not JSON.") from None
    if not isinstance(data, dict):
        raise InvalidRequest("The body is not a JSON object.")
    return data


def strings_of(data: dict[str, Any], name: str) -> list[str]:
    """Return a field that holds a list of texts. Raises InvalidRequest."""
    value = data.get(name)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidRequest(f"{name} must be a list of texts")
    for each in value:
        check_text(each, name)
    return value


def string_of(data: dict[str, Any], name: str) -> str:
    """Return a field that holds a text. Raises InvalidRequest."""
    value = data.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a text")
    check_text(value, name)
    return value


def check_text(text: str, name: str) -> None:
    """Raise InvalidRequest for what JSON can hold and a database cannot: half a character, or a zero byte."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidRequest(f"{name} has characters that cannot be stored")
