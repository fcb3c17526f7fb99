"""Where verification keys come from: a JWKS document over HTTP, cached so that its outage locks nobody out."""

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jwt

from bedrock_chat.database.connections import release_connection

logger = logging.getLogger(__name__)

FRESH_SECONDS = 3600.0
COOL_DOWN_SECONDS = 30.0
PATIENCE_SECONDS = 5.0
LARGEST_DOCUMENT = 1_000_000


class KeySource(Protocol):
    """Finds the public key of a `kid`, or None where there is none."""

    def key(self, kid: str) -> jwt.PyJWK | None: ...


def parse(document: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """The RS256 signing keys of a JWKS document; keys of other kinds are left out, one by one."""
    found: dict[str, jwt.PyJWK] = {}
    for entry in document["keys"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
            continue
        if (entry.get("kty"), entry.get("use", "sig"), entry.get("alg", "RS256")) != ("RSA", "sig", "RS256"):
            continue
        try:
            found[entry["kid"]] = jwt.PyJWK(entry, algorithm="RS256")
        except jwt.PyJWTError:
            logger.warning("a key of the JWKS document cannot be read")
    return found


class CachedKeys:
    """Keys by `kid` from `load`, which may be slow or fail.

    - A known `kid` never waits: a stale set is refreshed by one thread in the background.
    - An unknown `kid` causes one load, shared by all who wait for it, and none within the cool-down of the last.
      Nobody waits for somebody else's load longer than `patience` (seconds): looking a name up knows no timeout.
    - While loading fails, the keys that were loaded last serve for `stale_seconds`.
    """

    def __init__(
        self,
        load: Callable[[], dict[str, jwt.PyJWK]],
        *,
        stale_seconds: float,
        fresh_seconds: float = FRESH_SECONDS,
        cool_down: float = COOL_DOWN_SECONDS,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._stale_seconds = stale_seconds
        self._fresh_seconds = fresh_seconds
        self._cool_down = cool_down
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._loaded_at = float("-inf")
        self._tried_at = float("-inf")

    def key(self, kid: str) -> jwt.PyJWK | None:
        found = self._usable(kid)
        if found is None:
            if self._lock.acquire(timeout=self._patience):  # whoever waited here finds what the first one loaded
                try:
                    found = self._usable(kid)
                    if found is None and self._may_try():
                        self._refresh()
                        found = self._usable(kid)
                finally:
                    self._lock.release()
        elif self._age() > self._fresh_seconds and self._may_try() and self._lock.acquire(blocking=False):
            self._refresh_behind()
        return found

    def _usable(self, kid: str) -> jwt.PyJWK | None:
        return self._keys.get(kid) if self._age() <= self._fresh_seconds + self._stale_seconds else None

    def _age(self) -> float:
        return self._clock() - self._loaded_at

    def _may_try(self) -> bool:
        return self._clock() - self._tried_at >= self._cool_down

    def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = self._load()
            self._loaded_at = self._clock()
        except Exception as error:  # noqa: BLE001  whatever an endpoint may do, known keys serve on
            logger.error("JWKS cannot be loaded: %s; known keys serve on", type(error).__name__)  # noqa: TRY400

    def _refresh_behind(self) -> None:
        """With the lock taken, which the new thread gives back."""
        try:
            threading.Thread(target=self._refresh_and_release, name="jwks", daemon=True).start()
        except RuntimeError:  # no thread can be had now; a later request tries again
            self._lock.release()

    def _refresh_and_release(self) -> None:
        try:
            if self._may_try():  # another thread may have been quicker between the question and the lock
                self._refresh()
        finally:
            self._lock.release()
            release_connection(final=True)  # keys of our own come from the database


def fetch(url: str, *, timeout: float) -> dict[str, jwt.PyJWK]:
    """Loads a JWKS document over HTTP. `timeout` is in seconds, for connecting, for each read, and for the whole body.

    Raises OSError and ValueError. A document without a usable key is one: it would lock everybody out, and those that
    are known serve better.
    """
    deadline = time.monotonic() + timeout
    body = bytearray()
    with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310  the operator's own setting
        while part := response.read1(65_536):
            body += part
            if len(body) > LARGEST_DOCUMENT or time.monotonic() > deadline:
                raise TimeoutError("The JWKS document is too long or too slow.")
    keys = parse(json.loads(body))
    if not keys:
        raise ValueError("The JWKS document holds no key for RS256.")
    return keys
