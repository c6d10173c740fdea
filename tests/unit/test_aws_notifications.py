"""Messages of SNS: only its own are taken, whatever they say."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from batchscribe.engines.aws_events import ended_job
from batchscribe.engines.aws_notifications import SnsNotifications
from batchscribe.errors import InvalidRequest

TOPIC = "arn:aws:sns:us-east-1:123456789012:jobs-end"
CERTIFICATE_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem"
EVENT = {
    "source": "aws.transcribe",
    "detail-type": "Transcribe Job State Change",
    "detail": {"TranscriptionJobName": "transcribe-1", "TranscriptionJobStatus": "COMPLETED"},
}


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    """Return the key that plays SNS's."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def certificate(key: RSAPrivateKey, *, days: int = 1) -> bytes:
    """Return a certificate of the key that is valid for so many days."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.PEM)


@pytest.fixture
def fetched() -> list[str]:
    """Return the addresses that were asked for."""
    return []


@pytest.fixture
def notifications(key: RSAPrivateKey, fetched: list[str]) -> SnsNotifications:
    """Return what takes messages of our topic."""
    return SnsNotifications(TOPIC, fetch=fetching(key, fetched))


def fetching(key: RSAPrivateKey, fetched: list[str], *, days: int = 1) -> Callable[[str], bytes]:
    """Return what answers in SNS's place."""

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return certificate(key, days=days) if url.endswith(".pem") else b"confirmed"

    return fetch


def signed(key: RSAPrivateKey, *, version: str = "2", **changes: Any) -> dict[str, Any]:
    """Return a message as SNS signs it."""
    message = {
        "Type": "Notification",
        "MessageId": "1",
        "TopicArn": TOPIC,
        "Message": json.dumps(EVENT),
        "Timestamp": "2026-02-05T10:31:15.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        **changes,
    }
    names = ["Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
    signature = key.sign(text.encode(), PKCS1v15(), SHA256() if version == "2" else SHA1())  # noqa: S303 - as SNS does
    return message | {"Signature": base64.b64encode(signature).decode()}


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_end_of_a_job_is_heard(
    notifications: SnsNotifications, key: RSAPrivateKey, fetched: list[str], version: str
) -> None:
    """By both versions of signatures; the certificate is fetched once."""
    for subject in ({}, {"Subject": "jobs"}):
        body = json.dumps(signed(key, version=version, **subject)).encode()
        assert notifications.receive(body) == "transcribe-1"
    assert fetched == [CERTIFICATE_URL]


def test_a_subscription_is_confirmed(notifications: SnsNotifications, key: RSAPrivateKey, fetched: list[str]) -> None:
    """At SNS's own address."""
    url = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=abc"
    message = signed(key, Type="SubscriptionConfirmation", SubscribeURL=url, Token="abc", Message="You have chosen")
    assert notifications.receive(json.dumps(message).encode()) is None
    assert fetched[-1] == url


@pytest.mark.parametrize(
    "changes",
    [
        {"Message": json.dumps(EVENT | {"detail": {"TranscriptionJobName": "transcribe-2"}})},
        {"Signature": "AAAA"},
        {"Signature": "no base64!"},
        {"Signature": None},
        {"SignatureVersion": "1"},
        {"TopicArn": TOPIC + "-of-somebody-else"},
        {"Type": "Unknown"},
        {"SigningCertURL": "http://sns.us-east-1.amazonaws.com/a.pem"},
        {"SigningCertURL": "https://sns.us-east-1.amazonaws.com.example.com/a.pem"},
        {"SigningCertURL": "https://example.com/sns.us-east-1.amazonaws.com/a.pem"},
        {"SigningCertURL": "https://me@sns.us-east-1.amazonaws.com/a.pem"},
        {"SigningCertURL": "https://sns.us-east-1.amazonaws.com:8443/a.pem"},
        {"SigningCertURL": "https://sns.us-east-1.amazonaws.com:x/a.pem"},
        {"SigningCertURL": "https://sns.us-east-1.amazonaws.com/a.txt"},
    ],
)
def test_what_sns_has_not_signed_is_refused(
    notifications: SnsNotifications, key: RSAPrivateKey, changes: dict[str, Any]
) -> None:
    """A changed message, a foreign topic, and a certificate from elsewhere, which is not even asked for."""
    with pytest.raises(InvalidRequest):
        notifications.receive(json.dumps(signed(key) | changes).encode())


def test_no_address_but_sns_s_is_asked(notifications: SnsNotifications, key: RSAPrivateKey, fetched: list[str]) -> None:
    """Neither for a certificate nor for a confirmation, even where the message is signed."""
    url = "http://169.254.169.254/latest/meta-data"
    message = signed(key, Type="SubscriptionConfirmation", SubscribeURL=url, Token="abc")
    with pytest.raises(InvalidRequest, match="address"):
        notifications.receive(json.dumps(message).encode())
    assert fetched == [CERTIFICATE_URL]


def test_an_expired_certificate_is_refused(key: RSAPrivateKey, fetched: list[str]) -> None:
    """Also one that was fetched from SNS."""
    notifications = SnsNotifications(TOPIC, fetch=fetching(key, fetched, days=-1))
    with pytest.raises(InvalidRequest, match="not valid"):
        notifications.receive(json.dumps(signed(key)).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b"\xff", b'{"Type": 3}'])
def test_what_is_no_message_is_refused(notifications: SnsNotifications, body: bytes) -> None:
    """With a sentence, never with a crash."""
    with pytest.raises(InvalidRequest):
        notifications.receive(body)


@pytest.mark.parametrize(
    "event",
    [
        {**EVENT, "source": "somebody"},
        {**EVENT, "detail-type": "Vocabulary State Change"},
        {**EVENT, "detail": {"TranscriptionJobName": "transcribe-1", "TranscriptionJobStatus": "IN_PROGRESS"}},
        {**EVENT, "detail": {"TranscriptionJobStatus": "COMPLETED", "TranscriptionJobName": 3}},
        {**EVENT, "detail": []},
        [],
    ],
)
def test_other_events_mean_nothing(event: Any) -> None:
    """They are taken and forgotten."""
    assert ended_job(json.dumps(event)) is None
    assert ended_job("no JSON") is None


def test_an_event_may_come_through_a_topic_into_the_queue() -> None:
    """Then SNS's envelope is around it."""
    assert ended_job(json.dumps({"Type": "Notification", "Message": json.dumps(EVENT)})) == "transcribe-1"
