"""With Redis, processes share what they count; a server whose Redis is gone counts for itself."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from tests.console.sign_ins import SignIns
from tests.live import LiveServer

REDIS_URL = os.environ.get("TEST_REDIS_URL", "")
BINARY = shutil.which("redis-server")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not REDIS_URL and not BINARY and not os.environ.get("REQUIRE_SERVICES"),
        reason="no Redis here; TEST_REDIS_URL names one",
    ),
]
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """The Redis that TEST_REDIS_URL names, or one of this test's own."""
    if REDIS_URL:
        with redis.Redis.from_url(REDIS_URL) as client:
            for key in client.scan_iter("bedrock-chat-ratelimit:*"):  # an earlier run may have counted
                client.delete(key)
        yield REDIS_URL
        return
    assert BINARY is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [BINARY, "--port", str(port), "--save", "", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
    )
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"redis://127.0.0.1:{port}/0"
    server.kill()
    server.wait()


def test_failed_tokens_count_for_all_processes_together(redis_url: str, tmp_path: Path) -> None:
    limited = {"REDIS_URL": redis_url, "FAILED_TOKENS_RATE": "4/h"}
    with LiveServer(tmp_path, NOBODY, **limited) as first, LiveServer(tmp_path, NOBODY, **limited) as second:
        assert first.call("GET", "/ready")[0] == 200
        statuses = [server.call("GET", "/conversations", token="bogus")[0] for server in (first, second) * 4]
        assert statuses == [401] * 4 + [429] * 4
        assert second.call("GET", "/conversations", token=second.manage("issue_token", "alice"))[0] == 200


def test_a_hundred_wrong_passwords_at_two_processes_at_once_are_ten_hashes(redis_url: str, tmp_path: Path) -> None:
    options = {"REDIS_URL": redis_url, "LOG_FORMAT": "json"}
    (tmp_path / "second").mkdir()
    with LiveServer(tmp_path, NOBODY, **options) as first, LiveServer(tmp_path / "second", NOBODY, **options) as second:
        with SignIns(first) as one, SignIns(second) as other, ThreadPoolExecutor(100) as pool:
            answers = [pool.submit((one, other)[number % 2].attempt, f"login-{number}") for number in range(100)]
            for server in (first, second):
                assert server.call("GET", "/health")[0] == 200
            statuses = [answer.result() for answer in answers]
        lines = [line for server in (first, second) for line in server.log.read_text().splitlines()]
    failures = [line for line in lines if "sign-in failed" in line]
    assert {429} < set(statuses) <= {200, 429, 503}  # 503 where hashes take long on a busy machine
    assert len(failures) == statuses.count(200)
    assert len(failures) <= 20  # ten, and ten more if a minute ends meanwhile
    assert "login-" not in "".join(failures)


def test_without_its_redis_a_server_is_ready_says_so_and_counts_for_itself(tmp_path: Path) -> None:
    with LiveServer(tmp_path, NOBODY, REDIS_URL="redis://127.0.0.1:9/0", FAILED_TOKENS_RATE="3/h") as server:
        assert server.call("GET", "/health")[0] == 200
        status, body = server.call("GET", "/ready")
        assert (status, body["database"], body["cache"]) == (200, "ok", "refused")
        assert [server.call("GET", "/conversations", token="bogus")[0] for _ in range(5)] == [401] * 3 + [429] * 2
        assert server.call("GET", "/conversations", token=server.manage("issue_token", "alice"))[0] == 200
