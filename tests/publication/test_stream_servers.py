"""Streamed answers over real servers and workers: who comes back, to any process, and processes that are killed.

`SOAK=1`, as `make soak` sets it, kills 50 servers in mid-stream.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bots.bot import payload
from tests.emulator import Emulator
from tests.encryption.vault import new_key
from tests.forking import client as forking
from tests.listening import PATIENT, Event, Listener, names, text_of
from tests.live import ROOT, LiveServer
from tests.publication.api import UNLIMITED, question
from tests.stopping import stand_still

pytestmark = [pytest.mark.both, pytest.mark.slow]

KILLS = 50 if os.environ.get("SOAK") else 5
LEASE = "1"
WORDS = 30
SLOW = f"[[words:{WORDS}]] [[pace:0.05]]"
CONVERSATION = "/published/helper/api/conversation"
REDIS_URL = os.environ.get("TEST_REDIS_URL", "")


class Deployment:
    """Servers and workers on one database, and Dave's published bot."""

    def __init__(self, folder: Path, database_url: str, bedrock_url: str) -> None:
        self._folder = folder
        self._bedrock_url = bedrock_url
        self._environment = {
            "DATABASE_URL": database_url,
            "ENCRYPTION_KEYS": new_key(),
            "SECRET_KEY": "x" * 60,
            "TURN_LEASE_SECONDS": LEASE,
            "JOB_LEASE_SECONDS": LEASE,
            "CHECKPOINT_SECONDS": "0.2",
        }
        self._processes: list[subprocess.Popen[str]] = []
        self.workers: list[subprocess.Popen[str]] = []
        self._count = 0
        self.key = ""

    def serve(self, **environment: str) -> LiveServer:
        self._count += 1
        folder = self._folder / f"server-{self._count}"
        folder.mkdir()
        server = LiveServer(folder, self._bedrock_url, **self._environment, **environment).__enter__()
        self._processes.append(server.process)
        return server

    def work(self, server: LiveServer) -> subprocess.Popen[str]:
        """A worker with the environment of a server."""
        command = [sys.executable, "manage.py", "run_worker"]
        with (self._folder / "worker.log").open("a") as log:
            worker = forking.Popen(
                command, cwd=ROOT, env=server.environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._processes.append(worker)
        self.workers.append(worker)
        assert worker.stdout is not None
        assert "Working" in worker.stdout.readline()
        return worker

    def publish(self, server: LiveServer) -> None:
        token = server.manage("issue_token", "dave", "--group", "CreatingBotAllowed", "--group", "PublishAllowed")

        def call(method: str, path: str, sent: Any = None) -> Any:
            status, answered = server.call(method, path, sent, token=token)
            assert status == 200, answered
            return answered

        call("POST", "/bot", payload("helper"))
        call("PATCH", "/bot/helper/visibility", {"targetSharedScope": "all"})
        call("POST", "/bot/helper/publication", UNLIMITED)
        self.key = call("POST", "/bot/helper/publication/api-key", {"description": "k"})["value"]

    @contextmanager
    def listening(
        self, server: LiveServer, method: str, path: str, sent: Any = None, last: str = ""
    ) -> Iterator[Listener]:
        headers = {"x-api-key": self.key, "Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        address = server.url + CONVERSATION + path
        with httpx.stream(method, address, json=sent, headers=headers, timeout=PATIENT) as response:
            assert response.status_code == 200, response.read()
            yield Listener(response)

    def resume(self, server: LiveServer, start: Event, last: str = "") -> list[Event]:
        with self.listening(server, "GET", f"{path_of(start)}/stream", last=last) as listener:
            return list(listener)

    def call(self, server: LiveServer, method: str, path: str) -> httpx.Response:
        return httpx.request(method, server.url + CONVERSATION + path, headers={"x-api-key": self.key}, timeout=30)

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


def path_of(start: Event) -> str:
    """The address of the question of a `message_start`, below that of conversations."""
    return f"/{start.data['conversationId']}/{start.data['messageId']}"


@pytest.fixture(scope="module")
def deployment(
    database_url: str, tmp_path_factory: pytest.TempPathFactory, emulator_process: Emulator
) -> Iterator[Deployment]:
    deployed = Deployment(tmp_path_factory.mktemp("deployment"), database_url, emulator_process.url)
    try:
        yield deployed
    finally:
        deployed.end()


@pytest.fixture(scope="module")
def server(deployment: Deployment) -> LiveServer:
    """A server with a worker beside it."""
    server = deployment.serve()
    deployment.work(server)
    deployment.publish(server)
    return server


@pytest.fixture(scope="module")
def other(deployment: Deployment, server: LiveServer) -> LiveServer:
    return deployment.serve()


def test_a_client_that_vanishes_finds_the_answer_and_others_hear_it_meanwhile(
    deployment: Deployment, server: LiveServer, other: LiveServer
) -> None:
    with deployment.listening(server, "POST", "", question(SLOW)) as listener:
        [start, *_] = seen = listener.until("text")
    rest = deployment.resume(server, start, seen[-1].id)
    assert "message_start" not in names(rest)
    assert len(text_of(seen + rest).split()) == WORDS
    assert len(text_of(deployment.resume(other, start)).split()) == WORDS
    assert deployment.call(other, "GET", path_of(start)).headers["X-Turn-Status"] == "done"


def test_an_answer_is_stopped_by_another_process_and_kept(
    deployment: Deployment, server: LiveServer, other: LiveServer
) -> None:
    with deployment.listening(server, "POST", "", question("[[words:9]] [[silence:30:after:4]]")) as listener:
        [start, *_] = seen = listener.until("text")
        begun = time.monotonic()
        assert deployment.call(other, "POST", f"{path_of(start)}/stop").json() is None
        seen += list(listener)
        assert time.monotonic() - begun < 5
    assert seen[-1].data["stopReason"] == "stopped"
    kept = deployment.call(other, "GET", path_of(start)).json()
    assert kept["message"]["content"][0]["body"] == text_of(seen) == "the quick brown fox"


def test_a_server_that_shuts_down_hands_its_turn_to_a_worker(deployment: Deployment, other: LiveServer) -> None:
    leaving = deployment.serve(SHUTDOWN_GRACE="1")
    with deployment.listening(leaving, "POST", "", question("[[words:9]] [[silence:4:after:4]]")) as listener:
        [start, *_] = seen = listener.until("text")
        leaving.process.send_signal(signal.SIGTERM)
        seen += list(listener)
    assert (seen[-1].name, seen[-1].data["resume"], seen[-1].id) == ("error", True, "")
    rest = deployment.resume(other, start, next(event.id for event in reversed(seen) if event.id))
    assert rest[-1].name == "message_stop"
    assert len(text_of(rest[names_from(rest, "message_start") :]).split()) == 9
    assert leaving.process.wait(10) == 0


def names_from(events: list[Event], name: str) -> int:
    """The position of the last event of that name."""
    return max(number for number, event in enumerate(events) if event.name == name)


def test_a_turn_whose_server_is_killed_in_mid_stream_is_finished_by_a_worker(
    deployment: Deployment, other: LiveServer, emulator_process: Emulator
) -> None:
    """Each time who comes back is told `restart`, and then one whole answer, which is the one that is stored."""
    for number in range(KILLS):
        doomed = deployment.serve()
        with deployment.listening(doomed, "POST", "", question(f"{SLOW} {number}")) as listener:
            [start, *_] = seen = listener.until("text")
            time.sleep(0.1 * (number % 5))  # before a checkpoint, and after one
            os.kill(doomed.process.pid, signal.SIGKILL)
            doomed.process.wait()
        time.sleep(0.3 * (number % 3))  # before the lease has run out, and after that
        rest = deployment.resume(other, start, seen[-1].id)
        assert names(rest).count("restart") == 1, rest
        answer = rest[names_from(rest, "message_start") :]
        assert names(answer) == ["message_start", "text", "message_stop"]
        assert len(text_of(answer).split()) == WORDS
        stored = deployment.call(other, "GET", path_of(start))
        assert stored.headers["X-Turn-Status"] == "done"
        assert stored.json()["message"]["content"][0]["body"] == text_of(answer)
        assert deployment.resume(other, start)[-1].data == answer[-1].data
    calls = [call for call in emulator_process.requests() if SLOW in str(call["body"])]
    assert len(calls) >= 2 * KILLS


def test_a_server_that_sleeps_past_its_lease_tells_the_answer_of_the_worker_that_took_over(
    deployment: Deployment, server: LiveServer
) -> None:
    sleeper = deployment.serve()
    with deployment.listening(sleeper, "POST", "", question("[[words:9]] [[pace:0.1]]")) as listener:
        [start, *_] = seen = listener.until("text")
        stand_still(sleeper.process.pid, sleeper.environment["DATABASE_URL"])
        until = time.monotonic() + 30
        while (status := deployment.call(server, "GET", path_of(start)).headers["X-Turn-Status"]) != "done":
            assert time.monotonic() < until, status
            time.sleep(0.2)
        sleeper.process.send_signal(signal.SIGCONT)
        seen += list(listener)
    assert names(seen).count("restart") == 1
    answer = seen[names_from(seen, "message_start") :]
    assert answer[-1].name == "message_stop"
    assert text_of(answer) == deployment.call(server, "GET", path_of(start)).json()["message"]["content"][0]["body"]


@pytest.mark.skipif(
    not REDIS_URL and not os.environ.get("REQUIRE_SERVICES"), reason="no Redis here; TEST_REDIS_URL names one"
)
def test_with_redis_the_second_attempt_is_heard_as_it_is_written(deployment: Deployment, server: LiveServer) -> None:
    """All workers have Redis here, so that whichever takes the turn relays it."""
    for process in deployment.workers:
        process.kill()
        process.wait()
    doomed, other = (deployment.serve(REDIS_URL=REDIS_URL) for _ in range(2))
    deployment.work(other)
    with deployment.listening(doomed, "POST", "", question("[[words:90]] [[pace:0.05]]")) as listener:
        [start, *_] = seen = listener.until("text")
        with deployment.listening(other, "GET", f"{path_of(start)}/stream", last=seen[-1].id) as again:
            again.until("text")
            os.kill(doomed.process.pid, signal.SIGKILL)
            doomed.process.wait()
            again.until("restart")
            answer = again.until("text")
            begun = time.monotonic()
            answer += list(again)
    assert time.monotonic() - begun > 0.5, "the first words came long before the last ones"
    assert len(text_of(answer).split()) == 90
    assert answer[-1].name == "message_stop"
