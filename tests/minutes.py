"""The minutes in which failures are counted."""

import time

import django_ratelimit.core
import pytest

from bedrock_chat.identity import password_attempts


class Clock:
    """Stands for the module `time` where failures are counted. It goes on only when the test moves `now`."""

    def __init__(self) -> None:
        self.now = time.time()

    def time(self) -> float:
        return self.now


def hold(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stops the clock, so that no minute ends during a test."""
    clock = Clock()
    monkeypatch.setattr(django_ratelimit.core, "time", clock)
    monkeypatch.setattr(password_attempts, "time", clock)
    return clock
