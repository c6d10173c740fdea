"""The gate before every route: whose key it is, what it may do, and how often."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchscribe.domain.origins import ANY_ORIGIN
from batchscribe.errors import ServiceUnavailable
from batchscribe.web.errors import RETRY_AFTER_SECONDS, error_answer

if TYPE_CHECKING:
    from batchscribe.domain.keys import ApiKey
    from batchscribe.key_ring import KeyRing

T = TypeVar("T")

#: Paths that anybody may ask: supervisors, load balancers, readers of the documentation; and AWS, which can send no key
#: but signs what it sends.
OPEN_PATHS = frozenset(
    {"/health", "/readyz", "/docs", "/docs/start.js", "/openapi.json", "/schemas/transcript.json", "/aws-notifications"}
)
_OPEN_PREFIX = "/docs/assets/"
#: So many keys' rates are remembered; a new one begins with a full bucket.
_MOST_BUCKETS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whom the server is open to."""

    #: Whether a request without a key is served as long as there is no key, or always.
    is_open_without_keys: bool = False
    is_open_always: bool = False

    @classmethod
    def at(cls, host: str, *, is_open: bool) -> Access:
        """Return whom a server that listens on this address is open to."""
        return cls(is_open_without_keys=is_loopback(host), is_open_always=is_open)


class _Bucket:
    """A token bucket: as many requests at once as a second allows, then one whenever there is a token."""

    __slots__ = ("at", "tokens")

    def __init__(self, burst: float, at: float) -> None:
        self.tokens, self.at = burst, at

    def take(self, rate: float, burst: float, at: float) -> bool:
        self.tokens = min(burst, self.tokens + (at - self.at) * rate)
        self.at = at
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Gate:
    """ASGI middleware that lets requests with a good key in, and those without one where the server is open."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        ring: KeyRing,
        access: Access,
        origins: tuple[str, ...] = (),
        reads_may_wait: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._ring = ring
        self._access = access
        self._origins = origins
        self._reads_may_wait = reads_may_wait
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or answer in the application's place."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or scope["path"].startswith(_OPEN_PREFIX):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        text = _sent_key(headers)
        try:
            key = None if text is None else await self._ask(lambda: self._ring.opened_by(text))
            refusal = await self._refusal(scope["method"], headers, text, key)
        except ServiceUnavailable as error:
            retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            await error_answer(HTTPStatus.SERVICE_UNAVAILABLE, error.code, str(error), headers=retry)(
                scope, receive, send
            )
            return
        if refusal is not None:
            status, code, sentence = refusal
            more = {"WWW-Authenticate": 'Bearer realm="batchscribe"'} if status is HTTPStatus.UNAUTHORIZED else {}
            await error_answer(status, code, sentence, headers=more)(scope, receive, send)
            return
        if key is None:
            await self._app(scope, receive, send)
            return
        needed = _needed_scope(scope["method"], scope["path"])
        if needed not in key.scopes:
            sentence = f"This key may not do that: it lacks the scope {needed}."
            await error_answer(HTTPStatus.FORBIDDEN, "scope_missing", sentence)(scope, receive, send)
            return
        scope["batchscribe.owner"], scope["batchscribe.key"] = key.id, key
        await self._within_rate(key, scope, receive, send)

    async def _refusal(
        self, method: str, headers: Headers, text: str | None, key: ApiKey | None
    ) -> tuple[HTTPStatus, str, str] | None:
        """Return why a request is not let in, or None."""
        if key is not None:
            return None
        if text is not None:
            return HTTPStatus.UNAUTHORIZED, "key_refused", "The API key is unknown, expired or revoked."
        if self._access.is_open_always:
            return None
        if not self._access.is_open_without_keys or await self._ask(self._ring.has_keys):
            return (
                HTTPStatus.UNAUTHORIZED,
                "key_missing",
                ("An API key is needed: send it as Authorization: Bearer KEY or X-API-Key."),
            )
        return self._refusal_of_page(method, headers)

    def _refusal_of_page(self, method: str, headers: Headers) -> tuple[HTTPStatus, str, str] | None:
        """Return why a request without a key may be a foreign page's doing, and is not let in; or None."""
        # A page of another site may have its name lead to this machine; the browser then sends that name.
        if not is_loopback(_host_name(headers.get("host", ""))):
            return (
                HTTPStatus.MISDIRECTED_REQUEST,
                "host_not_allowed",
                ("Without API keys only this machine is served, under its own names such as localhost."),
            )
        # Any page may have a browser send forms and text here, unasked; whose page it is, the browser says.
        origin = headers.get("origin")
        if method not in _ASKING and origin is not None and not self._is_let_in(origin, headers.get("host", "")):
            return (
                HTTPStatus.FORBIDDEN,
                "origin_not_allowed",
                ("Without API keys, pages of other origins may change nothing: see BATCHSCRIBE_CORS_ORIGINS."),
            )
        return None

    def _is_let_in(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may change things: one of this server's own, or one that is named."""
        is_own = origin.partition("://")[2].lower() == host.lower()
        return is_own or origin in self._origins or ANY_ORIGIN in self._origins

    async def _within_rate(self, key: ApiKey, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request of a key, or refuse it where the key has had its share of this second."""
        rate = key.quotas.requests_per_second
        if rate is None:
            await self._app(scope, receive, send)
            return
        burst, now = max(1.0, rate), self._clock()
        bucket = self._buckets.get(key.id)
        if bucket is None:
            if len(self._buckets) >= _MOST_BUCKETS:
                self._buckets.clear()
            bucket = self._buckets[key.id] = _Bucket(burst, now)
        is_granted = bucket.take(rate, burst, now)
        reset = max(0.0, (1 - bucket.tokens) / rate)
        shown = {
            "RateLimit-Limit": f"{burst:.0f}",
            "RateLimit-Remaining": f"{int(bucket.tokens)}",
            "RateLimit-Reset": f"{math.ceil(reset)}",
        }

        async def send_with_rate(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(shown)
            await send(message)

        if is_granted:
            await self._app(scope, receive, send_with_rate)
            return
        sentence = f"More than {rate:g} requests a second with this key."
        answer = error_answer(
            HTTPStatus.TOO_MANY_REQUESTS,
            "rate_exceeded",
            sentence,
            headers={"Retry-After": f"{max(1, math.ceil(reset))}"},
        )
        await answer(scope, receive, send_with_rate)

    async def _ask(self, question: Callable[[], T]) -> T:
        return await run_in_threadpool(question) if self._reads_may_wait else question()


_ASKING = frozenset({"GET", "HEAD", "OPTIONS"})


def _needed_scope(method: str, path: str) -> str:
    """Return what a key must be allowed for a request. Who reads secrets could pass for the server."""
    if path == "/metrics":
        return "metrics"
    # Whoever uploads must be able to ask how far it is.
    if path == "/files" or path.startswith("/files/"):
        return "write"
    return "read" if method in _ASKING and not path.endswith(("/secret", "/webhook-secret")) else "write"


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.lower().endswith(".localhost")


def _host_name(host: str) -> str:
    """Return the header ``Host`` without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _sent_key(headers: Headers) -> str | None:
    """Return the key that a request brings."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-api-key")
