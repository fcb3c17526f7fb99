"""Limits how often an address may send a token that is not accepted."""

from django.conf import settings
from django.http import HttpRequest

from bedrock_chat.identity import rates
from bedrock_chat.identity.addresses import client_network


def count(request: HttpRequest) -> None:
    """Counts a failed token. Raises TooManyRequests beyond FAILED_TOKENS_RATE. A valid token always passes."""
    rates.count(
        "failed tokens",
        by=client_network(request),
        rate=settings.FAILED_TOKENS_RATE,
        refusal="Too many failed tokens from this address.",
    )
