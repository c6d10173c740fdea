"""AWS's own client library: connections, and what its errors mean to us.

Credentials, region and endpoints come from AWS's own variables and files, as the library reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from batchscribe.errors import ConfigurationError, EngineRefused, EngineUnavailable, MediaTooLong

#: A call is answered in this time, or it is not known what became of it.
CONNECT_SECONDS, READ_SECONDS = 5.0, 20.0

#: What AWS says where a request would be granted another time. The HTTP status alone does not tell.
_WAIT_CODES = frozenset(
    {
        "LimitExceededException", "LimitExceededConcurrentJobException", "ThrottlingException", "Throttling",
        "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded", "RequestThrottled", "SlowDown",
        "ServiceUnavailable", "ServiceUnavailableException", "InternalFailureException", "InternalFailure",
        "InternalServerError", "InternalError", "RequestTimeout", "RequestTimeTooSkewed",
    }
)  # fmt: skip
#: What it says where credentials or permissions must be mended first.
_DENIED_CODES = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException",
        "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidAccessKeyId",
        "InvalidToken", "IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
        "OptInRequired", "SubscriptionRequiredException", "AuthFailure", "UnauthorizedOperation", "NotAuthorized",
    }
)  # fmt: skip


def connect(service: str, *, region: str = "", tries: int = 1, read_seconds: float = READ_SECONDS) -> Any:  # noqa: ANN401 - untyped
    """Return a client of one AWS service. Raises ConfigurationError where the library or the region is missing.

    With one try every call counts against a quota once: who calls tries again when there is room.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise ConfigurationError(
            "The AWS engine needs AWS's client library: install it with `pip install 'batchscribe[aws]'`."
        ) from error
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"total_max_attempts": tries, "mode": "standard"},
        max_pool_connections=32,
    )
    try:
        return boto3.session.Session().client(service, region_name=region or None, config=config)
    except BotoCoreError as error:
        raise ConfigurationError(f"AWS cannot be used: {error} Set AWS_REGION, or a profile that has one.") from error


def error_of(error: BaseException) -> tuple[str, str]:
    """Return the code and the sentence of AWS's answer."""
    answer = getattr(error, "response", {}).get("Error", {})
    return str(answer.get("Code", "")), str(answer.get("Message", "") or error)


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Turn what AWS's client library raises into EngineUnavailable, or into EngineRefused where AWS says a plain no."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    try:
        yield
    except ClientError as error:
        code, sentence = error_of(error)
        if code == "LimitExceededException" and "too long" in sentence:
            raise MediaTooLong(sentence) from error
        if code in _DENIED_CODES:
            raise EngineUnavailable(f"AWS refuses {what}: {code}: {sentence}", is_access_denied=True) from error
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _WAIT_CODES or status >= 500 or "Rate exceeded" in sentence or "too many jobs" in sentence.lower():
            raise EngineUnavailable(f"AWS asks to wait with {what}: {code}: {sentence}") from error
        raise EngineRefused(sentence) from error
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
        raise EngineUnavailable(f"There are no AWS credentials for {what}: {error}", is_access_denied=True) from error
    except ParamValidationError as error:
        raise EngineRefused(f"AWS does not take the request: {error}") from error
    except (BotoCoreError, OSError) as error:
        raise EngineUnavailable(f"AWS does not answer {what}: {error}") from error
