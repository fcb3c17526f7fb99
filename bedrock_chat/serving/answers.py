"""Large answers: how many bytes of them this process holds while they are made, and until their clients took them."""

import weakref
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from django.conf import settings
from django.http.response import HttpResponseBase

from bedrock_chat.metrics import refusals
from bedrock_chat.process.budget import Budget
from bedrock_chat.wire.errors import ServiceUnavailable

Response = TypeVar("Response", bound=HttpResponseBase)

LARGE = 256 * 1024
"""Bytes. Smaller answers are not counted."""
RETRY_SECONDS = 5


@cache
def budget() -> Budget:
    total = settings.ANSWERS_MB * 1024 * 1024
    return Budget(total, total // 4)


def too_many() -> ServiceUnavailable:
    refusals.count("answers")
    return ServiceUnavailable(
        "Too many answers wait to be taken; take them, then try again.", retry_after=RETRY_SECONDS
    )


def make(account: str, size: int, respond: Callable[[], Response]) -> Response:
    """The response that `respond` makes of about `size` bytes, counted for its caller until it is closed.

    Raises ServiceUnavailable where the caller or the process holds too much already: many at once could otherwise fill
    the memory before the first one is sent.
    """
    if size <= LARGE:
        return respond()
    if not budget().take(account, size):
        raise too_many()
    try:
        response = respond()
    except BaseException:
        budget().give_back(account, size)
        raise
    # Once: when the response is closed, or when it is gone, since one that cannot be rendered is never closed.
    end = weakref.finalize(response, budget().give_back, account, size)
    response._resource_closers.append(end)  # type: ignore[attr-defined]  # Django has no public hook for this
    return response
