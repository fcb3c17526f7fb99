"""How often an address may come with a token that does not count."""

import logging

from django.conf import settings
from django.http import HttpRequest
from django_ratelimit.core import get_usage

from bedrock_chat.identity.addresses import client_address
from bedrock_chat.wire.errors import TooManyRequests

logger = logging.getLogger(__name__)


def count(request: HttpRequest) -> None:
    """Only failures count, so a valid token always passes. Raises TooManyRequests beyond FAILED_TOKENS_RATE."""
    try:
        usage = get_usage(
            request,
            group="failed tokens",
            key=lambda _group, request: client_address(request),
            rate=settings.FAILED_TOKENS_RATE,
            increment=True,
        )
    except Exception as error:  # noqa: BLE001  a cache that is away is no reason to answer a bad token with a 500
        logger.warning("failed tokens are not counted: %s", type(error).__name__)
        return
    if usage is not None and usage["should_limit"]:
        raise TooManyRequests("Too many failed tokens from this address.", retry_after=usage["time_left"])
