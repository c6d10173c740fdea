"""The web origins whose pages may use the server from a browser (RFC 6454, section 6.2; the Fetch Standard, 3.2)."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

#: Stands for every origin.
ANY_ORIGIN = "*"

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def read_origins(text: str) -> tuple[str, ...]:
    """Return origins, with commas between them, as browsers write them. Raises ValueError with a sentence."""
    origins = tuple(dict.fromkeys(_read_origin(each.strip()) for each in text.split(",") if each.strip()))
    if ANY_ORIGIN in origins and len(origins) > 1:
        raise ValueError("* is for every origin: name it alone, or name the origins")
    return origins


def _read_origin(text: str) -> str:
    if text == ANY_ORIGIN:
        return text
    try:
        parts = urlsplit(text.lower())
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text} is not an origin") from error
    host = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc
    is_origin = parts.scheme in _DEFAULT_PORTS and _HOST.fullmatch(host) and not parts.query + parts.fragment
    if not is_origin or parts.path not in {"", "/"} or "?" in text or "#" in text:
        raise ValueError(f"{text} is not an origin: it must be like https://app.example.com or http://localhost:3000")
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in {None, _DEFAULT_PORTS[parts.scheme]} else "")
