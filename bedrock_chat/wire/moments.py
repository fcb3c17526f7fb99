"""Moments as the contract writes them."""

from datetime import datetime


def milliseconds(moment: datetime) -> float:
    """Epoch milliseconds, as a float, because the contract has floats for the times of conversations and bots."""
    return float(int(moment.timestamp() * 1000))
