"""Stopping a turn: at once, from any process. The text so far is stored, and its cost is in the ledger."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conversations.chat import payload
from tests.emulator import Emulator
from tests.listening import ask, asking, frames, names, send, socket, text_of
from tests.live import LiveServer
from tests.streaming.conftest import Serve

pytestmark = pytest.mark.both

BEFORE = "[[silence:30]] hello"
MIDDLE = "[[words:20]] [[silence:30:after:4]]"
SAID = "the quick brown fox"


@pytest.fixture(scope="module")
def other(serve: Serve) -> LiveServer:
    """Another process on the same database."""
    return serve()


@pytest.fixture(params=["same process", "another process"])
def stopper(request: Any, server: LiveServer, other: LiveServer) -> LiveServer:
    return server if request.param == "same process" else other


def wait_for_call(bedrock: Emulator, calls: int = 1) -> None:
    deadline = time.monotonic() + 10
    while len(bedrock.requests()) < calls:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stop(server: LiveServer, token: str, conversation: str, question: str = "q") -> tuple[int, Any]:
    return server.call("POST", f"/conversation/{conversation}/{question}/stop", token=token)


def seconds_until(condition: Callable[[], object], limit: float = 5.0) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < limit
        time.sleep(0.02)
    return time.monotonic() - begun


def stored(server: LiveServer, token: str, conversation: str) -> dict[str, Any]:
    return server.call("GET", f"/conversation/{conversation}", token=token)[1]


def ledger(server: LiveServer, conversation: str) -> list[str]:
    """A line for each call of a conversation: input, output, estimated, stop reason, fault and price."""
    code = (
        "from bedrock_chat.ledger.models import ModelCall\n"
        f"for call in ModelCall.objects.filter(conversation_external_id={conversation!r}).order_by('pk'):\n"
        "    print(call.input_tokens, call.output_tokens, call.estimated, call.stop_reason, call.fault, call.price)"
    )
    return [line for line in server.manage("shell", "--no-imports", "-c", code).splitlines() if line]


def test_a_model_silent_in_mid_answer_is_stopped_and_what_it_said_is_kept(
    server: LiveServer, stopper: LiveServer, alice: str, bedrock: Emulator
) -> None:
    conversation = f"middle-{stopper is server}"
    with asking(server, alice, conversation, MIDDLE, message_id="q") as listener:
        seen = listener.until("text")
        assert stop(stopper, alice, conversation) == (200, None)
        assert seconds_until(lambda: bedrock.requests()[-1]["outcome"] == "left") < 5
        seen += list(listener)
    stopped = seen[-1].data
    assert (seen[-1].name, stopped["stopReason"]) == ("message_stop", "stopped")
    assert text_of(seen) == SAID
    answer = stored(server, alice, conversation)["messageMap"][stopped["answerId"]]
    assert (answer["content"][0]["body"], answer["stopReason"]) == (SAID, "stopped")
    assert stopped["usage"]["estimated"] is True
    assert stopped["usage"]["outputTokens"] == 5  # nineteen characters
    assert stopped["price"] > 0
    (line,) = ledger(server, conversation)
    assert line.split()[1:4] == ["5", "True", "stopped"]


def test_a_model_silent_before_its_first_byte_is_stopped_and_stores_no_answer(
    server: LiveServer, stopper: LiveServer, alice: str, bedrock: Emulator
) -> None:
    conversation = f"before-{stopper is server}"
    with asking(server, alice, conversation, BEFORE, message_id="q") as listener:
        wait_for_call(bedrock)
        assert stop(stopper, alice, conversation) == (200, None)
        assert seconds_until(lambda: bedrock.requests()[-1]["outcome"] == "left") < 5
        events = list(listener)
    assert names(events) == ["message_start", "message_stop"]
    assert events[-1].data["answerId"] is None
    assert events[-1].data["stopReason"] == "stopped"
    assert stored(server, alice, conversation)["lastMessageId"] == "q"
    bedrock.reset()
    assert text_of(ask(server, alice, conversation, BEFORE.replace("30", "0"), message_id="q2")) != ""


def test_a_plain_turn_that_is_stopped_answers_409_with_both_ids(
    server: LiveServer, stopper: LiveServer, alice: str, bedrock: Emulator
) -> None:
    conversation = f"plain-{stopper is server}"
    with ThreadPoolExecutor() as pool:
        body = payload(conversation, MIDDLE, message_id="q")
        response = pool.submit(server.call, "POST", "/conversation", body, token=alice)
        wait_for_call(bedrock)
        assert stop(stopper, alice, conversation) == (200, None)
        assert seconds_until(lambda: bedrock.requests()[-1]["outcome"] == "left") < 5
        status, refusal = response.result()
    assert status == 409
    assert (refusal["conversationId"], refusal["messageId"]) == (conversation, "q")
    assert stored(server, alice, conversation)["lastMessageId"] == "q"
    assert ledger(server, conversation)[0].split()[2:4] == ["True", "stopped"]


def test_on_the_socket_the_last_frame_is_an_end_that_says_stopped(
    server: LiveServer, stopper: LiveServer, alice: str
) -> None:
    conversation = f"socket-{stopper is server}"
    with socket(server) as websocket:
        send(websocket, alice, payload(conversation, MIDDLE, message_id="q"))
        websocket.recv(10)
        assert stop(stopper, alice, conversation) == (200, None)
        *_, end, sent = frames(websocket)
    assert (end["status"], end["stop_reason"], sent) == ("STREAMING_END", "stopped", "Message sent.")


def test_a_stop_while_bedrock_throttles_ends_the_wait(server: LiveServer, alice: str, bedrock: Emulator) -> None:
    with asking(server, alice, "throttled", "[[throttle]] hello", message_id="q") as listener:
        listener.until("retrying")
        assert stop(server, alice, "throttled") == (200, None)
        rest = list(listener)
    assert rest[-1].name == "message_stop"
    assert rest[-1].data["stopReason"] == "stopped"
    usage = rest[-1].data["usage"]
    assert (usage["inputTokens"], usage["estimated"], rest[-1].data["price"]) == (0, False, None)  # no model has worked


def test_closing_is_not_stopping(server: LiveServer, alice: str, bedrock: Emulator) -> None:
    with asking(server, alice, "closed", "[[words:10]] [[pace:0.1]]", message_id="q") as listener:
        listener.until("text")
    assert seconds_until(lambda: stored(server, alice, "closed")["lastMessageId"] != "q") < 5
    last = stored(server, alice, "closed")
    assert "stopReason" not in last["messageMap"][last["lastMessageId"]]


def test_a_stopped_answer_can_be_continued_and_answered(server: LiveServer, alice: str) -> None:
    with asking(server, alice, "go-on", MIDDLE, message_id="q") as listener:
        listener.until("text")
        stop(server, alice, "go-on")
        list(listener)
    assert ask(server, alice, "go-on", MIDDLE, message_id="q")[-1].data["stopReason"] == "stopped"  # a retry finds it
    events = ask(server, alice, "go-on", [], continue_generate=True)
    assert events[-1].data["stopReason"] == "end_turn"
    last = stored(server, alice, "go-on")
    answer = last["messageMap"][last["lastMessageId"]]
    assert answer["content"][0]["body"] == f"{SAID} ...and the rest."
    assert "stopReason" not in answer


@pytest.mark.parametrize("prompt", ["[[then]] [[silence:30]]", "[[then]] [[words:20]] [[silence:30:after:4]]"])
def test_a_continuation_is_stopped_by_its_questions_id_and_loses_nothing(
    server: LiveServer, alice: str, bedrock: Emulator, prompt: str
) -> None:
    conversation = f"continued-{'words' in prompt}"
    ask(server, alice, conversation, f"[[max_tokens]] {prompt}", message_id="q")
    with asking(server, alice, conversation, [], continue_generate=True) as listener:
        start = listener.until("message_start")[-1].data
        assert start["messageId"] == "q"
        if "words" in prompt:
            listener.until("text")
        else:
            wait_for_call(bedrock, 2)
        assert stop(server, alice, conversation) == (200, None)
        end = list(listener)[-1]
    assert (end.name, end.data["stopReason"]) == ("message_stop", "stopped")
    last = stored(server, alice, conversation)
    answer = last["messageMap"][last["lastMessageId"]]
    if "words" in prompt:
        assert answer["content"][0]["body"] == f"This answer stops{SAID}"
        assert answer["stopReason"] == "stopped"
    else:
        assert answer["content"][0]["body"] == "This answer stops"
        assert "stopReason" not in answer
        assert last["shouldContinue"] is True


def test_stopping_what_is_over_is_nothing(server: LiveServer, alice: str) -> None:
    ask(server, alice, "over", "hello", message_id="q")
    before = stored(server, alice, "over")
    assert stop(server, alice, "over") == (200, None)
    assert stored(server, alice, "over") == before


def test_an_old_wish_does_not_stop_a_new_attempt(server: LiveServer, other: LiveServer, alice: str) -> None:
    prompt = "[[words:5]] [[pace:0.5]] [[cut:after:2:times:1]]"  # long enough for two polls of the stop requests
    ask(server, alice, "old", prompt, message_id="q")
    mark = (
        "from conversations.models import Message\n"
        "print(Message.objects.filter(external_id='q', conversation__external_id='old').update(stop_attempt=1))"
    )
    assert other.manage("shell", "--no-imports", "-c", mark) == "1"
    events = ask(server, alice, "old", prompt, message_id="q")
    assert events[-1].data["stopReason"] == "end_turn"


@pytest.mark.parametrize(
    ("conversation", "question", "who"),
    [("over2", "nothing", "alice"), ("over2", "{answer}", "alice"), ("nowhere", "q", "alice"), ("over2", "q", "bob")],
)
def test_what_is_not_there_or_not_yours_is_404(
    server: LiveServer, alice: str, bob: str, conversation: str, question: str, who: str
) -> None:
    events = ask(server, alice, "over2", "hello", message_id="q")
    message_id = question.replace("{answer}", str(events[-1].data["answerId"]))
    assert stop(server, {"alice": alice, "bob": bob}[who], conversation, message_id)[0] == 404


def test_twenty_turns_stopped_at_once_all_end(server: LiveServer, other: LiveServer, alice: str) -> None:
    ended: list[str] = []

    def listen(number: int) -> None:
        with asking(server, alice, f"many-{number}", MIDDLE, message_id="q") as listener:
            listener.until("text")
            ready.wait(20)
            ended.append(list(listener)[-1].data["stopReason"])

    ready = threading.Barrier(21)
    with ThreadPoolExecutor(40) as pool:
        listeners = [pool.submit(listen, number) for number in range(20)]
        ready.wait(20)
        begun = time.monotonic()
        stops = [pool.submit(stop, other, alice, f"many-{number}") for number in range(20)]
        assert {future.result() for future in stops} == {(200, None)}
        for future in listeners:
            future.result(10)
        assert time.monotonic() - begun < 5
    assert ended == ["stopped"] * 20
