"""The only calls to models: bounded retries that can be seen, and every fault mapped."""

import itertools
import logging
import random
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

from django.conf import settings

from bedrock_chat.bedrock import answers, clients, event_stream, faults
from bedrock_chat.bedrock.events import Closed, Event, Retrying, Stop, Usage
from bedrock_chat.bedrock.interruption import Interruption
from bedrock_chat.bedrock.request import ModelRequest

logger = logging.getLogger(__name__)

FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0


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
        model_id, send = (
            request.target.model_id,
            clients.bedrock_runtime().converse_stream if stream else clients.bedrock_runtime().converse,
        )
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
        fault = clients.fault_of(error)
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
