"""How the addresses of receivers are kept: sealed under the server's key, because they may have a token in them."""

from __future__ import annotations

from dataclasses import replace

from batchscribe.domain.webhooks import Subscription, origin_of
from batchscribe.errors import WebhooksNotSetUp
from batchscribe.sealing import Seal

#: Stands before what is sealed. No receiver's address begins so, and those of before stand in the database in clear.
_MARK = "sealed:"

NO_KEY = "This server sends no webhooks: its operator has set no BATCHSCRIBE_SECRET_KEY."
UNREADABLE = (
    "The address cannot be read: the server's BATCHSCRIBE_SECRET_KEY was changed. "
    "Register the receiver again, or set the key back."
)


class AddressSeal:
    """Seals and opens the addresses of receivers. May be used from any thread."""

    def __init__(self, server_key: bytes | None) -> None:
        """Without a server's key nothing can be sealed, and only what stands in clear is read."""
        self._seal = None if server_key is None else Seal(server_key, purpose="webhook addresses")

    def seal(self, text: str) -> str:
        """Return an address, or a text that has one in it, as it is kept. Raises WebhooksNotSetUp without a key."""
        if self._seal is None:
            raise WebhooksNotSetUp(NO_KEY)
        return _MARK + self._seal.seal(text)

    def open(self, kept: str) -> str | None:
        """Return what is kept, in clear; None where it was sealed under another key."""
        if not kept.startswith(_MARK):
            return kept
        return None if self._seal is None else self._seal.open(kept.removeprefix(_MARK))

    def sealed(self, subscription: Subscription) -> Subscription:
        """Return a subscription as it is kept. Raises WebhooksNotSetUp."""
        return replace(subscription, url=self.seal(subscription.url), origin=origin_of(subscription.url))
