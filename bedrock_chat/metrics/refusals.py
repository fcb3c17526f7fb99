"""Requests that were refused because a limit was reached, each under the name of its limit."""

from bedrock_chat.metrics.instruments import Counter

REFUSALS = Counter("bedrock_chat_refusals_total", "Requests that were refused because a limit was reached.", ("limit",))


def count(limit: str) -> None:
    """Counts a refusal. `limit` is a word of the product's, written with underscores: `turns_per_user`."""
    REFUSALS.add(limit)
