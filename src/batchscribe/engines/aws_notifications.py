"""AWS's word that jobs have ended, as SNS posts it to us: whether it is SNS's, and what it says.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import urlopen

from batchscribe.engines.aws_events import ended_job
from batchscribe.errors import ConfigurationError, InvalidRequest, ServiceUnavailable

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

#: Only from these hosts is a certificate taken, and only there is a subscription confirmed.
_SNS_HOST = re.compile(r"sns\.[a-z0-9-]{3,40}\.amazonaws\.com(\.cn)?")
#: What is signed, by type of message, in this order.
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_FETCH_SECONDS = 10.0
_LARGEST_ANSWER_BYTES = 64 << 10
#: Certificates that are remembered; SNS has one a region at a time.
_MOST_CERTIFICATES = 8


def fetch(url: str) -> bytes:
    """Return what an address of SNS answers. Raises ServiceUnavailable."""
    try:
        with urlopen(url, timeout=_FETCH_SECONDS) as answer:  # noqa: S310 - https at SNS alone, checked before
            return bytes(answer.read(_LARGEST_ANSWER_BYTES))
    except OSError as error:
        raise ServiceUnavailable("SNS does not answer at present. Try again in a moment.") from error


class SnsNotifications:
    """Takes the messages of one topic. May be used from any thread."""

    def __init__(self, topic_arn: str, *, fetch: Callable[[str], bytes] = fetch) -> None:
        """Take messages of this topic alone. Raises ConfigurationError where signatures cannot be checked."""
        try:
            import cryptography  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                "BATCHSCRIBE_AWS_TOPIC_ARN needs a library: install it with `pip install 'batchscribe[aws]'`."
            ) from error
        self._topic_arn = topic_arn
        self._fetch = fetch
        self._certificates: dict[str, Certificate] = {}
        self._lock = threading.Lock()

    def receive(self, body: bytes) -> str | None:
        """Return the job whose end a message tells of, or None; confirm a subscription.

        Raises InvalidRequest for what is not SNS's own or of another topic, ServiceUnavailable where SNS is silent.
        """
        message = _read(body)
        if message.get("TopicArn") != self._topic_arn:
            raise InvalidRequest("The message is of another topic.")
        signed = _SIGNED.get(message.get("Type", ""))
        if signed is None:
            raise InvalidRequest("The message is of no known type.")
        self._check_signature(message, signed)
        if message["Type"] == "SubscriptionConfirmation":
            self._fetch(_checked_address(message.get("SubscribeURL", "")))
            return None
        return ended_job(message.get("Message", "")) if message["Type"] == "Notification" else None

    def _check_signature(self, message: dict[str, str], signed: tuple[str, ...]) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.hashes import SHA1, SHA256

        text = "".join(f"{name}\n{message[name]}\n" for name in signed if name in message)
        # SNS signs by SHA-1 unless the topic's SignatureVersion is 2.
        digest = SHA256() if message.get("SignatureVersion") == "2" else SHA1()  # noqa: S303
        certificate = self._certificate(_checked_address(message.get("SigningCertURL", "")))
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            raise InvalidRequest("The message's certificate is not SNS's.")
        try:
            signature = base64.b64decode(message.get("Signature", ""), validate=True)
            key.verify(signature, text.encode(), PKCS1v15(), digest)
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise InvalidRequest("The message's signature is not SNS's.") from error

    def _certificate(self, url: str) -> Certificate:
        from cryptography.x509 import load_pem_x509_certificate

        with self._lock:
            certificate = self._certificates.get(url)
        if certificate is None:
            if not urlsplit(url).path.endswith(".pem"):
                raise InvalidRequest("The message's certificate is not SNS's.")
            try:
                certificate = load_pem_x509_certificate(self._fetch(url))
            except ValueError as error:
                raise InvalidRequest("The message's certificate cannot be read.") from error
        if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
            raise InvalidRequest("The message's certificate is not valid now.")
        with self._lock:
            if len(self._certificates) >= _MOST_CERTIFICATES:
                self._certificates.clear()
            self._certificates[url] = certificate
        return certificate


def _read(body: bytes) -> dict[str, str]:
    """Return a message's fields, all of them texts. Raises InvalidRequest."""
    try:
        message = json.loads(body)
    except ValueError as error:
        raise InvalidRequest("The message is no JSON.") from error
    if not isinstance(message, dict):
        raise InvalidRequest("The message is no JSON object.")
    return {str(name): value for name, value in message.items() if isinstance(value, str)}


def _checked_address(url: str) -> str:
    """Return an address that is SNS's own. Raises InvalidRequest for any other."""
    refusal = InvalidRequest("The message names an address that is not SNS's.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refusal from error
    is_plain = parts.scheme == "https" and port in {None, 443} and "@" not in parts.netloc
    if not is_plain or not _SNS_HOST.fullmatch(parts.hostname or ""):
        raise refusal
    return url
