"""Redis: every wait is bounded in total, and while it is away nobody waits for it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.cache import caches
from redis.exceptions import RedisError

from bedrock_chat.process import redis_client
from bedrock_chat.process.redis_client import REDIS
from bedrock_chat.resilience.dependencies import State
from tests.servers import HAVE_REDIS, redis_server
from tests.serving.conftest import eventually
from tests.stalling import FAULTS, STOPPED, Proxy, once, unresolved_names

pytestmark = pytest.mark.skipif(not HAVE_REDIS, reason="no Redis here; TEST_REDIS_URL names one")

POOL = {"OPTIONS": {"pool_class": "bedrock_chat.process.redis_client.Pool"}}


@pytest.fixture(scope="module")
def proxy(data: Path) -> Iterator[Proxy]:
    with redis_server(data) as server, Proxy(server) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def address(proxy: Proxy, settings: Any) -> Iterator[str]:
    settings.REDIS_URL = url = proxy.url
    backends = {
        "default": "django.core.cache.backends.redis.RedisCache",
        "ratelimit": "bedrock_chat.process.redis_cache.SharedCounters",
    }
    settings.CACHES = {name: {"BACKEND": backend, "LOCATION": url, **POOL} for name, backend in backends.items()}
    redis_client.shared.cache_clear()
    redis_client._own.cache_clear()
    redis_client.ping()
    yield url
    settings.REDIS_URL = url
    redis_client._own.cache_clear()
    assert eventually(lambda: not REDIS.is_away, 10)
    redis_client.shared().flushdb()
    redis_client.shared.cache_clear()
    redis_client._own.cache_clear()


def seconds_of(call: Callable[[], object]) -> float:
    started = time.monotonic()
    with pytest.raises(RedisError):
        call()
    return time.monotonic() - started


LONGEST = redis_client.CONNECT_SECONDS + redis_client.COMMAND_SECONDS + 1.5  # the last for a busy machine


@once
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("warm", [True, False], ids=["open connection", "new connection"])
def test_a_redis_that_stalls_is_waited_for_once_and_used_again_when_it_answers(
    proxy: Proxy, fault: str, warm: bool
) -> None:
    if warm:
        assert redis_client.shared().set("x", "1")
    with proxy.having(fault):
        assert seconds_of(lambda: redis_client.shared().get("x")) < LONGEST
        assert (REDIS.is_away, REDIS.state) == (True, State.NO_ANSWER)
        assert seconds_of(lambda: redis_client.shared().get("x")) < 0.3
        assert seconds_of(lambda: caches["default"].get("x")) < 0.3
    assert eventually(lambda: not REDIS.is_away, 10)
    assert redis_client.shared().set("x", "2")


def test_counters_go_on_in_this_process_while_redis_is_stopped(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_client, "COMMAND_SECONDS", 0.3)
    counters = caches["ratelimit"]
    assert counters.add("alice", 1, 60)
    assert counters.incr("alice") == 2
    with proxy.having(STOPPED):
        assert counters.incr("alice") == 1  # what Redis knows, nobody knows now
        assert [counters.incr("alice") for _ in range(3)] == [2, 3, 4]
        assert counters.add("bob", 1, 60)
        assert not counters.add("bob", 1, 60)
        assert counters.get("bob") == 1
    assert eventually(lambda: not REDIS.is_away, 10)
    assert counters.incr("alice") == 3


def test_a_connection_that_redis_closed_while_it_was_idle_costs_no_error(address: str) -> None:
    client = redis_client.shared()
    client.set("x", "1")
    with redis.Redis.from_url(address) as other:
        other.client_kill_filter(_type="normal", skipme=True)
    assert client.get("x") == b"1"
    assert not REDIS.is_away


def test_a_wrong_command_is_no_outage() -> None:
    redis_client.shared().set("x", "a word")
    with pytest.raises(redis.ResponseError):
        redis_client.shared().incr("x")
    assert not REDIS.is_away


def test_nobody_there_is_told_at_once_and_as_such(settings: Any, tmp_path: Path) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    redis_client._own.cache_clear()
    assert seconds_of(redis_client.ping) < 5
    assert REDIS.state == State.REFUSED


def test_a_host_name_that_is_not_resolved_is_waited_for_no_longer() -> None:
    with unresolved_names():
        assert seconds_of(lambda: redis_client.connect().ping()) < 10
    assert REDIS.state == State.NO_ANSWER
