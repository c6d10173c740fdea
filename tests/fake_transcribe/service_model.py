"""AWS's own description of its service, as botocore ships it, as the judge of requests and answers."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from botocore.session import get_session


@cache
def service() -> Any:
    """Return the model of AWS Transcribe."""
    return get_session().get_service_model("transcribe")


def refusal(operation: str, request: dict[str, Any]) -> str | None:
    """Return AWS's sentence about a request that its model does not allow, or None."""
    found = list(_violations(service().operation_model(operation).input_shape, request, ""))
    if not found:
        return None
    return f"{len(found)} validation error{'s' * (len(found) > 1)} detected: {'; '.join(found)}"


def check_answer(operation: str, answer: dict[str, Any]) -> None:
    """Raise AssertionError for an answer that AWS could not give: unknown members, wrong types, values or names."""
    shape = service().operation_model(operation).output_shape
    if shape is None:
        assert not answer
        return
    assert not (found := list(_violations(shape, answer, ""))), found


def _violations(shape: Any, value: Any, path: str) -> Any:
    kind = shape.type_name
    place = path or "request"
    if kind == "structure":
        if not isinstance(value, dict):
            yield f"Value at '{place}' is no structure"
            return
        for name in shape.required_members:
            if name not in value:
                yield f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
        for name, member in value.items():
            if name not in shape.members:
                yield f"Unknown member '{_join(path, name)}'"
            else:
                yield from _violations(shape.members[name], member, _join(path, name))
        return
    types: dict[str, Any] = {
        "string": str, "integer": int, "boolean": bool, "list": list, "map": dict, "timestamp": (int, float),
        "float": (int, float),
    }  # fmt: skip
    if not isinstance(value, types[kind]) or (kind == "integer" and isinstance(value, bool)):
        yield f"Value at '{place}' is no {kind}"
        return
    constraint = _constraint(shape, value, kind)
    if constraint:
        yield f"Value '{value}' at '{place}' failed to satisfy constraint: {constraint}"
    if kind == "list":
        for index, each in enumerate(value, start=1):
            yield from _violations(shape.member, each, f"{path}.{index}.member")


def _constraint(shape: Any, value: Any, kind: str) -> str | None:
    enum = getattr(shape, "enum", None)
    if kind == "string" and enum and value not in enum:
        return f"Member must satisfy enum value set: [{', '.join(enum)}]"
    limits = shape.metadata
    size = value if kind == "integer" else len(value) if kind in {"string", "list", "map"} else None
    what = "value" if kind == "integer" else "length"
    if size is not None and "max" in limits and size > limits["max"]:
        return f"Member must have {what} less than or equal to {limits['max']}"
    if size is not None and "min" in limits and size < limits["min"]:
        return f"Member must have {what} greater than or equal to {limits['min']}"
    pattern = limits.get("pattern")
    if kind == "string" and pattern and not re.search(pattern.replace("\\p{", "[^\\0]|{"), value):
        return f"Member must satisfy regular expression pattern: {pattern}"
    return None


def _join(path: str, name: str) -> str:
    """Return a member's path as AWS writes it: each name begins small."""
    small = name[:1].lower() + name[1:]
    return f"{path}.{small}" if path else small
