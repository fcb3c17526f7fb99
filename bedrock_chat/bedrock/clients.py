"""boto3's clients of Bedrock, and the mapping of its exceptions to our faults. Every call to Bedrock needs both."""

import os
import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import boto3
import botocore.config
import botocore.eventstream
import botocore.exceptions
import botocore.parsers
import botocore.session
import urllib3.exceptions
from django.conf import settings

from bedrock_chat.bedrock import connections, faults, request_bodies, service_models
from bedrock_chat.bedrock.converse_calls import ConverseCalls

USER_AGENT = "bedrock-chat"
CREDENTIALS_TIMEOUTS = botocore.config.Config(
    connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}
)

CONTROL_READ_SECONDS = 15.0
AGENT_READ_SECONDS = 300.0
"""The longest that a call of a tool may take. Each has a deadline of its own."""

_lock = threading.Lock()
_client: Any = None
_converse: ConverseCalls | None = None
_others: dict[str, Any] = {}
"""The clients of Bedrock's other services, by the names of these."""


def bedrock_runtime() -> Any:
    """The process's only client of the Bedrock Runtime, created at first use.

    Creating a client takes 100 ms or more; calling it is thread-safe. A fixed User-Agent saves 16 % of a call's CPU
    time, and leaving out botocore's parameter validation 8 % (measured). Instead, tests check our requests against
    botocore's service model.
    """
    global _client, _converse  # noqa: PLW0603  one client per process
    client = _client
    if client is None:
        with _lock:
            if _client is None:
                client = _make_client()
                _converse = ConverseCalls(client)
                _client = client
            client = _client
    return client


def converse_calls() -> ConverseCalls:
    """Converse and ConverseStream of that client."""
    bedrock_runtime()
    assert _converse is not None
    return _converse


def bedrock() -> Any:
    """The process's only client of Bedrock's other service, where guardrails are made. Created at first use."""
    url = settings.BEDROCK_CONTROL_ENDPOINT_URL
    return _other("bedrock", partial(_make, "bedrock", url, CONTROL_READ_SECONDS, settings.WORKER_CONCURRENCY))


def agent_runtime() -> Any:
    """The process's only client of the service that searches knowledge bases and asks agents."""
    url = settings.BEDROCK_AGENT_RUNTIME_ENDPOINT_URL
    make = partial(_make, "bedrock-agent-runtime", url, AGENT_READ_SECONDS, settings.TURNS)
    return _other("bedrock-agent-runtime", make)


def agents() -> Any:
    """The process's only client of the service that describes agents."""
    url = settings.BEDROCK_AGENT_ENDPOINT_URL
    return _other("bedrock-agent", partial(_make, "bedrock-agent", url, CONTROL_READ_SECONDS, settings.TURNS))


def _other(service: str, make: Callable[[], Any]) -> Any:
    if service not in _others:
        with _lock:
            if service not in _others:
                _others[service] = make()
    return _others[service]


def release(body: Any) -> None:
    """Closes an answer's body and returns its connection to the pool now, not when garbage is collected.

    After `close()` alone an unfinished body still occupies its place in the pool: the traceback of the fault keeps the
    response alive, and its late return overfills the pool. A body that was read to its end has already returned its
    connection.
    """
    body.close()
    if release_connection := getattr(getattr(body, "_raw_stream", body), "release_conn", None):
        release_connection()


def reset() -> None:
    """Closes the clients and drops them, so that the next call creates one from the current settings."""
    global _client  # noqa: PLW0603  one client per process
    with _lock:
        clients = [_client, *_others.values()]
        _client = None
        _others.clear()
    for client in clients:
        if client is not None:
            client.close()


def _make_client() -> Any:
    """The client of the runtime."""
    client = _make("bedrock-runtime", settings.BEDROCK_ENDPOINT_URL, settings.MODEL_READ_TIMEOUT, settings.TURNS)
    request_bodies.install(client)
    return client


def _make(service: str, endpoint_url: str | None, read_timeout: float, most_connections: int) -> Any:
    """A client as the settings say, for AWS or for the emulator, whose calls can be interrupted."""
    emulated = settings.BEDROCK == "emulator"
    # No proxy stands before the emulator, and signature v4 keeps a bearer token for AWS out of its requests.
    emulator_options: dict[str, Any] = {"proxies": {}, "signature_version": "v4"} if emulated else {}
    config = botocore.config.Config(
        retries={"mode": "standard", "total_max_attempts": 1},  # botocore's own retries sleep silently
        connect_timeout=settings.MODEL_CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        max_pool_connections=most_connections,
        tcp_keepalive=True,
        user_agent=USER_AGENT,
        parameter_validation=False,
        **emulator_options,
    )
    session = _emulator_session() if emulated else new_session()
    client = session.client(
        service,
        region_name=settings.BEDROCK_REGION,
        endpoint_url=endpoint_url,
        config=config,
    )
    connections.install(client)
    return client


def new_session() -> Any:
    """A session of this machine's AWS configuration. What it asks by itself, STS for credentials, has time-outs too."""
    core = botocore.session.get_session()
    service_models.install(core)
    core.set_default_client_config(CREDENTIALS_TIMEOUTS)
    return boto3.session.Session(botocore_session=core)


@cache
def _emulator_session() -> Any:
    """A session that reads nothing of this machine's AWS configuration: no credentials, no profile, no files."""
    no_file = (None, None, os.devnull, None)
    core = botocore.session.Session(
        session_vars={"profile": (None, None, None, None), "config_file": no_file, "credentials_file": no_file}
    )
    service_models.install(core)
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
    """The fault for an exception of boto3, botocore or urllib3. While a stream is read, urllib3's arrive unwrapped.

    None for every other exception: it is a mistake in our own code and must not be reported as a fault of Bedrock.
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
    details, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    retry_after = metadata.get("HTTPHeaders", {}).get("retry-after", "")
    in_stream = isinstance(error, botocore.exceptions.EventStreamError)
    return faults.of(
        str(details.get("Code") or ""),
        str(details.get("Message") or ""),
        status=metadata.get("HTTPStatusCode", 0),
        retry_after=float(retry_after) if retry_after.isdigit() else None,
        otherwise=faults.StreamError if in_stream else faults.ModelError,
    )
