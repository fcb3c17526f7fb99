"""The one loop that calls a model again after a fault that passes by itself. Retries are bounded and visible."""

import itertools
import logging
import random
import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Final, TypeVar

from bedrock_chat.bedrock import faults
from bedrock_chat.bedrock.events import Retrying
from bedrock_chat.bedrock.measuring import Call
from bedrock_chat.bedrock.overrides import last_faults
from bedrock_chat.process.interruption import Interruption
from bedrock_chat.resilience.dependencies import Dependency

logger = logging.getLogger(__name__)

FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0

BEDROCK: Final = Dependency("Bedrock")

Item = TypeVar("Item")


def tried(
    once: Callable[[], Generator[Item]], *, measured: Call, interrupt: Interruption, until: float
) -> Generator[Item | Retrying]:
    """Yields what a try yields, and tries again where it ends with a fault. Raises a `faults.ModelFault`.

    `once` makes one try. After a fault:

    1. If the try has yielded anything, or the fault is not of a kind that is retried, raise it. A timeout is never
       retried: the model may still be at work, and the answer would be paid twice.
    2. Otherwise, such as for throttling or lack of capacity, yield `Retrying`, wait and try again. If the wait would
       end later than `until`, a moment of `time.monotonic`, raise the fault instead.

    `interrupt` ends a wait at once, with the fault that caused it.
    """
    for attempt in itertools.count():
        has_begun = False
        try:
            with closing(once()) as items:
                for item in items:
                    has_begun = True
                    yield item
            return
        except faults.ModelFault as fault:
            report(fault, measured, interrupt)
            wait = wait_after(fault, attempt)
            if has_begun or wait is None or time.monotonic() + wait > until:
                raise
            refusal = fault
            interrupt.was_sent = False
        measured.retries(refusal, wait)
        yield Retrying(wait)
        if interrupt.wait(wait):
            raise refusal


def wait_after(fault: faults.ModelFault, attempt: int) -> float | None:
    """Seconds to wait before the next try, or None for a fault that is not retried.

    The time grows exponentially, with jitter, and is never shorter than Bedrock demands.
    """
    if not fault.retried:
        return None
    backoff = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt, 10)) * random.uniform(0.5, 1.0)  # noqa: S311  jitter
    return max(backoff, fault.retry_after or 0.0)


def report(fault: faults.ModelFault, measured: Call, interrupt: Interruption) -> None:
    """Counts and logs a fault, as an error if only an operator can remove its cause. What was sent is never logged.

    Neither is Bedrock's sentence, which may quote it: the remedy says in our words what it was about. `/ready` tells of
    a Bedrock that was not to be reached, or was silent. The console has the last fault of each model. What an
    interruption looks like is no fault.
    """
    if interrupt.requested and not interrupt.expired:
        return
    if isinstance(fault, faults.Unreachable | faults.TimedOut | faults.ConnectionCut):
        BEDROCK.failed(fault.__cause__ or fault)
    else:
        BEDROCK.answered()
    last_faults.note(measured.model_key, fault.code)
    level = logging.ERROR if fault.for_operators else logging.WARNING
    remedy = f": {fault.remedy}" if fault.remedy else ""
    logger.log(level, "bedrock fault %s for %s in %s%s", fault.code, measured.model_id, measured.region, remedy)
    measured.failed_try(fault)
