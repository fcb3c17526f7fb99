"""boto3's clients of Bedrock, and its exceptions as our faults. Whoever calls Bedrock needs both."""

import functools
import os
import threading
from typing import Any

import boto3
import botocore.config
import botocore.eventstream
import botocore.exceptions
import botocore.parsers
import botocore.session
import urllib3.exceptions
from django.conf import settings

from bedrock_chat.bedrock import faults, interruption

USER_AGENT = "bedrock-chat"

_lock = threading.Lock()
_client: Any = None


def bedrock_runtime() -> Any:
    """The process's one client of the Bedrock Runtime, made at first use.

    Making one costs 100 ms and more; calling one is thread-safe. A fixed User-Agent saves 16 % of a call's CPU and the
    parameter validation 8 % (measured); what is sent is held against botocore's model in tests instead.
    """
    global _client  # noqa: PLW0603  one client per process
    if _client is None:
        with _lock:
            if _client is None:
                _client = _make()
    return _client


def reset() -> None:
    """Closes and forgets the client, so that the next call reads the settings anew."""
    global _client
    with _lock:
        old, _client = _client, None
    if old is not None:
        old.close()


def _make() -> Any:
    emulated = settings.BEDROCK == "emulator"
    # An emulator is asked directly, and never sees a bearer token that is meant for AWS.
    direct: dict[str, Any] = {"proxies": {}, "signature_version": "v4"} if emulated else {}
    config = botocore.config.Config(
        retries={"mode": "standard", "total_max_attempts": 1},  # botocore's own retries sleep silently
        connect_timeout=settings.MODEL_CONNECT_TIMEOUT,
        read_timeout=settings.MODEL_READ_TIMEOUT,
        max_pool_connections=settings.TURNS,
        tcp_keepalive=True,
        user_agent=USER_AGENT,
        parameter_validation=False,
        **direct,
    )
    session = _emulator_session() if emulated else boto3.session.Session()
    made = session.client(
        "bedrock-runtime",
        region_name=settings.BEDROCK_REGION,
        endpoint_url=settings.BEDROCK_ENDPOINT_URL,
        config=config,
    )
    interruption.install(made)
    return made


@functools.cache
def _emulator_session() -> Any:
    """A session that reads nothing of this machine's AWS configuration: no account, no profile, no files."""
    unread = (None, None, os.devnull, None)
    core = botocore.session.Session(
        session_vars={"profile": (None, None, None, None), "config_file": unread, "credentials_file": unread}
    )
    return boto3.session.Session("emulator", "emulator", botocore_session=core)


# ---- Faults ---------------------------------------------------------------------------------------------------------

_CREDENTIALS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.MetadataRetrievalError,
    botocore.exceptions.ProfileNotFound,
    botocore.exceptions.NoAuthTokenError,
    botocore.exceptions.TokenRetrievalError,
    botocore.exceptions.SSOError,
    botocore.exceptions.LoginError,
)


def fault_of(error: Exception) -> faults.ModelFault | None:
    """boto3's, botocore's and urllib3's exceptions as ours; in a stream urllib3's come through unwrapped.

    None: a fault of our own code, which is nobody else's to explain.
    """
    match error:
        case faults.ModelFault():
            return error
        case botocore.exceptions.ClientError():
            return _refusal(error)
        case botocore.exceptions.ReadTimeoutError() | urllib3.exceptions.ReadTimeoutError():
            return faults.TimedOut(code="ReadTimeout")
        case botocore.exceptions.ConnectionError():
            return faults.Unreachable(code=type(error).__name__)
        case botocore.exceptions.HTTPClientError() | urllib3.exceptions.HTTPError() | OSError():
            return faults.ConnectionCut()
        case botocore.eventstream.ParserError() | botocore.parsers.ResponseParserError():
            return faults.Unreadable()
        case _ if isinstance(error, _CREDENTIALS):
            return faults.NoCredentials()
        case botocore.exceptions.BotoCoreError():
            return faults.ModelError(code=type(error).__name__)
    return None


def _refusal(error: botocore.exceptions.ClientError) -> faults.ModelFault:
    response: Any = error.response
    described, answer = response.get("Error", {}), response.get("ResponseMetadata", {})
    after = answer.get("HTTPHeaders", {}).get("retry-after", "")
    in_stream = isinstance(error, botocore.exceptions.EventStreamError)
    return faults.of(
        str(described.get("Code") or ""),
        str(described.get("Message") or ""),
        status=answer.get("HTTPStatusCode", 0),
        retry_after=float(after) if after.isdigit() else None,
        otherwise=faults.StreamError if in_stream else faults.ModelError,
    )
