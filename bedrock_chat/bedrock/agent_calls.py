"""Calls to knowledge bases and agents of AWS, as tools make them: with a deadline, interruptible, faults as sentences.

Nothing is tried again here: the model is told, and asks again if it wants.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from bedrock_chat.bedrock import clients, faults
from bedrock_chat.bedrock.bounded_calls import UNREACHABLE
from bedrock_chat.process.interruption import Interrupted, Interruption
from bedrock_chat.resilience.deadlines import hang_up_after

logger = logging.getLogger(__name__)


class CallFault(Exception):
    """A call that has no result. `reason` is one sentence for the model and the user, and names nothing of AWS.

    `code` is AWS's own word for it, for the log.
    """

    sentence: ClassVar[str] = "The {subject} failed to answer."
    for_operators: ClassVar[bool] = False

    def __init__(self, subject: str, code: str = "") -> None:
        self.reason = self.sentence.format(subject=subject)
        self.code = code
        super().__init__(self.reason)


class Gone(CallFault):
    sentence = "The {subject} does not exist any more."
    for_operators = True


class Throttled(CallFault):
    sentence = "The {subject} is throttled just now: too many requests."


class Denied(CallFault):
    sentence = "This server may not use the {subject}."
    for_operators = True


class Refused(CallFault):
    sentence = "The {subject} refused the request as invalid."


class TimedOut(CallFault):
    sentence = "The {subject} did not answer in time."


class Unreachable(CallFault):
    sentence = "The {subject} cannot be reached."


class Cut(CallFault):
    sentence = "The connection to the {subject} broke before its answer was complete."


class Empty(CallFault):
    sentence = "The {subject} found nothing."


class Misconfigured(CallFault):
    sentence = "The id of the {subject} is not a valid one."
    for_operators = True


_KINDS: tuple[tuple[type[faults.ModelFault], type[CallFault]], ...] = (
    (faults.Throttled, Throttled),
    (faults.QuotaExceeded, Throttled),
    (faults.AccessDenied, Denied),
    (faults.AccountRestricted, Denied),
    (faults.NoCredentials, Denied),
    (faults.UnknownModel, Gone),
    (faults.Retired, Gone),
    (faults.Invalid, Refused),
    (faults.TooLong, Refused),
    (faults.TooLarge, Refused),
    (faults.TimedOut, TimedOut),
    (faults.Unreachable, Unreachable),
    (faults.ConnectionCut, Cut),
)


@contextmanager
def calling(subject: str, identifier: str, *, deadline: float, interruption: Interruption) -> Iterator[None]:
    """Around one call, to the last byte of its answer. `deadline` is a moment of `time.monotonic`.

    Raises a CallFault whatever goes wrong on the way, and Interrupted. Mistakes of our own code are raised as they are.
    `subject` is what sentences call the other side; `identifier` is for the log.
    """
    try:
        with interruption.inner() as call, _in_time(subject, call, deadline), call.of_this_thread():
            yield
    except CallFault as fault:
        level = logging.ERROR if fault.for_operators else logging.WARNING
        logger.log(level, "The %s %s gave no answer: %s.", subject, identifier, fault.code or type(fault).__name__)
        raise


@contextmanager
def _in_time(subject: str, call: Interruption, deadline: float) -> Iterator[None]:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimedOut(subject)
    try:
        with hang_up_after(seconds, call.expire):
            yield
    except Exception as error:
        if isinstance(error, CallFault) and not call.requested:
            raise
        fault = clients.fault_of(error)
        if fault is None and not isinstance(error, (*UNREACHABLE, CallFault)):
            raise
        if call.expired:
            raise TimedOut(subject) from error
        if call.requested:
            raise Interrupted from error
        raise _translated(subject, fault) from error
    if call.requested:  # a stream that was shut down may look like one that has ended
        raise TimedOut(subject) if call.expired else Interrupted


def _translated(subject: str, fault: faults.ModelFault | None) -> CallFault:
    if fault is None:
        return Cut(subject)
    kind = next((kind for model_fault, kind in _KINDS if isinstance(fault, model_fault)), CallFault)
    return kind(subject, fault.code)
