"""The only calls to models. Retries are bounded and visible, and faults of Bedrock become `faults.ModelFault`."""

import itertools
import logging
import random
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

from django.conf import settings

from bedrock_chat.bedrock import answers, clients, event_stream, faults
from bedrock_chat.bedrock.catalog import Target
from bedrock_chat.bedrock.events import Closed, Event, Intervened, Retrying, Stop, Usage
from bedrock_chat.bedrock.measuring import Call
from bedrock_chat.bedrock.overrides import last_faults
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.process.interruption import Interruption
from bedrock_chat.resilience.deadlines import hang_up_after
from bedrock_chat.resilience.dependencies import Dependency
from bedrock_chat.tracing.spans import Span

logger = logging.getLogger(__name__)

FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0

BEDROCK = Dependency("Bedrock")
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
    3. If a fault comes after the answer's beginning, or is not of a kind that is retried, raise it. A timeout is never
       retried: the model may still be at work, and the answer would be paid twice.
    4. Otherwise, such as for throttling or lack of capacity, yield `Retrying`, wait and try again. If the wait would
       end later than `MODEL_RETRY_SECONDS` after the start of the call, raise the fault instead.
    5. If Bedrock refuses to cache, try again at once without cache points. The process remembers that.

    `interrupt` ends the call at once. If the connection was in use, the fault is that of a broken connection; during a
    wait, it is the fault that caused the wait. After `MODEL_TOTAL_TIMEOUT` the call ends with TimedOut, however
    steadily the model writes. Closing the generator closes the connection. The call's span is within `parent`.
    """
    interrupt = interrupt or Interruption()
    if request.target in _not_caching:
        request = request.without_cache_points()
    measured = Call(request, stream=stream and request.streamable, parent=parent)
    try:
        with hang_up_after(settings.MODEL_TOTAL_TIMEOUT, interrupt.expire):
            yield from _call(request, interrupt, measured, stream=stream)
    except Exception as error:
        if interrupt.requested and not interrupt.expired:
            measured.interrupted()
        else:
            measured.failed(error)
        raise
    finally:
        measured.end()


def _call(request: ModelRequest, interrupt: Interruption, measured: Call, *, stream: bool) -> Iterator[Event]:
    """Tries, and tries again."""
    started = time.monotonic()
    for attempt in itertools.count():
        progress = _Progress(started)
        try:
            streamed = stream and request.streamable
            with closing(_once(request, progress, interrupt, stream=streamed)) as events:
                for event in events:
                    if isinstance(event, Intervened):
                        _report_intervention(event, request)
                        continue
                    progress.note(event)
                    yield event
            closed = progress.closed()
            measured.answered(closed)
            yield closed
            return
        except faults.ModelFault as fault:
            if not interrupt.requested or interrupt.expired:
                _report(fault, request)
                measured.failed_try(fault)
            if progress.stop_reason is not None:
                break
            if isinstance(fault, faults.CachingRefused) and request.has_cache_points and not interrupt.requested:
                _not_caching.add(request.target)
                request = request.without_cache_points()
                interrupt.was_sent = False
                continue
            wait = _wait(fault, attempt)
            if progress.begun or wait is None or time.monotonic() + wait > started + settings.MODEL_RETRY_SECONDS:
                raise
            refusal = fault
            interrupt.was_sent = False
        measured.retries(refusal, wait)
        yield Retrying(wait)
        if interrupt.wait(wait):
            raise refusal
    closed = progress.closed()
    measured.answered(closed)
    yield closed


def _wait(fault: faults.ModelFault, attempt: int) -> float | None:
    """Seconds to wait before the next try, or None for a fault that is not retried.

    The time grows exponentially, with jitter, and is never shorter than Bedrock demands.
    """
    if not fault.retried:
        return None
    backoff = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt, 10)) * random.uniform(0.5, 1.0)  # noqa: S311  jitter
    return max(backoff, fault.retry_after or 0.0)


def _report(fault: faults.ModelFault, request: ModelRequest) -> None:
    """Logs a fault, as an error if only an operator can remove its cause. The prompt is never logged.

    Neither is Bedrock's sentence, which may quote the prompt: the remedy says in our words what it was about. `/ready`
    tells of a Bedrock that was not to be reached, or was silent. The console has the last fault of each model.
    """
    if isinstance(fault, faults.Unreachable | faults.TimedOut | faults.ConnectionCut):
        BEDROCK.failed(fault.__cause__ or fault)
    else:
        BEDROCK.answered()
    last_faults.note(request.model.key, fault.code)
    level = logging.ERROR if fault.for_operators else logging.WARNING
    target, remedy = request.target, f": {fault.remedy}" if fault.remedy else ""
    logger.log(level, "bedrock fault %s for %s in %s%s", fault.code, target.model_id, target.region, remedy)


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
        client = clients.bedrock_runtime()
        send = client.converse_stream if stream else client.converse
        with interrupt.of_this_thread():
            response = send(modelId=request.target.model_id, **request.body)
        if stream:
            event_frames = response["stream"]
            try:
                yield from answers.read_stream(_frames(event_frames), progress.token)
            finally:
                _release(event_frames)
        else:
            yield from answers.read_whole(response)
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
    body = getattr(events, "_raw_stream", None)
    return events if body is None else event_stream.decode(body.stream())


def _release(events: Any) -> None:
    """Closes a stream and returns its connection to the pool now, not when garbage is collected.

    After `close()` alone an unfinished stream still occupies its place in the pool: the traceback of the fault keeps
    the response alive, and its late return overfills the pool. A stream that was read to its end has already returned
    its connection.
    """
    events.close()
    if release := getattr(getattr(events, "_raw_stream", None), "release_conn", None):
        release()
