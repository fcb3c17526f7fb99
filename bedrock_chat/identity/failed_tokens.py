"""Limits how often an address may send a token that is not accepted."""

import logging

from django.conf import settings
from django.http import HttpRequest
from django_ratelimit.core import get_usage

from bedrock_chat.identity.addresses import client_network
from bedrock_chat.wire.errors import TooManyRequests

logger = logging.getLogger(__name__)


def count(request: HttpRequest) -> None:
    """Counts a failed token. Raises TooManyRequests beyond FAILED_TOKENS_RATE. A valid token always passes."""
    try:
        usage = get_usage(
            request,
            group="failed tokens",
            key=lambda _group, request: client_network(request),
            rate=settings.FAILED_TOKENS_RATE,
            increment=True,
        )
    except Exception as error:  # noqa: BLE001  a cache that is down must not turn a bad token into a 500
        logger.warning("failed tokens are not counted: %s", type(error).__name__)
        return
    if usage is not None and usage["should_limit"]:
        raise TooManyRequests("Too many failed tokens from this address.", retry_after=usage["time_left"])
