"""A process that slept past its lease: its client gets the stored answer of the turn that has taken over."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bedrock_chat.bedrock.events import StopReason, TextDelta
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.wire.errors import Conflict, NotFound
from conversations.content.blocks import Content
from conversations.models import Message, Outcome
from conversations.turn import checkpoints, lifecycle, registry
from conversations.turn.closing import TakenOver
from conversations.turn.types import ChatInput, Finished
from tests import build
from tests.conversations.chat import payload, read, say, text_of
from tests.emulator import Emulator
from tests.listening import asking, completion_of, frames, names, send, socket
from tests.listening import text_of as text_heard
from tests.live import LiveServer
from tests.stopping import stand_still
from tests.streaming.conftest import Serve

ClientOf = Callable[..., APIClient]
QUESTION = "hello [[words:9]]"


@pytest.fixture
def alice_here(client_of: ClientOf, transactional_db: None, emulator: Emulator) -> APIClient:
    client = client_of("alice")
    client.get("/conversations")
    return client


def sleeper(listener: object | None = None, **fields: Any) -> Iterator[Any]:
    """Alice's turn `q` of `c1`, asleep before the model's first word until its lease has run out."""
    actor = Caller(user_id=User.objects.get(username="alice").pk)
    chat = ChatInput("c1", catalog.find(build.MODEL), Content(build.text(QUESTION), {}), **fields)
    events = lifecycle.run(chat, actor=actor, listener=listener)
    next(events)
    Message.objects.filter(role="user").update(lease_expires_at="2020-01-01T00:00:00Z")
    return events


def ask_again(client: APIClient, **fields: Any) -> str:
    """Another process answers `q`. Returns the id of its answer."""
    assert say(client, "c1", QUESTION, message_id="q", **fields).status_code == 200
    last: str = read(client, "c1")["lastMessageId"]
    return last


def last_event(events: Iterator[Any]) -> Finished:
    finished = list(events)[-1]
    assert isinstance(finished, Finished)
    return finished


@pytest.mark.both
@pytest.mark.parametrize("listener", [None, object()], ids=["plain", "listened to"])
@pytest.mark.parametrize("end", ["whole", "fault", "stopped"])
def test_however_the_sleepers_own_turn_ends_the_stored_answer_is_its_answer(
    alice_here: APIClient, emulator: Emulator, end: str, listener: object | None
) -> None:
    events = sleeper(listener, message_external_id="q")
    successor = ask_again(alice_here)
    if end == "fault":
        emulator.script(fault="ModelErrorException")
    elif end == "stopped":
        registry.all_running()[0].end(StopReason.STOPPED)
    finished = last_event(events)
    assert finished.is_another
    assert finished.answer is not None
    assert finished.answer.external_id == successor
    assert set(read(alice_here, "c1")["messageMap"]) == {"system", "q", successor}
    assert ModelCall.objects.filter(message_external_id="q").count() == 2


@pytest.mark.both
@pytest.mark.parametrize("stop_reason", ["max_tokens", "stopped", "interrupted"])
def test_an_answer_that_was_cut_short_is_a_stored_answer_too(alice_here: APIClient, stop_reason: str) -> None:
    events = sleeper(message_external_id="q")
    question = Message.objects.get(external_id="q")
    outcome = Outcome.INTERRUPTED if stop_reason == "interrupted" else Outcome.ANSWERED
    Message.objects.filter(pk=question.pk).update(attempt=2, outcome=outcome, lease_holder="", lease_expires_at=None)
    question.attempt = 2
    build.answer(question, "the quick brown", stop_reason=stop_reason, external_id="a")
    answer = last_event(events).answer
    assert answer is not None
    assert (answer.external_id, answer.stop_reason) == ("a", stop_reason)


@pytest.mark.both
def test_a_successor_that_has_not_answered_yet_is_waited_for(alice_here: APIClient) -> None:
    events = sleeper(message_external_id="q")
    lease = {"lease_holder": "another-process", "lease_expires_at": timezone.now() + timedelta(seconds=9)}
    Message.objects.update(attempt=F("attempt") + 1, **lease)
    with pytest.raises(Conflict) as refused:
        list(events)
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 9
    assert refused.value.extra == {"conversationId": "c1", "messageId": "q"}


@pytest.mark.both
def test_a_successor_that_failed_leaves_no_answer_to_give(alice_here: APIClient, emulator: Emulator) -> None:
    events = sleeper(object(), message_external_id="q")
    emulator.script(fault="AccessDeniedException", times=1)
    assert say(alice_here, "c1", QUESTION, message_id="q").status_code == 502
    with pytest.raises(TakenOver) as refused:
        list(events)
    assert (refused.value.status_code, refused.value.extra["messageId"]) == (409, "q")


@pytest.mark.both
def test_a_conversation_that_was_deleted_after_it_was_taken_over_is_a_404(alice_here: APIClient) -> None:
    events = sleeper(message_external_id="q")
    ask_again(alice_here)
    alice_here.delete("/conversation/c1")
    with pytest.raises(NotFound):
        list(events)


@pytest.mark.both
def test_a_continuation_that_was_taken_over_gets_the_whole_answer(alice_here: APIClient) -> None:
    say(alice_here, "c1", "[[max_tokens]] [[then]] [[words:3]]", message_id="q")
    answer = read(alice_here, "c1")["lastMessageId"]
    events = sleeper(object(), continue_generate=True)
    assert say(alice_here, "c1", "", continue_generate=True).status_code == 200
    finished = last_event(events)
    assert finished.is_another
    assert finished.answer is not None
    assert finished.answer.external_id == answer
    assert finished.answer.content == build.text(text_of(read(alice_here, "c1")["messageMap"][answer]))


@pytest.mark.both
def test_a_sleeper_that_had_kept_a_beginning_writes_no_more_of_it(alice_here: APIClient) -> None:
    events = sleeper(object(), message_external_id="q")
    Message.objects.update(lease_expires_at=timezone.now() + timedelta(seconds=9))
    for event in events:
        if isinstance(event, TextDelta):
            break
    checkpoints.write()
    partial = Message.objects.get(stop_reason="interrupted")
    Message.objects.filter(role="user").update(lease_expires_at="2020-01-01T00:00:00Z")
    successor = ask_again(alice_here)
    answer = last_event(events).answer
    assert answer is not None
    assert answer.external_id == successor
    assert set(read(alice_here, "c1")["messageMap"]) == {"system", "q", partial.external_id, successor}


def test_a_listener_that_has_gone_is_told_nothing(alice_here: APIClient) -> None:
    events: Any = sleeper(object(), message_external_id="q")
    next(events)
    ask_again(alice_here)
    with pytest.raises(TakenOver):
        events.close()
    assert registry.all_running() == []


# ---- Processes ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_process_that_wakes_up_answers_with_what_the_other_one_has_stored(
    serve: Serve, server: LiveServer, alice: str, bedrock: Emulator
) -> None:
    """Three questions, over REST, SSE and the socket, wait in a process that stops. Another process answers them."""
    slow = {"text": "words of the sleeper", "after": 2, "silence": 4}
    bedrock.queue(slow, slow, slow, *[{"text": "the stored answer"}] * 3)
    stopped = serve()
    with (
        ThreadPoolExecutor(1) as pool,
        asking(stopped, alice, "sse", "hi", message_id="q") as listener,
        socket(stopped) as websocket,
    ):
        early = listener.until("text")
        plain = pool.submit(stopped.call, "POST", "/conversation", payload("rest", "hi", message_id="q"), token=alice)
        send(websocket, alice, payload("socket", "hi", message_id="q"))
        websocket.recv(10)
        while len(bedrock.requests()) < 3:
            time.sleep(0.05)
        stand_still(stopped.process.pid, stopped.environment["DATABASE_URL"])
        try:
            time.sleep(2.3)  # the lease of these servers is 2 s
            for name in ("rest", "sse", "socket"):
                body = payload(name, "hi", message_id="q")
                assert server.call("POST", "/conversation", body, token=alice)[0] == 200
        finally:
            os.kill(stopped.process.pid, signal.SIGCONT)
        status, answered = plain.result(20)
        events = list(listener)
        received = frames(websocket)
    assert (status, answered["message"]["content"]) == (200, build.text("the stored answer"))
    assert names(early) == ["message_start", "text"]
    anew = [event.name for event in events].index("message_start")
    assert text_heard(events[anew:]) == "the stored answer"
    assert names(events[anew:]) == ["message_start", "text", "message_stop"]
    stored = server.call("GET", "/conversation/sse", token=alice)[1]
    assert events[anew].data["answerId"] == events[-1].data["answerId"] == stored["lastMessageId"]
    assert events[-1].data["usage"]["outputTokens"] > 0
    assert [frame["status"] for frame in received[-2:-1]] == ["STREAMING_END"]
    assert "the stored answer" not in completion_of(received)  # the frontend appends, and reads the rows at the end
    for name in ("rest", "sse", "socket"):
        assert len(server.call("GET", f"/conversation/{name}", token=alice)[1]["messageMap"]["q"]["children"]) <= 2
