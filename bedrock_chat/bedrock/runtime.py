"""The only calls to Bedrock: one client per process, bounded retries that can be seen, and every fault mapped."""

import functools
import itertools
import logging
import os
import random
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

import boto3
import botocore.config
import botocore.eventstream
import botocore.exceptions
import botocore.parsers
import botocore.session
import urllib3.exceptions
from django.conf import settings

from bedrock_chat.bedrock import answers, event_stream, faults, interruption
from bedrock_chat.bedrock.events import Closed, Event, Retrying, Stop, Usage
from bedrock_chat.bedrock.interruption import Interruption
from bedrock_chat.bedrock.request import ModelRequest

logger = logging.getLogger(__name__)

USER_AGENT = "bedrock-chat"
FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0

# ---- The client -----------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_client: Any = None


def client() -> Any:
    """The process's one boto3 client, made at first use.

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


# ---- A call ---------------------------------------------------------------------------------------------------------


class _Progress:
    """What one try has shown so far. `started` is the call's, so that waits between tries count."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.begun = False
        self.usage: Usage | None = None
        self.stop_reason: str | None = None
        self.first_token_ms: int | None = None

    def elapsed_ms(self) -> int:
        return int((time.monotonic() - self.started) * 1000)

    def token(self) -> None:
        if self.first_token_ms is None:
            self.first_token_ms = self.elapsed_ms()

    def note(self, event: Event) -> None:
        self.begun = True
        match event:
            case Usage():
                self.usage = event
            case Stop(reason):
                self.stop_reason = reason

    def closed(self) -> Closed:
        if self.stop_reason is None:
            raise faults.Incomplete
        return Closed(self.usage, self.stop_reason, self.elapsed_ms(), self.first_token_ms)


def call(request: ModelRequest, *, stream: bool, interrupt: Interruption | None = None) -> Iterator[Event]:
    """Asks the model; yields events, the last one `Closed`. `stream` where somebody listens.

    Raises a `faults.ModelFault`. Throttling and lack of capacity are retried, before the answer has begun and for at
    most `MODEL_RETRY_SECONDS` in all; each wait is told by `Retrying` before it is kept. A timeout is never retried:
    the model may still be at work, and would be paid twice. `interrupt` ends the call at once, also while it waits:
    with the fault that a broken connection is, or with the one it waited for. Closing the generator closes the
    connection.
    """
    started = time.monotonic()
    interrupt = interrupt or Interruption()
    for attempt in itertools.count():
        progress = _Progress(started)
        try:
            streamed = stream and request.streamable
            with closing(_once(request, progress, interrupt, stream=streamed)) as events:
                for event in events:
                    progress.note(event)
                    yield event
            yield progress.closed()
            return
        except faults.ModelFault as fault:
            if not interrupt.requested:
                _report(fault, request)
            if progress.stop_reason is not None:
                break  # the answer is complete; only what follows it, the usage, is lost
            wait = _wait(fault, attempt)
            if progress.begun or wait is None or time.monotonic() + wait > started + settings.MODEL_RETRY_SECONDS:
                raise
            refusal = fault
            interrupt.asked = False
        yield Retrying(wait)
        if interrupt.wait(wait):
            raise refusal
    yield progress.closed()


def _wait(fault: faults.ModelFault, attempt: int) -> float | None:
    """Seconds before the next try: exponential, with jitter, and no less than Bedrock asks for. None: do not retry."""
    if not fault.retried:
        return None
    backoff = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt, 10)) * random.uniform(0.5, 1.0)  # noqa: S311  jitter
    return max(backoff, fault.retry_after or 0.0)


def _report(fault: faults.ModelFault, request: ModelRequest) -> None:
    """Faults only an operator can mend are errors in the log; never with a word of the prompt."""
    level = logging.ERROR if fault.for_operators else logging.WARNING
    logger.log(level, "bedrock fault %s for %s in %s", fault.code, request.target.model_id, request.target.region)


def _once(request: ModelRequest, progress: _Progress, interrupt: Interruption, *, stream: bool) -> Generator[Event]:
    try:
        model_id, send = request.target.model_id, client().converse_stream if stream else client().converse
        with interrupt.of_this_thread():
            response = send(modelId=model_id, **request.body)
        if stream:
            events = response["stream"]
            try:
                yield from answers.read_stream(_frames(events), progress.token)
            finally:
                _give_back(events)
        else:
            yield from answers.read_whole(response)
    except Exception as error:
        fault = fault_of(error)
        if fault is None or fault is error:
            raise
        raise fault from error


def _frames(events: Any) -> Iterable[Any]:
    """A stream's frames by our own decoder, where botocore still keeps the body where it did; else by botocore's."""
    body = getattr(events, "_raw_stream", None)
    return events if body is None else event_stream.decode(body.stream())


def _give_back(events: Any) -> None:
    """Closes a stream, and puts its place back into the pool now rather than when garbage is collected.

    `close()` alone leaves an unfinished stream's place taken: its response lives on in the traceback of the fault, and
    fills the pool over its size when it goes. A stream that was read to its end has given its connection back.
    """
    events.close()
    if release := getattr(getattr(events, "_raw_stream", None), "release_conn", None):
        release()


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
