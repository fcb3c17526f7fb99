"""The only calls to models that answer. Faults of Bedrock become `faults.ModelFault`."""

import logging
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

from django.conf import settings

from bedrock_chat.bedrock import answers, clients, event_stream, faults, retrying
from bedrock_chat.bedrock.catalog import Target
from bedrock_chat.bedrock.events import Closed, Event, Intervened, Stop, Usage
from bedrock_chat.bedrock.measuring import Call
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.bedrock.retrying import BEDROCK
from bedrock_chat.process.interruption import Interruption
from bedrock_chat.resilience.deadlines import hang_up_after
from bedrock_chat.tracing.spans import Span

logger = logging.getLogger(__name__)

_not_caching: set[Target] = set()
"""What Bedrock has refused to cache prompts for, since this process started: at most the models of the catalogue."""


class _Progress:
    """What one try has yielded so far. `started` is when the whole call began, so times include waits between tries."""

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
        BEDROCK.answered()
        return Closed(self.usage, self.stop_reason, self.elapsed_ms(), self.first_token_ms)


def call(
    request: ModelRequest, *, stream: bool, interrupt: Interruption | None = None, parent: Span | None = None
) -> Iterator[Event]:
    """Calls the model and yields its events; the last one is `Closed`. Raises a `faults.ModelFault`.

    With `stream`, because somebody listens, the answer comes piece by piece if the request allows it. One try:

    1. Send the request, and yield the events of the answer.
    2. If a fault comes after the answer's end, only the usage is lost: yield `Closed`.
    3. If Bedrock refuses to cache, send the request again without cache points. The process remembers that.
    4. After any other fault `retrying.tried` decides. The last wait ends at most `MODEL_RETRY_SECONDS` after the start
       of the call.

    `interrupt` ends the call at once. If the connection was in use, the fault is that of a broken connection; during a
    wait, it is the fault that caused the wait. After `MODEL_TOTAL_TIMEOUT` the call ends with TimedOut, however
    steadily the model writes. Closing the generator closes the connection. The call's span is within `parent`.
    """
    interrupt = interrupt or Interruption()
    if request.target in _not_caching:
        request = request.without_cache_points()
    streamed = stream and request.streamable
    measured = Call.of(request, stream=streamed, parent=parent)
    call = _Call(request, interrupt, measured, streamed=streamed)
    until = call.started + settings.MODEL_RETRY_SECONDS
    try:
        with hang_up_after(settings.MODEL_TOTAL_TIMEOUT, interrupt.expire):
            yield from retrying.tried(call.once, measured=measured, interrupt=interrupt, until=until)
    except Exception as error:
        if interrupt.requested and not interrupt.expired:
            measured.interrupted()
        else:
            measured.failed(error)
        raise
    finally:
        measured.end()


class _Call:
    """One call: what each of its tries sends."""

    def __init__(self, request: ModelRequest, interrupt: Interruption, measured: Call, *, streamed: bool) -> None:
        self.started = time.monotonic()
        self._request = request
        self._interrupt = interrupt
        self._measured = measured
        self._streamed = streamed

    def once(self) -> Generator[Event]:
        """One try, and its repetition without cache points. Yields the events of the answer and `Closed`."""
        progress = _Progress(self.started)
        try:
            yield from self._events(progress)
        except faults.CachingRefused as refusal:
            if self._interrupt.requested or not self._request.has_cache_points:
                raise
            retrying.report(refusal, self._measured, self._interrupt)
            _not_caching.add(self._request.target)
            self._request = self._request.without_cache_points()
            self._interrupt.was_sent = False
            progress = _Progress(self.started)
            yield from self._events(progress)
        closed = progress.closed()
        self._measured.answered(closed)
        yield closed

    def _events(self, progress: _Progress) -> Generator[Event]:
        """The events of the answer. A fault behind its end is reported, and ends them."""
        try:
            with closing(_once(self._request, progress, self._interrupt, stream=self._streamed)) as events:
                for event in events:
                    if isinstance(event, Intervened):
                        _report_intervention(event, self._request)
                        continue
                    progress.note(event)
                    yield event
        except faults.ModelFault as fault:
            if progress.stop_reason is None:
                raise
            retrying.report(fault, self._measured, self._interrupt)


def _report_intervention(event: Intervened, request: ModelRequest) -> None:
    """Logs what kind of content a guardrail blocked, so that its strictness can be judged. Nothing is quoted."""
    name = request.guardrail.identifier.rpartition("/")[2] if request.guardrail else ""
    logger.info("guardrail %s blocked the %s: %s", name, event.of, ", ".join(event.kinds))


def _once(request: ModelRequest, progress: _Progress, interrupt: Interruption, *, stream: bool) -> Generator[Event]:
    """One try: sends the request and yields the events of its answer, without `Closed`.

    Exceptions of boto3, botocore and urllib3 become faults; mistakes of our own code are raised as they are. A stream
    is closed however the try ends.
    """
    try:
        calls = clients.converse_calls()
        send = calls.converse_stream if stream else calls.converse
        with interrupt.of_this_thread():
            answer = send(request.target.model_id, request.body)
        if stream:
            try:
                yield from answers.read_stream(_frames(answer), progress.token)
            finally:
                clients.release(answer)
        else:
            yield from answers.read_whole(answer)
    except Exception as error:
        fault = clients.fault_of(error)
        if fault is None:
            raise
        if interrupt.expired:
            raise faults.TimedOut(code="TotalTimeout") from TimeoutError("no answer in time")
        if isinstance(fault, faults.GuardrailMissing) and (guardrail := request.guardrail):
            raise faults.GuardrailMissing.named(guardrail.identifier, guardrail.version, fault.code) from error
        if fault is error:
            raise
        raise fault from error


def _frames(events: Any) -> Iterable[Any]:
    """A stream's frames, decoded by us. If another botocore keeps the body elsewhere, its own decoder is used."""
    body = getattr(events, "_raw_stream", events)
    return event_stream.decode(body.stream()) if hasattr(body, "stream") else events
