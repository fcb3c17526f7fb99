"""Answers as Server-Sent Events, through the real server."""

import json
import time
from typing import Any

import httpx
import pytest

from conversations.streaming.sse import position_of
from tests.conversations.chat import payload
from tests.emulator import Emulator
from tests.listening import Event, ask, asking, listening, names, resume, text_of
from tests.live import LiveServer

pytestmark = pytest.mark.both


def read(server: LiveServer, token: str, conversation: str) -> dict[str, Any]:
    status, body = server.call("GET", f"/conversation/{conversation}", token=token)
    assert status == 200, body
    return body


def last_text(conversation: dict[str, Any]) -> str:
    message = conversation["messageMap"][conversation["lastMessageId"]]
    return "".join(block["body"] for block in message["content"] if block["contentType"] == "text")


def test_the_first_event_arrives_before_the_model_has_sent_its_last(
    server: LiveServer, alice: str, bedrock: Emulator
) -> None:
    with asking(server, alice, "early", "[[words:40]] [[pace:0.1]]") as listener:
        first, second = listener.until("message_start"), listener.until("text")
        assert bedrock.requests()[-1]["outcome"] == "running"
        rest = list(listener)
    assert names([*first, *second, *rest]) == ["message_start", "text", "message_stop"]
    assert len([event for event in rest if event.name == "text"]) > 10
    assert len(text_of([*second, *rest]).split()) == 40


def test_a_turn_is_told_with_ids_usage_and_price_and_stored_before_its_end(server: LiveServer, alice: str) -> None:
    events = ask(server, alice, "whole", "hello", message_id="mine")
    start, stop = events[0].data, events[-1].data
    ids = {"conversationId": "whole", "messageId": "mine", "answerId": stop["answerId"]}
    assert start == {**ids, "continues": False}
    stored = read(server, alice, "whole")
    assert stored["lastMessageId"] == stop["answerId"]
    assert last_text(stored) == text_of(events) == "Echo: hello"
    assert stop["stopReason"] == "end_turn"
    assert stop["usage"] == {
        "inputTokens": 2,
        "outputTokens": 3,
        "cacheReadInputTokens": 0,
        "cacheWriteInputTokens": 0,
        "estimated": False,
    }
    assert stop["price"] > 0
    assert (events[0].id, events[-1].id) == ("1-1", "1-end")


def test_nobody_on_the_way_may_gather_keep_or_compress_the_events(server: LiveServer, alice: str) -> None:
    with asking(server, alice, "headers", "hello", message_id="q") as listener:
        headers_of_post = listener.response.headers
        list(listener)
    with listening(server, alice, "GET", "/conversation/headers/q/stream") as listener:
        headers_of_get = listener.response.headers
        list(listener)
    for headers in (headers_of_post, headers_of_get):
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-cache, no-transform"
        assert headers["X-Accel-Buffering"] == "no"
    assert "Accept" in headers_of_post["Vary"]


def test_reasoning_comes_apart_from_the_text(server: LiveServer, alice: str) -> None:
    events = ask(server, alice, "think", "why", enable_reasoning=True)
    assert names(events) == ["message_start", "reasoning", "text", "message_stop"]
    assert "".join(event.data["text"] for event in events if event.name == "reasoning") == (
        "Thinking about it step by step."
    )


def test_a_continuation_tells_only_what_is_new(server: LiveServer, alice: str) -> None:
    question = ask(server, alice, "longer", "go on [[max_tokens]]", message_id="q")
    assert question[-1].data["stopReason"] == "max_tokens"
    events = ask(server, alice, "longer", [], continue_generate=True)
    assert text_of(events) == " ...and the rest."
    assert events[0].data == {**question[0].data, "continues": True, "continuedText": "This answer stops"}
    assert resume(server, alice, "longer", "q")[0].data["continues"] is False  # the whole stored answer
    assert last_text(read(server, alice, "longer")) == "This answer stops ...and the rest."


def test_a_question_that_was_answered_is_answered_again_without_a_call(
    server: LiveServer, alice: str, bedrock: Emulator
) -> None:
    first = ask(server, alice, "again", "hello", message_id="q", enable_reasoning=True)
    bedrock.clear_requests()
    second = ask(server, alice, "again", "hello", message_id="q", enable_reasoning=True)
    assert bedrock.requests() == []
    assert (names(second), text_of(second)) == (names(first), text_of(first))
    assert [event.id for event in second] == ["", "", "", "1-end"]  # a stored answer has no positions of a log
    assert second[-1].data == first[-1].data


# ---- What goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "token", "status"),
    [
        ({}, True, 400),
        (payload("refused", "x", parent="nowhere"), True, 400),
        (payload("nothing-here", [], continue_generate=True), True, 404),
        (payload("with-a-bot", "x", bot_id="no-bot"), True, 404),
        (payload("refused", "x"), False, 401),
    ],
)
def test_before_the_first_event_an_error_is_an_ordinary_answer(
    server: LiveServer, alice: str, body: Any, token: bool, status: int
) -> None:
    if body.get("message", {}).get("parentMessageId") == "nowhere":
        ask(server, alice, "refused", "first")
    with listening(server, alice if token else "no-token", "POST", "/conversation", body) as listener:
        error = json.loads(listener.response.read())
    assert listener.response.status_code == status
    assert listener.response.headers["Content-Type"] == "application/json"
    assert error["errors"]


@pytest.mark.parametrize(
    ("prompt", "status", "words", "kept"),
    [
        ("[[denied]]", 502, "no access to the model", None),
        ("[[validation]]", 400, "Bedrock refused the request", None),
        ("[[fault:ModelTimeoutException]]", 504, "too long", None),
        ("partial [[streamerror]]", 502, "in the middle of its answer", "Echo: partial [[streamerror]]"),
        ("[[words:9]] [[cut:after:4]]", 502, "broke before the answer was complete", "the quick brown fox"),
    ],
)
def test_a_fault_of_the_model_is_the_last_event_and_says_what_to_do(
    server: LiveServer, alice: str, prompt: str, status: int, words: str, kept: str | None
) -> None:
    conversation = f"fault-{status}-{words.replace(' ', '-')}"
    events = ask(server, alice, conversation, prompt, message_id="q")
    error = events[-1]
    assert (error.name, error.data["status"], error.id) == ("error", status, "1-end")
    assert words in error.data["detail"]
    assert error.data["errors"] == [error.data["detail"]]
    assert (error.data["conversationId"], error.data["messageId"]) == (conversation, "q")
    stored = read(server, alice, conversation)
    if kept is None:
        assert stored["lastMessageId"] == "q"
    else:
        assert last_text(stored) == text_of(events) == kept
        assert stored["messageMap"][stored["lastMessageId"]]["stopReason"] == "interrupted"


def test_the_wait_for_a_throttling_model_is_told_and_the_answer_comes(server: LiveServer, alice: str) -> None:
    events = ask(server, alice, "busy", "[[throttle:1]] hello")
    assert names(events) == ["message_start", "retrying", "text", "message_stop"]
    assert 0 < events[1].data["seconds"] <= 1


def test_throttling_without_end_ends_in_a_clear_error(server: LiveServer, alice: str) -> None:
    begun = time.monotonic()
    events = ask(server, alice, "too-busy", "[[throttle]] hello")
    assert time.monotonic() - begun < 6  # MODEL_RETRY_SECONDS is 3 here
    assert names(events) == ["message_start", "retrying", "error"]
    assert events[-1].data["status"] == 503
    assert events[-1].data["retryAfter"] >= 1
    assert "throttling" in events[-1].data["detail"]


def test_plain_rest_is_as_it_was(server: LiveServer, alice: str) -> None:
    for accept in ("application/json", "*/*", "text/html", "text/event-stream;q=0.1, application/json"):
        response = httpx.post(
            f"{server.url}/conversation",
            json=payload(f"plain-{accept[:3]}{len(accept)}", "hello"),
            headers={"Authorization": f"Bearer {alice}", "Accept": accept},
        )
        assert response.headers["Content-Type"] == "application/json"
        assert response.json()["message"]["content"][0]["body"] == "Echo: hello"


# ---- Vanishing ------------------------------------------------------------------------------------------------------


def test_a_client_who_vanishes_loses_nothing(server: LiveServer, alice: str) -> None:
    with asking(server, alice, "vanish", "[[words:20]] [[pace:0.05]]", message_id="q") as listener:
        listener.until("text")
    deadline = time.monotonic() + 10
    while (stored := read(server, alice, "vanish"))["lastMessageId"] == "q":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(last_text(stored).split()) == 20
    assert "stopReason" not in stored["messageMap"][stored["lastMessageId"]]


@pytest.mark.slow
def test_silence_is_filled_with_comments(server: LiveServer, alice: str) -> None:
    with asking(server, alice, "silent", "[[words:3]] [[silence:16:after:1]]") as listener:
        events = list(listener)
    assert listener.comments == 1
    assert text_of(events) == "the quick brown"


# ---- Ids ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_id", "position"),
    [
        ("3-17", 17),
        (" 3-17 ", 17),
        *((rubbish, 0) for rubbish in ("2-17", "3-end", "", "3", "3-²", "3--1", "x", "3-" + "9" * 5000)),
    ],
)
def test_an_id_of_another_attempt_or_none_means_from_the_beginning(event_id: str, position: int) -> None:
    assert position_of(event_id, 3) == position


def ids(events: list[Event]) -> list[str]:
    return [event.id for event in events]


def test_ids_lead_on_from_where_they_stand(server: LiveServer, alice: str) -> None:
    with asking(server, alice, "ids", "[[words:30]] [[pace:0.05]]", message_id="q") as listener:
        seen = [*listener.until("message_start"), *listener.until("text"), *listener.until("text")]
        rest = resume(server, alice, "ids", "q", seen[-1].id)
        own = list(listener)
    assert text_of(seen + rest) == text_of(seen + own)
    assert ids(rest)[-1] == ids(own)[-1] == "1-end"
    assert "message_start" not in names(rest)


def test_a_question_may_take_the_id_that_the_answer_was_to_have(server: LiveServer, alice: str) -> None:
    with asking(server, alice, "taken", "[[silence:1]] [[words:20]]", message_id="q") as listener:
        start = listener.until("message_start")[0].data
        thief = payload("taken", "mine", message_id=start["answerId"])
        assert server.call("POST", "/conversation", thief, token=alice)[0] == 200
        end = list(listener)[-1]
    assert end.name == "message_stop"
    assert end.data["answerId"] not in (None, start["answerId"])
    stored = read(server, alice, "taken")["messageMap"]
    assert len(stored[end.data["answerId"]]["content"][0]["body"].split()) == 20
    assert stored[start["answerId"]]["role"] == "user"


def test_the_answer_that_is_being_written_is_a_parent_to_wait_for_from_the_first_event_on(
    server: LiveServer, alice: str
) -> None:
    """Before its first word, and so before any checkpoint."""
    with asking(server, alice, "ahead", "[[silence:1]] hello") as listener:
        (start,) = listener.until("message_start")
        below = payload("ahead", "and then?", parent=start.data["answerId"])
        status, refusal = server.call("POST", "/conversation", below, token=alice)
        assert (status, refusal["messageId"]) == (409, start.data["messageId"])
        unknown = payload("ahead", "and then?", parent="nowhere")
        list(listener)
    assert server.call("POST", "/conversation", unknown, token=alice)[0] == 400
    assert server.call("POST", "/conversation", below, token=alice)[0] == 200
