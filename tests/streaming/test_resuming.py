"""Coming back to a turn: a client gets the rest of it, or all of it, from any position."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conversations.chat import payload
from tests.listening import ask, asking, names, resume, resuming, text_of
from tests.live import LiveServer
from tests.streaming.conftest import Serve

pytestmark = pytest.mark.both

SLOW = "[[words:30]] [[pace:0.05]]"
WORDS = 30


@pytest.fixture(scope="module")
def other(serve: Serve) -> LiveServer:
    return serve()


def test_who_comes_back_gets_what_was_missed_and_the_rest(server: LiveServer, alice: str) -> None:
    with asking(server, alice, "missed", SLOW, message_id="q") as listener:
        seen = [*listener.until("message_start"), *listener.until("text")]
    time.sleep(0.3)  # the client is away, while the model goes on
    rest = resume(server, alice, "missed", "q", seen[-1].id)
    assert "message_start" not in names(rest)
    assert rest[-1].name == "message_stop"
    assert len(text_of(seen + rest).split()) == WORDS


def test_who_comes_without_knowing_anything_gets_all_of_it(server: LiveServer, alice: str) -> None:
    with asking(server, alice, "reload", SLOW, message_id="q") as listener:
        listener.until("text")
    events = resume(server, alice, "reload", "q")
    assert names(events) == ["message_start", "text", "message_stop"]
    assert len(text_of(events).split()) == WORDS


@pytest.mark.parametrize("last", ["9-4", "1-99999", "1-end", "rubbish", "-1"])
def test_an_id_that_means_nothing_here_means_from_the_beginning(server: LiveServer, alice: str, last: str) -> None:
    conversation = f"odd-{last}"
    with asking(server, alice, conversation, SLOW, message_id="q") as listener:
        listener.until("text")
    events = resume(server, alice, conversation, "q", last)
    assert names(events)[0] == "message_start"
    assert len(text_of(events).split()) == WORDS


def test_ten_who_come_back_at_different_moments_all_hear_the_same(server: LiveServer, alice: str) -> None:
    def come(moment: float) -> str:
        time.sleep(moment)
        return text_of(resume(server, alice, "ten", "q"))

    with asking(server, alice, "ten", SLOW, message_id="q") as listener, ThreadPoolExecutor(10) as pool:
        listener.until("message_start")
        texts = list(pool.map(come, [0.15 * number for number in range(10)]))
        own = text_of(list(listener))
    assert set(texts) == {own}


def test_a_finished_turn_is_told_as_one_sequence(server: LiveServer, alice: str) -> None:
    first = ask(server, alice, "finished", "why", message_id="q", enable_reasoning=True)
    events = resume(server, alice, "finished", "q")
    assert [event.name for event in events] == ["message_start", "reasoning", "text", "message_stop"]
    assert events[0].data == first[0].data
    assert events[-1].data == first[-1].data
    assert text_of(events) == text_of(first)


def test_whoever_has_seen_the_end_is_told_to_stop_asking(server: LiveServer, alice: str) -> None:
    last = ask(server, alice, "seen", "hello", message_id="q")[-1]
    with resuming(server, alice, "seen", "q", last.id) as listener:
        assert listener.response.status_code == 204
    assert resume(server, alice, "seen", "q", "1-2")[0].name == "message_start"


def test_a_failed_question_says_so(server: LiveServer, alice: str) -> None:
    ask(server, alice, "failed", "[[denied]]", message_id="q")
    start, error = resume(server, alice, "failed", "q")
    assert (start.data["answerId"], error.name) == (None, "error")
    assert "send it again" in error.data["detail"]
    assert (error.data["conversationId"], error.data["messageId"]) == ("failed", "q")


def test_an_interrupted_answer_is_told_as_far_as_it_came(server: LiveServer, alice: str) -> None:
    ask(server, alice, "cut", "[[words:9]] [[cut:after:4]]", message_id="q")
    events = resume(server, alice, "cut", "q")
    assert text_of(events) == "the quick brown fox"
    assert events[-1].data["stopReason"] == "interrupted"


def test_a_continuation_is_resumed_by_its_questions_id(server: LiveServer, alice: str) -> None:
    ask(server, alice, "continued", f"[[max_tokens]] [[then]] {SLOW}", message_id="q")
    with asking(server, alice, "continued", [], continue_generate=True) as listener:
        seen = [*listener.until("message_start"), *listener.until("text")]
    time.sleep(0.5)  # CHECKPOINT_SECONDS is 0.2 here
    stored = server.call("GET", "/conversation/continued", token=alice)[1]
    answer = stored["messageMap"][stored["lastMessageId"]]
    assert answer["stopReason"] == "interrupted"  # so whoever comes back knows to ask for the stream
    with resuming(server, alice, "continued", "q") as listener:
        (start,) = listener.until("message_start")
    assert answer["content"][0]["body"] > start.data["continuedText"] == "This answer stops"
    rest = resume(server, alice, "continued", "q", seen[-1].id)
    assert len(text_of(seen + rest).split()) == WORDS  # only what is new
    assert text_of(resume(server, alice, "continued", "q")).startswith("This answer stops")


def test_of_two_answers_the_one_that_was_written_last_is_told(server: LiveServer, alice: str) -> None:
    prompt = "[[words:9]] [[cut:after:4:times:1]]"
    partial = ask(server, alice, "two", prompt, message_id="q")
    first = server.call("GET", "/conversation/two", token=alice)[1]["lastMessageId"]
    assert partial[-1].name == "error"
    ask(server, alice, "two", prompt, message_id="q")
    ask(server, alice, "two", [], continue_generate=True, parent=first)
    events = resume(server, alice, "two", "q")
    assert events[-1].data["answerId"] == first
    assert text_of(events) == "the quick brown fox ...and the rest."


@pytest.mark.parametrize(
    ("conversation", "question", "who"), [("seen", "nothing", "alice"), ("nowhere", "q", "alice"), ("seen", "q", "bob")]
)
def test_what_is_not_there_or_not_yours_is_404(
    server: LiveServer, alice: str, bob: str, conversation: str, question: str, who: str
) -> None:
    ask(server, alice, "seen", "hello", message_id="q")
    status, body = server.call(
        "GET", f"/conversation/{conversation}/{question}/stream", token={"alice": alice, "bob": bob}[who]
    )
    assert status == 404
    assert body["errors"]


def test_another_process_says_that_it_waits_and_then_tells_the_stored_end(
    server: LiveServer, other: LiveServer, alice: str
) -> None:
    with asking(server, alice, "elsewhere", SLOW, message_id="q") as listener:
        seen = listener.until("text")
        with resuming(other, alice, "elsewhere", "q", seen[-1].id) as waiting:
            events = waiting.until("waiting")
            assert "follows whole" in events[0].data["detail"]
            own = list(listener)
            rest = list(waiting)
    assert names(rest) == ["message_start", "text", "message_stop"]
    assert text_of(rest) == text_of([*seen, *own])


def test_a_plain_turn_can_be_waited_for_too(server: LiveServer, alice: str) -> None:
    with ThreadPoolExecutor() as pool:
        response = pool.submit(
            server.call, "POST", "/conversation", payload("plain", "[[wait:1.5]] hello", message_id="q"), token=alice
        )
        while server.call("GET", "/conversation/plain", token=alice)[0] == 404:
            time.sleep(0.05)
        events = resume(server, alice, "plain", "q")
        assert response.result()[0] == 200
    assert names(events) == ["waiting", "message_start", "text", "message_stop"]


def test_a_conversation_deleted_meanwhile_is_told(server: LiveServer, other: LiveServer, alice: str) -> None:
    with asking(server, alice, "deleted", SLOW, message_id="q") as listener:
        listener.until("text")
        with resuming(other, alice, "deleted", "q") as waiting:
            waiting.until("waiting")
            assert server.call("DELETE", "/conversation/deleted", token=alice)[0] == 200
            (end,) = list(waiting)
        own = list(listener)
    assert (end.name, end.data["status"]) == ("error", 404)
    assert (own[-1].name, own[-1].data["status"]) == ("error", 404)


@pytest.fixture
def patient(server: LiveServer, alice: str) -> Iterator[Any]:
    """A turn whose model waits before it speaks."""
    with asking(server, alice, "silent", "[[silence:2]] hello", message_id="q") as listener:
        yield listener


def test_before_the_first_word_too(server: LiveServer, alice: str, patient: Any) -> None:
    patient.until("message_start")
    events = resume(server, alice, "silent", "q", "1-1")
    assert names(events) == ["text", "message_stop"]
    assert text_of(events) == text_of(list(patient))
