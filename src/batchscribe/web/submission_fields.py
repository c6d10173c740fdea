"""A submission as JSON: the form's fields as an object, for recordings that do not come with it."""

from __future__ import annotations

from typing import Any

from multipart import parse_options_header
from starlette.requests import Request

from batchscribe.domain.submission import FIELDS, SOURCE_FIELDS
from batchscribe.errors import InvalidRequest
from batchscribe.web.json_body import check_text, json_object


def is_json(request: Request) -> bool:
    """Whether the body says that it is JSON."""
    media_type: str = parse_options_header(request.headers.get("content-type", ""))[0]
    return media_type == "application/json"


async def submission_fields(request: Request) -> dict[str, str]:
    """Return the fields of a submission as a form would have them; others are ignored. Raises InvalidRequest."""
    data = await json_object(request)
    return {name: _text(name, data[name]) for name in FIELDS + SOURCE_FIELDS if data.get(name) is not None}


def _text(name: str, value: Any) -> str:  # noqa: ANN401 - JSON
    """Write a value of JSON as a form has it; a list of strings with commas. Raises InvalidRequest."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in texts):
        raise InvalidRequest(f"Invalid {name}. Must be a string, a number, true, false, or a list of strings")
    for each in texts:
        check_text(each, name)
    return ",".join(texts)
