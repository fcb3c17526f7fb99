"""A process killed in mid-answer: the question and the partial answer are stored, and the user goes on from them."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.bedrock.events import ReasoningDelta, TextDelta
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import NotFound
from conversations.models import Conversation, Message, Outcome
from conversations.turn import checkpoints, closing, lifecycle, registry
from conversations.turn.types import ChatInput
from tests import build
from tests.conversations.chat import read, say, text_of
from tests.emulator import Emulator
from tests.listening import ask, asking, resume, send, socket
from tests.listening import text_of as text_heard
from tests.live import LiveServer
from tests.streaming.conftest import Serve

pytestmark = pytest.mark.both

LEASE_SECONDS = 2  # of the servers here
SAID = "the quick brown fox"


def kill(server: LiveServer) -> None:
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()


def last_of(conversation: dict[str, Any]) -> dict[str, Any]:
    return conversation["messageMap"][conversation["lastMessageId"]]


def open_(server: LiveServer, token: str, conversation: str) -> dict[str, Any]:
    status, body = server.call("GET", f"/conversation/{conversation}", token=token)
    assert status == 200
    return body


def test_a_killed_process_leaves_question_and_partial_answer_to_go_on_from(
    serve: Serve, server: LiveServer, alice: str, bedrock: Emulator
) -> None:
    doomed = serve()
    prompt = "[[words:9]] [[silence:30:after:4:times:1]]"
    with (
        socket(doomed) as websocket,
        asking(doomed, alice, "early", "[[silence:30:times:1]] hi", message_id="q") as early,
    ):
        early.until("message_start")
        for number in range(3):
            with asking(doomed, alice, f"killed-{number}", f"{number} {prompt}", message_id="q") as listener:
                listener.until("text")
        send(websocket, alice, {"conversationId": "socket", "message": _message(prompt)})
        websocket.recv(10)
        time.sleep(0.6)  # CHECKPOINT_SECONDS is 0.2 here
        running_now = open_(server, alice, "killed-0")
        assert running_now["lastMessageId"] == "q"  # its turn runs: the answer is not there yet
        kill(doomed)
    status, _ = server.call("POST", "/conversation", _body("killed-0", f"0 {prompt}", "q"), token=alice)
    assert status == 409  # other processes see a lease that has not expired
    time.sleep(LEASE_SECONDS + 0.3)
    for conversation in ("killed-0", "killed-1", "killed-2", "socket"):
        last = last_of(open_(server, alice, conversation))
        assert (last["role"], last["content"][0]["body"], last["stopReason"]) == ("assistant", SAID, "interrupted")
    assert open_(server, alice, "early")["lastMessageId"] == "q"
    assert text_heard(resume(server, alice, "killed-0", "q")) == SAID

    # The user continues one answer, asks a question again, and goes on below a partial answer.
    continued = ask(server, alice, "killed-0", [], continue_generate=True)
    assert continued[-1].data["stopReason"] == "end_turn"
    assert last_of(open_(server, alice, "killed-0"))["content"][0]["body"] == f"{SAID} ...and the rest."
    again = ask(server, alice, "killed-1", f"1 {prompt}", message_id="q")
    assert len(text_heard(again).split()) == 9
    both = open_(server, alice, "killed-1")
    assert len(both["messageMap"]["q"]["children"]) == 2
    assert "stopReason" not in last_of(both)
    below = ask(server, alice, "killed-2", "and then?")
    assert text_heard(below) == "Echo: and then?"
    assert len(text_heard(ask(server, alice, "early", "[[silence:30:times:1]] hi", message_id="q"))) > 0


def _message(text: str) -> dict[str, Any]:
    return {"content": build.text(text), "model": "claude-v3.7-sonnet", "parentMessageId": None}


def _body(conversation: str, text: str, message_id: str) -> dict[str, Any]:
    return {"conversationId": conversation, "message": {**_message(text), "messageId": message_id}}


# ---- Checkpoints ----------------------------------------------------------------------------------------------------


@pytest.fixture
def alice_here(client_of: Callable[..., APIClient], transactional_db: None) -> APIClient:
    client = client_of("alice")
    client.get("/conversations")
    return client


def listened(conversation: str, text: str, **fields: Any) -> Any:
    """The events of a turn that runs in this process and has a listener, one by one."""
    from bedrock_chat.bedrock import catalog
    from bedrock_chat.identity.caller import Caller
    from conversations.content.blocks import Content

    user = User.objects.get(username="alice")
    chat = ChatInput(
        conversation_external_id=conversation,
        model=catalog.find("claude-v3.7-sonnet"),
        content=Content(build.text(text), {}),
        **fields,
    )
    return lifecycle.run(chat, actor=Caller(user_id=user.pk), listener=object())


def advance(events: Any, texts: int) -> None:
    """Reads events until the model has sent this many texts."""
    for event in events:
        texts -= isinstance(event, TextDelta)
        if not texts:
            return


def test_a_checkpoint_writes_what_is_true_if_the_process_dies_now(alice_here: APIClient, emulator: Emulator) -> None:
    events = listened("c1", "[[words:9]]", message_external_id="q")
    advance(events, 3)
    assert Message.objects.get(external_id="q").outcome == Outcome.FAILED
    checkpoints.write()
    question, answer = Message.objects.order_by("pk")
    assert (question.outcome, answer.stop_reason) == (Outcome.INTERRUPTED, "interrupted")
    assert answer.content == build.text("the quick brown")
    assert read(alice_here, "c1")["lastMessageId"] == "q"  # not in the tree while its turn runs
    list(events)
    question, answer = Message.objects.order_by("pk")
    assert (question.outcome, answer.stop_reason) == (Outcome.ANSWERED, "end_turn")
    assert len(answer.content[0]["body"].split()) == 9


def test_what_has_not_grown_is_not_written_again(alice_here: APIClient, emulator: Emulator) -> None:
    events = listened("c1", "[[words:9]]")
    advance(events, 3)
    checkpoints.write()
    with CaptureQueriesContext(connection) as captured:
        checkpoints.write()
    assert captured.captured_queries == []
    list(events)


def test_fifty_turns_are_checkpointed_in_one_transaction(alice_here: APIClient, emulator: Emulator) -> None:
    turns = [listened(f"c{number}", "[[words:9]]") for number in range(50)]
    for events in turns:
        advance(events, 2)
    with CaptureQueriesContext(connection) as captured:
        checkpoints.write()
    assert sum("BEGIN" in query["sql"] for query in captured.captured_queries) <= 1
    assert len(captured.captured_queries) <= 2 * 50 + 5
    assert Message.objects.filter(stop_reason="interrupted").count() == 50
    for events in turns:
        list(events)
    assert not Message.objects.filter(stop_reason="interrupted").exists()


def test_one_turn_that_cannot_be_checkpointed_costs_the_others_nothing(
    alice_here: APIClient, emulator: Emulator
) -> None:
    """Here a client has given its own question the id that an answer was to have."""
    turns = [listened(f"c{number}", "[[words:9]]", message_external_id="q") for number in range(3)]
    for events in turns:
        advance(events, 3)
    say(alice_here, "c1", "mine", message_id=_answer_id("c1"))
    checkpoints.write()
    checkpoints.write()
    assert Message.objects.filter(stop_reason="interrupted").count() == 3
    for events in turns:
        list(events)
    assert Message.objects.filter(stop_reason="end_turn").count() == 4


def _answer_id(conversation: str) -> str:
    (running,) = [turn for turn in registry.all_running() if turn.turn.chat.conversation_external_id == conversation]
    return running.answer_external_id


def test_a_turn_waits_for_the_checkpoint_that_is_being_written(alice_here: APIClient, emulator: Emulator) -> None:
    events = listened("c1", "[[words:9]]")
    advance(events, 3)
    (running,) = registry.all_running()
    with ThreadPoolExecutor(1) as pool, running.writing:
        closing_ = pool.submit(lambda: [list(events), release_connection(final=True)])
        time.sleep(0.3)
        assert not closing_.done()
        assert Message.objects.count() == 1
    assert Message.objects.get(stop_reason="end_turn")


def test_a_row_that_somebody_else_holds_keeps_no_heartbeat_waiting(alice_here: APIClient, emulator: Emulator) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite locks no rows")
    turns = [listened(f"c{number}", "[[words:9]]") for number in range(2)]
    for events in turns:
        advance(events, 3)

    def write() -> None:
        checkpoints.write()
        release_connection(final=True)

    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        Conversation.objects.select_for_update().get(external_id="c0")
        pool.submit(write).result(5)
    assert [row.conversation.external_id for row in Message.objects.filter(stop_reason="interrupted")] == ["c1"]
    for events in turns:
        list(events)


def test_a_conversation_deleted_before_any_word_is_a_404_whatever_the_fault(
    alice_here: APIClient, emulator: Emulator
) -> None:
    events = listened("c1", "[[fault:ModelErrorException]]")
    next(events)
    alice_here.delete("/conversation/c1")
    with pytest.raises(NotFound, match="deleted meanwhile"):
        list(events)


def test_thoughts_alone_are_no_answer(alice_here: APIClient, emulator: Emulator) -> None:
    events = listened("c1", "[[words:3]]", enable_reasoning=True)
    for event in events:
        if isinstance(event, ReasoningDelta):
            break
    checkpoints.write()
    assert Message.objects.count() == 1
    events.close()
    assert Message.objects.get().outcome == Outcome.FAILED


def test_a_listener_thread_that_breaks_off_keeps_what_was_said(alice_here: APIClient, emulator: Emulator) -> None:
    events = listened("c1", "[[words:9]]", message_external_id="q")
    advance(events, 4)
    events.close()
    last = last_of(read(alice_here, "c1"))
    assert (text_of(last), last["stopReason"]) == (SAID, "interrupted")


def test_a_deleted_conversation_is_not_written_into(alice_here: APIClient, emulator: Emulator) -> None:
    events = listened("c1", "[[words:9]]")
    advance(events, 3)
    alice_here.delete("/conversation/c1")
    checkpoints.write()
    assert Message.objects.count() == 0
    with pytest.raises(Exception, match="deleted"):
        list(events)


def test_a_zombie_does_not_write_over_its_successor(alice_here: APIClient, emulator: Emulator) -> None:
    events = listened("c1", "[[words:9]]", message_external_id="q")
    advance(events, 3)
    Message.objects.update(lease_expires_at="2020-01-01T00:00:00Z")  # this process was asleep
    assert say(alice_here, "c1", "[[words:9]]", message_id="q").status_code == 200
    checkpoints.write()
    assert Message.objects.filter(stop_reason="interrupted").count() == 0
    assert list(events)[-1].is_another
    last = last_of(read(alice_here, "c1"))
    assert len(text_of(last).split()) == 9


def test_a_continuations_checkpoint_keeps_the_earlier_text(alice_here: APIClient, emulator: Emulator) -> None:
    say(alice_here, "c1", "[[max_tokens]] [[then]] [[words:9]]", message_id="q")
    before = read(alice_here, "c1")
    answer_id = before["lastMessageId"]
    events = listened("c1", "", continue_generate=True)
    advance(events, 2)
    checkpoints.write()
    during = read(alice_here, "c1")["messageMap"][answer_id]
    # That it is cut short is how a client that comes back knows to ask for the stream of its question.
    assert (text_of(during), during["stopReason"]) == ("This answer stopsthe quick", "interrupted")
    events.close()
    after = read(alice_here, "c1")["messageMap"][answer_id]
    assert (text_of(after), after["stopReason"]) == ("This answer stopsthe quick", "interrupted")


def test_a_failing_checkpoint_is_tried_again(
    alice_here: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = listened("c1", "[[words:9]]")
    advance(events, 3)
    with monkeypatch.context() as patched:
        patched.setattr(closing, "write_answer", lambda *_, **__: 1 / 0)
        checkpoints.write()
    assert Message.objects.count() == 1
    assert not registry.all_running()[0].writing.locked()
    checkpoints.write()
    assert Message.objects.count() == 2
    list(events)
