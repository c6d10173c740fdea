"""Takes secrets out of texts that others read: those that the process was given, and whatever looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

HIDDEN = "***"
#: What is shorter is no secret, and would be found in many a word.
LEAST_CHARACTERS = 8

_LOOKS_SECRET = re.compile(
    # The password of an address, and the whole of a key or of a webhook's secret.
    r"(?P<before>://[^\s:/@]*:)[^\s@/]+(?=@)"
    r"|(?P<name>\b(?:X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|password|token|secret"
    r"|api[_-]?key|access[_-]?token)=)[^\s&'\",;]+"
    r"|(?P<scheme>\b(?:Bearer|Basic) )[A-Za-z0-9+/=._~-]{8,}"
    r"|(?P<prefix>\bwhsec_)[A-Za-z0-9+/=]+",
    re.IGNORECASE,
)


class Hider:
    """Replaces secrets in a text by ``***``."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Hide these secrets, as they are and as an address has them, beside what looks like one."""
        spellings = {form for each in secrets if len(each) >= LEAST_CHARACTERS for form in (each, quote(each, safe=""))}
        # The longest first: one may be within another.
        ordered = sorted(spellings, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        """Return the text without them."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return _LOOKS_SECRET.sub(lambda match: (match[match.lastgroup or 0]) + HIDDEN, text)
