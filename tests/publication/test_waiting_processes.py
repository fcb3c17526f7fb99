"""`?wait=` between processes: a worker's end of a turn is heard through Redis, and found without; a server that is to
end answers all who wait.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest

from tests.emulator import Emulator
from tests.encryption.vault import new_key
from tests.jobs.conftest import Workshop
from tests.live import LiveServer
from tests.publication.api import question
from tests.publication.seed import PUBLISH
from tests.servers import HAVE_REDIS, redis_server
from tests.stalling import Service

pytestmark = [pytest.mark.both, pytest.mark.skipif(not HAVE_REDIS, reason="no Redis here; TEST_REDIS_URL names one")]

SOON = 1.0
"""Seconds, of three waits the middle one: a busy machine may delay one.

With Redis, the database is asked about all who wait every 2 s; without, every 0.2 s.
"""
THREADS, POOL = 4, 2
KEY = """
from bedrock_chat.encryption import encrypting
published()
print(json.dumps(encrypting.decrypt(ApiKey.objects.get().encrypted_value)))
"""


class World:
    """A server and a worker with a database and a Redis, and a key of Dave's API."""

    def __init__(self, server: LiveServer, workshop: Workshop, redis: Service) -> None:
        self.server, self.workshop, self.redis = server, workshop, redis
        self.api = f"{server.url}/published/helper/api"
        self.headers = {"x-api-key": json.loads(workshop.run(PUBLISH + KEY))}

    def ask(self, text: str) -> str:
        """The path of the answer, below the API's."""
        sent = question(text)
        accepted = httpx.post(f"{self.api}/conversation", json=sent, headers=self.headers, timeout=30).json()
        return f"/conversation/{accepted['conversationId']}/{accepted['messageId']}"

    def wait(self, path: str) -> tuple[httpx.Response, datetime]:
        """The answer, and when it came."""
        answer = httpx.get(f"{self.api}{path}?wait=20", headers=self.headers, timeout=30)
        return answer, datetime.now(UTC)

    def ended_at(self, path: str) -> datetime:
        message = path.rpartition("/")[2]
        [(moment,)] = self.workshop.sql(f"SELECT done_at FROM publication_turnrequest WHERE message_id = '{message}'")
        return moment if isinstance(moment, datetime) else datetime.fromisoformat(moment).replace(tzinfo=UTC)

    def delays(self, *texts: str) -> list[float]:
        """Seconds between the end of each turn and its answer, for questions that are asked and waited for at once."""
        with ThreadPoolExecutor(len(texts)) as pool:
            paths = list(pool.map(self.ask, texts))
            answers = list(pool.map(self.wait, paths))
        assert [answer.status_code for answer, _ in answers] == [200] * len(texts)
        return [(at - self.ended_at(path)).total_seconds() for path, (_, at) in zip(paths, answers, strict=True)]


@pytest.fixture(scope="module")
def world(database_url: str, data: Path, emulator_process: Emulator) -> Iterator[World]:
    emulator_process.reset()
    with redis_server(data) as redis:
        settings = {
            "ENCRYPTION_KEYS": new_key(),
            "SECRET_KEY": "x" * 60,
            "REDIS_URL": redis.url,
            "THREADS": str(THREADS),
            "DATABASE_POOL_SIZE": str(POOL),
        }
        with LiveServer(data, emulator_process.url, DATABASE_URL=database_url, **settings) as server:
            workshop = Workshop(database_url, data)
            workshop.environment = {**server.environment, "DATABASE_POOL_SIZE": "20"}
            workshop.work("--concurrency", "16")
            yield World(server, workshop, redis)
            workshop.end()


@pytest.mark.slow
def test_a_workers_end_of_a_turn_is_heard_through_redis(world: World) -> None:
    """They end so far apart that looks every two seconds would be late for one of them."""
    assert median(world.delays(*(f"[[wait:{seconds}]] hello" for seconds in (0.8, 1.5, 2.2)))) < SOON


def test_without_redis_it_is_found_as_soon(world: World) -> None:
    if world.redis.pid is None:
        pytest.skip("the Redis of TEST_REDIS_URL is not this test's to kill")
    os.kill(world.redis.pid, signal.SIGKILL)
    assert median(world.delays(*(f"[[wait:{seconds}]] hello" for seconds in (0.8, 1.5, 2.2)))) < SOON


def test_a_server_that_is_to_end_tells_all_who_wait_what_is_true(world: World) -> None:
    path, count = world.ask("[[wait:20]] hello"), 3 * THREADS
    with ThreadPoolExecutor(count) as pool:
        waiting = [pool.submit(world.wait, path) for _ in range(count)]
        time.sleep(1)
        health = httpx.get(f"{world.api}/health", headers=world.headers, timeout=2)
        assert (health.status_code, [one.done() for one in waiting]) == (200, [False] * count)
        world.server.process.send_signal(signal.SIGTERM)
        begun = datetime.now(UTC)
        answers: list[Any] = [one.result() for one in waiting]
    assert {(answer.status_code, answer.headers["X-Turn-Status"]) for answer, _ in answers} == {(404, "running")}
    assert max((at - begun).total_seconds() for _, at in answers) < 8
    assert world.server.process.wait(5) == 0
