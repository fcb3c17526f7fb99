"""Moments as the contract writes them."""

from datetime import datetime


def milliseconds(moment: datetime) -> float:
    """Epoch milliseconds, as a float, because the contract has floats for the times of conversations and bots."""
    return float(int(moment.timestamp() * 1000))


def whole_milliseconds(moment: datetime | None) -> int | None:
    """As an integer, for the times of publications and keys; None stays None."""
    return None if moment is None else int(moment.timestamp() * 1000)
