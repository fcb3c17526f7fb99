"""The people of the tests of bots."""

from tests.bots.conftest import _encryption_key, alice, bob, carol

__all__ = ["_encryption_key", "alice", "bob", "carol"]
