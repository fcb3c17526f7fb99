"""What is waited for in a process: one look for all, what is told is heard at once, and nobody looks for nothing."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from bedrock_chat.process import heartbeat
from bedrock_chat.process.watching import CHANNEL, LOOKS_WITH_REDIS, MOST_NAMES, Topic, Watching
from tests.servers import HAVE_REDIS, redis_server
from tests.serving.conftest import eventually
from tests.test_structure import ROOT


class Question:
    """A kind of topic that happens when the test says so."""

    def __init__(self, watching: Watching) -> None:
        self.happened = set[str]()
        self.looks: list[list[str]] = []
        watching.register("question", self.look)

    def look(self, names: list[str]) -> set[str]:
        self.looks.append(names)
        return self.happened.intersection(names)


class Waiting:
    """Somebody who waits."""

    def __init__(self) -> None:
        self.woken = threading.Event()

    def __call__(self) -> None:
        self.woken.set()


@pytest.fixture
def board() -> Iterator[Watching]:
    yield Watching()
    heartbeat.unregister("watching")


@pytest.fixture
def question(board: Watching) -> Question:
    return Question(board)


def topic(name: str) -> Topic:
    return Topic("question", name)


def test_one_look_is_for_all_who_wait(board: Watching, question: Question) -> None:
    alice, bob, carol = Waiting(), Waiting(), Waiting()
    board.watch([topic("a")], alice)
    board.watch([topic("b")], bob)
    board.watch([topic("b")], carol)
    question.happened = {"b"}
    board.look()
    assert [sorted(names) for names in question.looks] == [["a", "b"]]
    assert [who.woken.is_set() for who in (alice, bob, carol)] == [False, True, True]


def test_a_look_asks_for_many_in_bounded_queries(board: Watching, question: Question) -> None:
    for number in range(2 * MOST_NAMES + 1):
        board.watch([topic(str(number))], Waiting())
    board.look()
    assert [len(names) for names in question.looks] == [MOST_NAMES, MOST_NAMES, 1]


def test_what_is_told_is_heard_without_a_look(board: Watching, question: Question) -> None:
    alice, bob = Waiting(), Waiting()
    board.watch([topic("a")], alice)
    board.watch([topic("b")], bob)
    board.tell(topic("a"))
    assert (alice.woken.is_set(), bob.woken.is_set(), question.looks) == (True, False, [])


def test_who_no_longer_waits_is_not_looked_for(board: Watching, question: Question) -> None:
    alice, bob = Waiting(), Waiting()
    for who in (alice, bob):
        board.watch([topic("a"), topic("b")], who)
    board.forget([topic("a"), topic("b")], alice)
    board.tell(topic("a"))
    assert (alice.woken.is_set(), bob.woken.is_set()) == (False, True)
    board.forget([topic("a"), topic("b")], bob)
    board.look()
    assert question.looks == []


def test_the_heartbeat_looks_while_somebody_waits_and_never_else(board: Watching, question: Question) -> None:
    heartbeat.start()
    alice = Waiting()
    board.watch([topic("a")], alice)
    assert eventually(lambda: question.looks)
    question.happened = {"a"}
    assert alice.woken.wait(5)
    board.forget([topic("a")], alice)
    assert "watching" not in heartbeat._heartbeat._beats


def test_with_redis_only_what_is_new_is_looked_for_each_time(board: Watching, question: Question) -> None:
    board._listener._connected.set()
    board.watch([topic("a")], Waiting())
    board.look()
    board.look()
    board.watch([topic("b")], Waiting())
    board.look()
    assert question.looks == [["a"], ["b"]]
    for _ in range(LOOKS_WITH_REDIS):
        board.look()
    assert [sorted(names) for names in question.looks[2:]] == [["a", "b"]]


CHILD = """
import sys
from django.conf import settings
settings.configure(REDIS_URL=sys.argv[1])
from bedrock_chat.process import redis_channel
from bedrock_chat.process.watching import Topic, Watching
redis_channel.PAUSE_SECONDS = 0.3
board = Watching()
board.watch([Topic("question", "a:b")], lambda: board.tell(Topic("question", "heard")))
sys.stdin.read()
"""


@pytest.mark.skipif(not HAVE_REDIS, reason="no Redis here; TEST_REDIS_URL names one")
def test_processes_hear_of_each_other_through_redis(data: Path) -> None:
    with redis_server(data) as server, closing(redis.Redis.from_url(server.url)) as client:

        def listens() -> bool:
            return client.pubsub_numsub(CHANNEL)[0][1] == 2

        with (
            client.pubsub() as channel,
            subprocess.Popen([sys.executable, "-c", CHILD, server.url], stdin=subprocess.PIPE, cwd=ROOT) as child,
        ):
            channel.subscribe(CHANNEL)
            assert eventually(listens, 10)
            client.publish(CHANNEL, b"\xff\xfe")
            assert eventually(lambda: not listens())
            assert eventually(listens), "what it does not understand it forgets"
            client.publish(CHANNEL, "question:nothing")
            client.publish(CHANNEL, "question:a:b")
            heard = [channel.get_message(timeout=5) for _ in range(5)]
            child.kill()
    assert [message["data"] for message in heard if message] == [
        1,
        b"\xff\xfe",
        b"question:nothing",
        b"question:a:b",
        b"question:heard",
    ]
