"""Limits how often something may be done, by counters that all processes share where there is Redis."""

import logging

from django_ratelimit.core import get_usage

from bedrock_chat.metrics import refusals
from bedrock_chat.wire.errors import TooManyRequests

logger = logging.getLogger(__name__)


def count(what: str, *, by: str, rate: str, refusal: str) -> None:
    """Counts something that was done by somebody. Raises TooManyRequests with that sentence beyond the rate."""
    try:
        usage = get_usage(None, group=what, key=lambda *_: by, rate=rate, increment=True)
    except Exception as error:  # noqa: BLE001  a cache that is down refuses nobody
        logger.warning("%s are not counted: %s", what, type(error).__name__)
        return
    if usage is not None and usage["should_limit"]:
        refusals.count(what.replace(" ", "_"))
        raise TooManyRequests(refusal, retry_after=usage["time_left"])
