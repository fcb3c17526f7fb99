"""With Redis, any process serves a client who comes back, and hears at once that a turn is to stop."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.listening import ask, asking, names, resume, resuming, text_of
from tests.live import LiveServer
from tests.servers import redis_server
from tests.stalling import FAULTS, STOPPED, Proxy
from tests.streaming.conftest import Serve

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
REDIS_URL = os.environ.get("TEST_REDIS_URL", "").rpartition("/")[0]
if REDIS_URL:
    REDIS_URL += f"/{WORKER + 1}"  # tests that run at once must not clear each other's keys
pytestmark = [
    pytest.mark.both,
    pytest.mark.skipif(
        not REDIS_URL and not os.environ.get("REQUIRE_SERVICES"), reason="no Redis here; TEST_REDIS_URL names one"
    ),
]

SLOW = "[[words:40]] [[pace:0.05]]"
WORDS = 40
NOTICED_SECONDS = 8.0  # a ping after two, and three without an answer


@pytest.fixture(scope="module")
def server(serve: Serve) -> LiveServer:
    return serve(REDIS_URL=REDIS_URL)


@pytest.fixture(scope="module")
def other(serve: Serve) -> LiveServer:
    return serve(REDIS_URL=REDIS_URL)


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    with redis.Redis.from_url(REDIS_URL) as client:
        for key in client.scan_iter("bedrock-chat:turn-events:*"):
            client.delete(key)
        yield


def test_another_process_tells_what_was_missed_and_the_rest_as_it_comes(
    server: LiveServer, other: LiveServer, alice: str
) -> None:
    with asking(server, alice, "relayed", SLOW, message_id="q") as listener:
        seen = [*listener.until("message_start"), *listener.until("text")]
    with resuming(other, alice, "relayed", "q", seen[-1].id) as again:
        first = again.until("text")
        assert other.call("GET", "/conversation/relayed", token=alice)[1]["lastMessageId"] == "q"  # it still runs
        rest = list(again)
    assert "waiting" not in names([*first, *rest])
    assert "message_start" not in names([*first, *rest])
    assert rest[-1].name == "message_stop"
    assert len(text_of([*seen, *first, *rest]).split()) == WORDS


def test_who_comes_to_another_process_without_knowing_anything_gets_all(
    server: LiveServer, other: LiveServer, alice: str
) -> None:
    with asking(server, alice, "all", SLOW, message_id="q") as listener:
        listener.until("text")
        events = resume(other, alice, "all", "q")
        own = list(listener)
    assert names(events) == ["message_start", "text", "message_stop"]
    assert len(text_of(events).split()) == WORDS
    assert events[-1].data == own[-1].data


def test_a_stop_is_heard_at_once_in_another_process(server: LiveServer, other: LiveServer, alice: str) -> None:
    with asking(server, alice, "stopped", "[[words:9]] [[silence:30:after:4]]", message_id="q") as listener:
        listener.until("text")
        begun = time.monotonic()
        assert other.call("POST", "/conversation/stopped/q/stop", token=alice) == (200, None)
        end = list(listener)[-1]
        assert time.monotonic() - begun < 5
    assert end.data["stopReason"] == "stopped"


def test_a_fault_is_relayed_too(server: LiveServer, other: LiveServer, alice: str) -> None:
    with asking(server, alice, "fault", "[[words:20]] [[pace:0.05]] [[cut:after:15]]", message_id="q") as listener:
        listener.until("text")
        events = resume(other, alice, "fault", "q")
        own = list(listener)
    assert (events[-1].name, events[-1].data) == ("error", own[-1].data)


def test_when_the_process_of_a_turn_is_killed_its_partial_answer_is_told(
    serve: Serve, other: LiveServer, alice: str
) -> None:
    doomed = serve(REDIS_URL=REDIS_URL)
    with asking(doomed, alice, "killed", "[[words:9]] [[silence:30:after:4]]", message_id="q") as listener:
        listener.until("text")
        time.sleep(0.6)  # a checkpoint
        with resuming(other, alice, "killed", "q") as again:
            again.until("text")
            os.kill(doomed.process.pid, signal.SIGKILL)
            doomed.process.wait()
            rest = list(again)
    assert names(rest) == ["message_start", "text", "message_stop"]
    assert text_of(rest) == "the quick brown fox"
    assert rest[-1].data["stopReason"] == "interrupted"


def test_what_redis_lost_is_told_from_the_database(server: LiveServer, other: LiveServer, alice: str) -> None:
    with asking(server, alice, "lost", SLOW, message_id="q") as listener:
        listener.until("text")
        time.sleep(0.2)
        with redis.Redis.from_url(REDIS_URL) as client:
            for key in client.scan_iter("bedrock-chat:turn-events:*"):
                client.delete(key)
        events = resume(other, alice, "lost", "q")
        list(listener)
    assert names(events) == ["waiting", "message_start", "text", "message_stop"]
    assert len(text_of(events).split()) == WORDS


def test_a_redis_that_is_away_hinders_no_turn(serve: Serve, alice: str) -> None:
    lonely, other = serve(REDIS_URL="redis://127.0.0.1:1/0"), serve(REDIS_URL="redis://127.0.0.1:1/0")
    assert text_of(ask(lonely, alice, "lonely", "hello")) == "Echo: hello"
    with asking(lonely, alice, "lonely-stop", "[[words:9]] [[silence:30:after:4]]", message_id="q") as listener:
        listener.until("text")
        assert other.call("POST", "/conversation/lonely-stop/q/stop", token=alice) == (200, None)
        begun = time.monotonic()
        assert list(listener)[-1].data["stopReason"] == "stopped"
        assert time.monotonic() - begun < 5  # it polls the database as often as without Redis


def test_a_stream_in_redis_does_not_outlive_its_use(server: LiveServer, alice: str) -> None:
    ask(server, alice, "brief", "hello")
    time.sleep(0.3)
    with redis.Redis.from_url(REDIS_URL) as client:
        left = [client.ttl(key) for key in client.scan_iter("bedrock-chat:turn-events:*")]
    assert left
    assert all(0 < seconds <= 60 for seconds in left)


@pytest.mark.parametrize("last", ["1-99999", "1-end", "x"])
def test_an_id_that_means_nothing_still_ends_in_an_answer(
    server: LiveServer, other: LiveServer, alice: str, last: str
) -> None:
    conversation = f"odd-{last}"
    with asking(server, alice, conversation, SLOW, message_id="q") as listener:
        listener.until("text")
        events = resume(other, alice, conversation, "q", last)
        list(listener)
    assert events[-1].name == "message_stop"
    assert len(text_of(events).split()) == WORDS


@pytest.mark.slow
def test_a_relayed_stream_is_sent_away_when_its_process_leaves(serve: Serve, server: LiveServer, alice: str) -> None:
    leaving = serve(REDIS_URL=REDIS_URL, SHUTDOWN_GRACE="20")
    with asking(server, alice, "left", "[[words:60]] [[pace:0.1]]", message_id="q") as listener:
        listener.until("text")
        with resuming(leaving, alice, "left", "q") as again:
            again.until("text")
            begun = time.monotonic()
            leaving.process.send_signal(signal.SIGTERM)
            end = list(again)[-1]
        assert (end.name, end.data.get("resume")) == ("error", True)
        assert leaving.process.wait(10) == 0
        assert time.monotonic() - begun < 5
        assert list(listener)[-1].name == "message_stop"


def test_a_redis_that_accepts_and_says_nothing_keeps_nobody_waiting(serve: Serve, alice: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        first, second = serve(REDIS_URL=address), serve(REDIS_URL=address)
        with asking(first, alice, "mute", SLOW, message_id="q") as listener:
            listener.until("text")
            events = resume(second, alice, "mute", "q")
            list(listener)
    assert events[-1].name == "message_stop"
    assert len(text_of(events).split()) == WORDS


@pytest.fixture(scope="module")
def stalling(data: Path) -> Iterator[Proxy]:
    """A Redis that can be made to stall, without harm to those who test with the other one."""
    with redis_server(data) as server, Proxy(server) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def pair(serve: Serve, stalling: Proxy) -> tuple[LiveServer, LiveServer]:
    return serve(REDIS_URL=stalling.url), serve(REDIS_URL=stalling.url)


@pytest.mark.slow
def test_a_redis_that_stands_still_delays_a_stop_only_until_it_is_noticed(
    pair: tuple[LiveServer, LiveServer], alice: str, stalling: Proxy
) -> None:
    """From then on the database is asked twice a second, as if there were no Redis."""
    one, two = pair
    with asking(one, alice, "still", "[[words:9]] [[silence:60:after:4]]", message_id="q") as listener:
        listener.until("text")
        with stalling.having(STOPPED):
            time.sleep(NOTICED_SECONDS)
            begun = time.monotonic()
            assert two.call("POST", "/conversation/still/q/stop", token=alice) == (200, None)
            assert list(listener)[-1].data["stopReason"] == "stopped"
            assert time.monotonic() - begun < 8  # of which two are those of the one who tries to tell Redis


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_who_comes_back_hears_the_end_whatever_redis_does(
    pair: tuple[LiveServer, LiveServer], alice: str, stalling: Proxy, fault: str
) -> None:
    one, two = pair
    with asking(one, alice, f"back {fault}", SLOW, message_id="q") as listener:
        listener.until("text")
        with stalling.having(fault):
            events = resume(two, alice, f"back {fault}", "q")
            list(listener)
    assert events[-1].name == "message_stop"
    assert len(text_of(events).split()) == WORDS


def test_a_tool_input_that_few_can_read_does_not_end_the_relay(server: LiveServer, other: LiveServer) -> None:
    """An integer of more than 64 bits is valid JSON. A JSON library that cannot write it must not end the relay."""
    code = (
        "import time\nfrom bedrock_chat.bedrock.events import ToolUse\nfrom bedrock_chat.process import redis_client\n"
        "from conversations.streaming import relay\nfrom conversations.streaming.events import Encoded\n"
        "from conversations.streaming.log import Log\n"
        "log, other = Log(), Log()\nlog.publish, other.publish = relay.publisher(1, 1), relay.publisher(2, 1)\n"
        "log.append(ToolUse('t', 'x', {'n': 2**70}))\ntime.sleep(0.3)\n"
        "other.append(Encoded('message_stop', {}))\ntime.sleep(0.3)\n"
        "print(sum(1 for _ in redis_client.shared().scan_iter('bedrock-chat:turn-events:*')))"
    )
    assert server.manage("shell", "--no-imports", "-c", code) == "2"
