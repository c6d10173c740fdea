"""Keeps what a caller has told us in confidence unreadable in the database: encrypted under the server's own key."""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken


class Seal:
    """Seals and opens texts of one purpose with Fernet (AES-128-CBC and HMAC-SHA256, github.com/fernet/spec)."""

    def __init__(self, server_key: bytes, *, purpose: str) -> None:
        """Derive the purpose's key from the server's; texts of another purpose cannot be opened with it."""
        key = hmac.new(server_key, f"seal: {purpose}".encode(), hashlib.sha256).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def seal(self, text: str) -> str:
        """Return a text sealed, in ASCII."""
        return self._fernet.encrypt(text.encode()).decode("ascii")

    def open(self, sealed: str) -> str | None:
        """Return what was sealed; None where it was sealed with another key."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            return None
