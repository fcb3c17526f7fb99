"""The only calls to Bedrock: one client per process, bounded retries that can be seen, and every fault mapped."""

import functools
import itertools
import json
import logging
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import boto3
import botocore.config
import botocore.eventstream
import botocore.exceptions
import botocore.session
import urllib3.exceptions
from django.conf import settings

from bedrock_chat.bedrock import faults
from bedrock_chat.bedrock.events import (
    Closed,
    Event,
    MessageStart,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    Retrying,
    Stop,
    TextDelta,
    ToolUse,
    Usage,
)
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
    global _client  # noqa: PLW0603
    with _lock:
        old, _client = _client, None
    if old is not None:
        old.close()


def _make() -> Any:
    emulated = settings.BEDROCK == "emulator"
    config = botocore.config.Config(
        retries={"mode": "standard", "total_max_attempts": 1},  # botocore's own retries sleep silently
        connect_timeout=settings.MODEL_CONNECT_TIMEOUT,
        read_timeout=settings.MODEL_READ_TIMEOUT,
        max_pool_connections=settings.TURNS,
        tcp_keepalive=True,
        user_agent=USER_AGENT,
        parameter_validation=False,
        # An emulator is asked directly, and never sees a bearer token that is meant for AWS.
        **({"proxies": {}, "signature_version": "v4"} if emulated else {}),
    )
    session = _emulator_session() if emulated else boto3.session.Session()
    return session.client(
        "bedrock-runtime",
        region_name=settings.BEDROCK_REGION,
        endpoint_url=settings.BEDROCK_ENDPOINT_URL,
        config=config,
    )


@functools.cache
def _emulator_session() -> Any:
    """A session that reads nothing of this machine's AWS configuration: no account, no profile, no files."""
    unread = (None, None, os.devnull, None)
    core = botocore.session.Session(
        session_vars={"profile": (None, None, None, None), "config_file": unread, "credentials_file": unread}
    )
    return boto3.session.Session(aws_access_key_id="emulator", aws_secret_access_key="emulator", botocore_session=core)


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


def call(request: ModelRequest, *, stream: bool, stopped: threading.Event | None = None) -> Iterator[Event]:
    """Asks the model; yields events, the last one `Closed`. `stream` where somebody listens.

    Raises a `faults.ModelFault`. Throttling and lack of capacity are retried, before the answer has begun and for at
    most `MODEL_RETRY_SECONDS` in all; each wait is told by `Retrying` before it is kept, and `stopped` ends it with the
    fault that caused it. A timeout is never retried: the model may still be at work, and would be paid twice. Closing
    the generator closes the connection.
    """
    started = time.monotonic()
    for attempt in itertools.count():
        progress = _Progress(started)
        try:
            with closing(_once(request, progress, stream=stream and request.streamable)) as events:
                for event in events:
                    progress.note(event)
                    yield event
            yield progress.closed()
            return
        except faults.ModelFault as fault:
            _report(fault, request)
            if progress.stop_reason is not None:
                break  # the answer is complete; only what follows it, the usage, is lost
            wait = _wait(fault, attempt)
            if progress.begun or wait is None or time.monotonic() + wait > started + settings.MODEL_RETRY_SECONDS:
                raise
            refusal = fault
        yield Retrying(wait)
        if (stopped or threading.Event()).wait(wait):
            raise refusal
    yield progress.closed()


def _wait(fault: faults.ModelFault, attempt: int) -> float | None:
    """Seconds before the next try: exponential, with jitter, and no less than Bedrock asks for. None: do not retry."""
    if not fault.retried:
        return None
    backoff = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt, 10)) * random.uniform(0.5, 1.0)  # noqa: S311  jitter
    return max(backoff, fault.retry_after or 0.0)


def _report(fault: faults.ModelFault, request: ModelRequest) -> None:
    """Faults only an operator can mend are errors in the log; never with a word of the prompt."""
    level = logging.ERROR if fault.for_operators else logging.WARNING
    logger.log(level, "bedrock fault %s for %s in %s", fault.code, request.target.model_id, request.target.region)


def _once(request: ModelRequest, progress: _Progress, *, stream: bool) -> Iterator[Event]:
    try:
        if stream:
            response = client().converse_stream(modelId=request.target.model_id, **request.body)
            with closing(response["stream"]) as frames:
                yield from _read_stream(frames, progress)
        else:
            yield from _read_answer(client().converse(modelId=request.target.model_id, **request.body))
    except Exception as error:
        fault = fault_of(error)
        if fault is None:
            raise
        raise fault from error


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
            return faults.Cut()
        case botocore.eventstream.ParserError() | botocore.parsers.ResponseParserError():
            return faults.Unreadable()
        case _ if isinstance(error, _CREDENTIALS):
            return faults.NoCredentials()
        case botocore.exceptions.BotoCoreError():
            return faults.ModelError(code=type(error).__name__)
    return None


def _refusal(error: botocore.exceptions.ClientError) -> faults.ModelFault:
    described: dict[str, Any] = error.response.get("Error", {})
    answer: dict[str, Any] = error.response.get("ResponseMetadata", {})
    after = answer.get("HTTPHeaders", {}).get("retry-after", "")
    in_stream = isinstance(error, botocore.exceptions.EventStreamError)
    return faults.of(
        str(described.get("Code") or ""),
        str(described.get("Message") or ""),
        status=answer.get("HTTPStatusCode", 0),
        retry_after=float(after) if after.isdigit() else None,
        otherwise=faults.StreamError if in_stream else faults.ModelError,
    )


# ---- Converse -------------------------------------------------------------------------------------------------------


def _read_answer(response: dict[str, Any]) -> Iterator[Event]:
    """The events of a whole answer. Blocks and members that we do not know are left out."""
    yield MessageStart()
    tools = _ToolUses()
    for index, block in enumerate(response.get("output", {}).get("message", {}).get("content", ())):
        if text := block.get("text"):
            yield TextDelta(_storable(text), index)
        elif use := block.get("toolUse"):
            yield from tools.complete(use["toolUseId"], use["name"], use.get("input", {}), index)
        elif reasoning := block.get("reasoningContent"):
            yield from _read_reasoning({**reasoning, **reasoning.get("reasoningText", {})}, index)
    if "stopReason" in response:
        yield tools.checked(Stop(response["stopReason"]))
    if usage := response.get("usage"):
        yield _usage(usage)


def _read_reasoning(part: dict[str, Any], index: int) -> Iterator[Event]:
    """A union of `text`, `signature` and `redactedContent`: all of a block, or one of its deltas."""
    if text := part.get("text"):
        yield ReasoningDelta(_storable(text), index)
    if signature := part.get("signature"):
        yield ReasoningSignature(signature, index)
    if redacted := part.get("redactedContent"):
        yield RedactedReasoning(redacted, index)


def _usage(usage: dict[str, Any]) -> Usage:
    return Usage(
        usage.get("inputTokens", 0),
        usage.get("outputTokens", 0),
        usage.get("cacheReadInputTokens", 0),
        usage.get("cacheWriteInputTokens", 0),
    )


# ---- ConverseStream -------------------------------------------------------------------------------------------------


def _read_stream(frames: Any, progress: _Progress) -> Iterator[Event]:
    """The events of a stream, which is read to its end so that its connection can serve again.

    Text and reasoning blocks open with their first delta; only a tool use has a start of its own. Frames, blocks and
    deltas that we do not know are left out.
    """
    tools = _ToolUses()
    for frame in frames:
        if part := frame.get("contentBlockDelta"):
            index, delta = part.get("contentBlockIndex", 0), part.get("delta", {})
            if text := delta.get("text"):
                progress.token()
                yield TextDelta(_storable(text), index)
            elif use := delta.get("toolUse"):
                tools.add(index, use.get("input", ""))
            elif reasoning := delta.get("reasoningContent"):
                progress.token()
                yield from _read_reasoning(reasoning, index)
        elif part := frame.get("contentBlockStart"):
            if use := part.get("start", {}).get("toolUse"):
                progress.token()
                tools.begin(part.get("contentBlockIndex", 0), use["toolUseId"], use["name"])
        elif "contentBlockStop" in frame:
            yield from tools.end(frame["contentBlockStop"].get("contentBlockIndex", 0))
        elif "messageStart" in frame:
            yield MessageStart()
        elif "messageStop" in frame:
            yield tools.checked(Stop(frame["messageStop"].get("stopReason", "")))
        elif usage := frame.get("metadata", {}).get("usage"):
            yield _usage(usage)


# ---- Both -----------------------------------------------------------------------------------------------------------


class _ToolUses:
    """The tool uses of an answer; in a stream their input comes as fragments of a JSON text.

    An input that is no JSON object is what `max_tokens` leaves of a tool use: it is dropped, and the text beside it is
    kept. Where the answer stops *for* the tool, the turn cannot go on without it, and no tool runs on a guess: a fault.
    """

    def __init__(self) -> None:
        self._open: dict[int, tuple[str, str, list[str]]] = {}
        self._broken = False

    def begin(self, index: int, tool_use_id: str, name: str) -> None:
        self._open[index] = (tool_use_id, name, [])

    def add(self, index: int, fragment: str) -> None:
        if index in self._open:
            self._open[index][2].append(fragment)

    def end(self, index: int) -> Iterator[ToolUse]:
        if index in self._open:
            tool_use_id, name, fragments = self._open.pop(index)
            try:
                given = json.loads("".join(fragments) or "{}")
            except (ValueError, RecursionError):
                given = None
            yield from self.complete(tool_use_id, name, given, index)

    def complete(self, tool_use_id: str, name: str, given: Any, index: int) -> Iterator[ToolUse]:
        if isinstance(given, dict):
            yield ToolUse(tool_use_id, name, _storable(given), index)
        else:
            self._broken = True

    def checked(self, stop: Stop) -> Stop:
        if stop.stop_reason == "tool_use" and (self._broken or self._open):
            raise faults.MalformedToolUse
        return stop


def _storable(value: Any) -> Any:
    """PostgreSQL keeps neither NUL nor half a surrogate pair; what a model says must not break the turn that stores it."""
    match value:
        case str():
            if value.isascii() and "\0" not in value:
                return value
            return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {_storable(key): _storable(inner) for key, inner in value.items()}
        case list():
            return [_storable(inner) for inner in value]
    return value
