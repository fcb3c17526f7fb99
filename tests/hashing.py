"""Hashes of passwords: quick ones for all tests, and a computation that a test holds up, to see who waits for it."""

import threading
from typing import Any

from django.conf import settings
from django.utils.crypto import pbkdf2

from bedrock_chat.identity.passwords import BoundedPasswordHasher

QUICK = "tests.hashing.QuickHasher"


class QuickHasher(BoundedPasswordHasher):
    """The product's hasher with fewer rounds: its own take a third of a second for each operator of a test."""

    iterations = 1_000


def make_quick() -> None:
    """Has this process hash so. The servers that tests start hash as the product does."""
    settings.PASSWORD_HASHERS = [QUICK]


class Hashing:
    """Stands for `pbkdf2`, with one round. It counts who computes, and while `done` is not set nobody gets a result."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.running = self.most = self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, password: str, salt: str, iterations: int, **options: Any) -> bytes:
        with self._lock:
            self.calls += 1
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            assert self.done.wait(20)
        finally:
            with self._lock:
                self.running -= 1
        result: bytes = pbkdf2(password, salt, 1, **options)
        return result
