"""Keys: cached, refreshed when they must be, and kept in use while their endpoint is down."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from bedrock_chat.identity import jwks, local
from bedrock_chat.identity.jwks import CachedKeys, KeysUnavailable, fetch, parse
from tests.tokens import JwksServer, make_key, public_jwk

KEY, OTHER = make_key(), make_key()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer(k1=KEY) as server:
        yield server


def cached(server: JwksServer, clock: Clock, timeout: float = 2.0) -> CachedKeys:
    return CachedKeys(lambda: fetch(server.url, timeout=timeout), stale_seconds=7200, clock=clock)


def test_a_key_is_fetched_once(server: JwksServer) -> None:
    keys = cached(server, Clock())
    assert all(keys.key("k1") for _ in range(50))
    assert server.fetches == 1


def test_bogus_kids_cause_one_fetch_within_the_cool_down(server: JwksServer) -> None:
    clock = Clock()
    keys = cached(server, clock)
    assert [keys.key(f"bogus-{n}") for n in range(20)] == [None] * 20
    assert server.fetches == 1
    clock.now += 31
    assert keys.key("bogus") is None
    assert server.fetches == 2


def test_a_rotated_key_is_found_after_the_cool_down(server: JwksServer) -> None:
    clock = Clock()
    keys = cached(server, clock)
    assert keys.key("k1")
    server.keys = {"k2": OTHER}
    assert keys.key("k2") is None
    clock.now += 31
    assert keys.key("k2")
    assert keys.key("k1") is None


def wait_for_fetches(server: JwksServer, number: int) -> None:
    deadline = time.monotonic() + 5
    while server.fetches < number:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_known_keys_serve_for_hours_while_the_endpoint_is_down(server: JwksServer) -> None:
    clock = Clock()
    keys = cached(server, clock)
    assert keys.key("k1")
    server.down = True
    clock.now += 3700
    assert keys.key("k1")  # and a refresh is tried in the background
    wait_for_fetches(server, 2)
    clock.now += 3000
    assert keys.key("k1")
    clock.now += 7200
    with pytest.raises(KeysUnavailable):
        keys.key("k1")
    server.down = False
    assert keys.key("k1")


def test_a_slow_endpoint_holds_up_nobody_whose_key_is_known(server: JwksServer) -> None:
    keys = cached(server, clock := Clock())
    assert keys.key("k1")
    clock.now += 3700
    server.delay = 3.0
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: keys.key("k1"), range(64)))
    assert time.monotonic() - started < 2.5
    wait_for_fetches(server, 2)
    assert server.fetches == 2


def test_a_thundering_herd_on_an_empty_cache_fetches_once(server: JwksServer) -> None:
    server.delay = 0.2
    keys = cached(server, Clock())
    start = threading.Barrier(16)

    def ask(_: int) -> bool:
        start.wait()
        return keys.key("k1") is not None

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(16)))
    assert server.fetches == 1


def test_a_fetch_does_not_wait_beyond_its_timeout(server: JwksServer) -> None:
    server.delay = 3.0
    started = time.monotonic()
    with pytest.raises(KeysUnavailable):
        cached(server, Clock(), timeout=0.2).key("k1")
    assert time.monotonic() - started < 2.5


def test_nobody_waits_long_for_somebody_elses_load() -> None:
    loading, done = threading.Event(), threading.Event()

    def load() -> dict[str, Any]:
        loading.set()
        done.wait(10)
        return {}

    keys = CachedKeys(load, stale_seconds=1, patience=0.1)
    first = threading.Thread(target=keys.key, args=("k1",))
    first.start()
    assert loading.wait(5)
    started = time.monotonic()
    with pytest.raises(KeysUnavailable):
        keys.key("k1")
    assert time.monotonic() - started < 2
    done.set()
    first.join()


@pytest.mark.parametrize("document", [{"down": True}, {"keys": {}}], ids=["down", "empty"])
def test_keys_that_come_back_are_used_at_once(server: JwksServer, document: dict[str, Any]) -> None:
    sound = {"down": False, "keys": server.keys}
    vars(server).update(document)
    keys = cached(server, Clock())  # whose time stands still: no cool-down ends
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            keys.key("k1")
    vars(server).update(sound)
    assert keys.key("k1")
    assert server.fetches == 4


def test_without_keys_requests_share_the_load_that_fails(server: JwksServer) -> None:
    server.down, server.delay = True, 0.5
    keys = cached(server, Clock())
    start = threading.Barrier(16)

    def ask(_: int) -> bool:
        start.wait()
        try:
            return keys.key("k1") is not None
        except KeysUnavailable:
            return False

    with ThreadPoolExecutor(16) as pool:
        assert not any(pool.map(ask, range(16)))
    assert server.fetches == 1


def test_without_keys_only_so_many_threads_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "MOST_WAITING", 3)
    loading, done = threading.Event(), threading.Event()

    def load() -> dict[str, Any]:
        loading.set()
        done.wait(10)
        raise OSError

    keys = CachedKeys(load, stale_seconds=1, patience=10)
    refused = []

    def ask() -> None:
        try:
            keys.key("k1")
        except KeysUnavailable:
            refused.append(done.is_set())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert loading.wait(5)
    deadline = time.monotonic() + 5
    while len(refused) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert sorted(refused) == [False] * 5 + [True] * 3


def test_an_outage_without_keys_is_logged_now_and_then(server: JwksServer, caplog: pytest.LogCaptureFixture) -> None:
    server.down = True
    keys = cached(server, clock := Clock())
    for seconds in (0, 0, 1, 30):
        clock.now += seconds
        with pytest.raises(KeysUnavailable):
            keys.key("k1")
    sentence = "JWKS cannot be loaded: HTTPError; without keys no token can be verified"
    logged = [record.getMessage() for record in caplog.records]
    assert logged.count(sentence) == 2  # an earlier test's keys may still be loading, in a thread of their own
    assert not [message for message in logged if "HTTPError" in message and message != sentence]


def test_a_document_without_keys_displaces_nothing(server: JwksServer) -> None:
    keys = cached(server, clock := Clock())
    assert keys.key("k1")
    server.keys = {}
    clock.now += 31
    assert keys.key("bogus") is None
    assert server.fetches == 2
    assert keys.key("k1")


def test_without_a_thread_to_be_had_known_keys_serve_and_unknown_ones_are_still_looked_up(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = cached(server, clock := Clock())
    assert keys.key("k1")
    clock.now += 3700

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert keys.key("k1")
    server.keys = {"k1": KEY, "k2": OTHER}
    assert keys.key("k2")


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_refresh_of_our_own_keys_keeps_no_database_connection() -> None:
    used: list[Any] = []

    def load() -> dict[str, Any]:
        loaded = parse(local.jwks_document())
        used.append((threading.current_thread(), connections["default"]))
        return loaded

    kid = local.signing_key().kid
    keys = CachedKeys(load, stale_seconds=7200, clock=(clock := Clock()))
    assert keys.key(kid)
    clock.now += 3700
    assert keys.key(kid)
    deadline = time.monotonic() + 5
    while len(used) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    thread, connection = used[1]
    assert thread is not threading.current_thread()
    thread.join(5)
    assert connection.connection is None


def test_keys_of_other_kinds_are_left_out() -> None:
    sound = public_jwk(KEY, "k1")
    document = {
        "keys": [
            None,
            "k1",
            sound,
            {**sound, "kid": "k3", "alg": "RS512"},
            {**sound, "kid": "k4", "n": 5},
            {**sound, "kid": "k2", "use": "enc"},
            {**sound, "kid": 3},
            {"kty": "RSA", "kid": "broken", "n": "?", "e": "?"},
            {"kty": "EC", "kid": "ec"},
        ]
    }
    assert list(parse(document)) == ["k1"]
