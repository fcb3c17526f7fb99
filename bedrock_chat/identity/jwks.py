"""Where verification keys come from: a JWKS document over HTTP, cached so that its outage locks nobody out."""

import contextlib
import http.client
import json
import logging
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from bedrock_chat.database.connections import release_connection
from bedrock_chat.resilience.deadlines import hang_up_after, within
from bedrock_chat.resilience.dependencies import Dependency

if TYPE_CHECKING:
    import jwt

logger = logging.getLogger(__name__)

FRESH_SECONDS = 3600.0
COOL_DOWN_SECONDS = 30.0
PATIENCE_SECONDS = 5.0
LARGEST_DOCUMENT = 1_000_000  # bytes
SECONDS_BETWEEN_LOADS = 0.1
MOST_WAITING = 64


class KeysUnavailable(Exception):
    """No key is known, and none can be loaded now: no token of this issuer can be judged, good or bad."""


class KeySource(Protocol):
    """Finds the public key of a `kid`, or None where there is none. Raises KeysUnavailable where nobody can tell."""

    def key(self, kid: str) -> "jwt.PyJWK | None": ...


def parse(document: Mapping[str, Any]) -> "dict[str, jwt.PyJWK]":
    """The RS256 signing keys of a JWKS document by `kid`; each key of another kind is left out."""
    import jwt  # noqa: PLC0415  cryptography comes with it: 8 MB

    keys: dict[str, jwt.PyJWK] = {}
    for entry in document["keys"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
            continue
        if (entry.get("kty"), entry.get("use", "sig"), entry.get("alg", "RS256")) != ("RSA", "sig", "RS256"):
            continue
        try:
            keys[entry["kid"]] = jwt.PyJWK(entry, algorithm="RS256")
        except jwt.PyJWTError:
            logger.warning("a key of the JWKS document cannot be read")
    return keys


class CachedKeys:
    """Keys by `kid` from `load`, which may be slow or fail.

    - A known `kid` never waits: a stale set is refreshed by one thread in the background.
    - An unknown `kid` causes one load, shared by all threads that wait for it, and none within the cool-down of the
      last. A thread waits at most `patience` (seconds) for the load of another: resolving a host name has no timeout.
    - While loading fails, the keys that were loaded last stay in use for `stale_seconds`.
    - Without any keys in use every request causes a load, or shares the one under way, so that keys that come back are
      used at once. Loads follow each other `SECONDS_BETWEEN_LOADS` apart, and at most `MOST_WAITING` threads wait.
    """

    def __init__(
        self,
        load: "Callable[[], dict[str, jwt.PyJWK]]",
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
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._loaded_at = float("-inf")
        self._tried_at = float("-inf")
        self._finished_loads = 0
        self._logged_at = float("-inf")

    def key(self, kid: str) -> "jwt.PyJWK | None":
        if not self._are_usable():
            self._load_first()
            return self._keys.get(kid)
        key = self._keys.get(kid)
        if key is None:
            if self._lock.acquire(timeout=self._patience):
                try:
                    key = self._keys.get(kid)  # another thread may have loaded it while this one waited
                    if key is None and self._may_try():
                        self._refresh()
                        key = self._keys.get(kid)
                finally:
                    self._lock.release()
        elif self._age() > self._fresh_seconds and self._may_try() and self._lock.acquire(blocking=False):
            self._refresh_behind()
        return key

    def _load_first(self) -> None:
        """Loads keys where none are in use, or waits for the load of another thread. Raises KeysUnavailable."""
        loads_before = self._finished_loads
        if not self._waiting.acquire(blocking=False):
            raise KeysUnavailable
        try:
            if not self._lock.acquire(timeout=self._patience):
                raise KeysUnavailable
            try:
                # A load that this thread has waited for is its own, also where it failed.
                if self._finished_loads == loads_before:
                    time.sleep(max(0.0, self._tried_at + SECONDS_BETWEEN_LOADS - self._clock()))
                    self._refresh()
                if not self._are_usable():
                    raise KeysUnavailable
            finally:
                self._lock.release()
        finally:
            self._waiting.release()

    def _are_usable(self) -> bool:
        return self._age() <= self._fresh_seconds + self._stale_seconds

    def _age(self) -> float:
        return self._clock() - self._loaded_at

    def _may_try(self) -> bool:
        return self._clock() - self._tried_at >= self._cool_down

    def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = self._load()
            self._loaded_at = self._clock()
        except Exception as error:  # noqa: BLE001  whatever the endpoint does, known keys stay in use
            if self._clock() - self._logged_at >= self._cool_down:  # without keys, loads follow one another quickly
                self._logged_at = self._clock()
                known = "known keys serve on" if self._are_usable() else "without keys no token can be verified"
                logger.error("JWKS cannot be loaded: %s; %s", type(error).__name__, known)  # noqa: TRY400
        finally:
            self._finished_loads += 1

    def _refresh_behind(self) -> None:
        """Refreshes in a new thread. The caller has taken the lock; the new thread releases it."""
        try:
            threading.Thread(target=self._refresh_and_release, name="jwks", daemon=True).start()
        except RuntimeError:  # no thread can be started now; a later request tries again
            self._lock.release()

    def _refresh_and_release(self) -> None:
        try:
            if self._may_try():  # another thread may have refreshed before this one got the lock
                self._refresh()
        finally:
            self._lock.release()
            release_connection(final=True)  # local keys come from the database


# ---- Over HTTP ------------------------------------------------------------------------------------------------------

IDENTITY = Dependency("The address of the tokens' keys")


def fetch(url: str, *, timeout: float) -> "dict[str, jwt.PyJWK]":
    """Loads a JWKS document over HTTP within `timeout` seconds in total, whatever of it is slow.

    Raises OSError and ValueError; the latter also for a document without a usable key. It would lock everybody out,
    and the known keys serve better.
    """
    try:
        # On a thread of its own, since resolving a host name has no time-out.
        keys = parse(json.loads(within(timeout, lambda: _download(url, timeout))))
        if not keys:
            raise ValueError("The JWKS document holds no key for RS256.")
    except Exception as error:
        IDENTITY.failed(error)
        raise
    IDENTITY.answered()
    return keys


def _download(url: str, timeout: float) -> bytes:
    """The document. Raises OSError, and TimeoutError within twice the time-out once the host's name is resolved."""
    deadline = time.monotonic() + timeout
    handler = _Handler()
    body = bytearray()
    try:
        with hang_up_after(timeout, handler.hang_up):
            response = urllib.request.build_opener(handler).open(url, timeout=timeout)
        with response:
            while part := response.read1(65_536):
                body += part
                if len(body) > LARGEST_DOCUMENT or time.monotonic() >= deadline:
                    break
    except (OSError, http.client.HTTPException) as error:
        if time.monotonic() < deadline:
            if isinstance(error, OSError):
                raise
            raise OSError(str(error)) from error
    # A head that was cut off may look like a whole one.
    if len(body) > LARGEST_DOCUMENT or time.monotonic() >= deadline:
        raise TimeoutError("The JWKS document is too long or too slow.")
    return bytes(body)


class _Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """urllib's own way, which remembers its connections, so that a head that drips in can be cut off."""

    def __init__(self) -> None:
        super().__init__()
        self._connections: list[http.client.HTTPConnection] = []

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._remembered(http.client.HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._remembered(http.client.HTTPSConnection), req)

    def hang_up(self) -> None:
        for connection in self._connections:
            if (opened := connection.sock) is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def _remembered(self, kind: type[http.client.HTTPConnection]) -> Any:
        def make(*args: Any, **options: Any) -> http.client.HTTPConnection:
            connection = kind(*args, **options)
            self._connections.append(connection)
            return connection

        return make
