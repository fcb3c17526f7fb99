"""What a turn's tools may do, and what happens where it is reached: the turn goes on, and ends with an answer."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from bedrock_chat.ledger.models import ToolCall
from bots.tools import results
from bots.tools.tool import STOPPED, TextPart
from conversations.content.rounds import LAST_CALL
from conversations.models import Message, Role
from conversations.turn import registry, rounds, tool_calls
from tests.conversations.chat import read, say, text_of
from tests.conversations.rounds.tooling import (
    Recorder,
    calls,
    in_rounds,
    make_bot,
    offering,
    sent,
    tool,
    waiting_for,
)
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]
DONE = "The tool said something useful."


def stop_reason() -> str:
    return Message.objects.get(role=Role.ASSISTANT).stop_reason


def last_text(message: dict[str, Any]) -> str:
    text: str = message["thinkingLog"][-1]["content"][-1]["body"]["content"][-1]["text"]
    return text


def distinct(count: int) -> list[str]:
    return [calls(("search", {"query": str(number)})) for number in range(count)]


def test_after_the_last_round_the_model_is_asked_once_more(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TOOL_ROUNDS = 2
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    message = say(alice, "c1", in_rounds(*distinct(2)), bot_id=make_bot(alice)).json()["message"]
    assert (text_of(message), stop_reason()) == (DONE, "tool_limit")
    assert last_text(message) == LAST_CALL
    assert all("toolConfig" in request["body"] for request in emulator.requests())
    assert len(emulator.requests()) == 3


@pytest.mark.parametrize("says", [True, False], ids=["with words", "without words"])
def test_a_model_that_asks_again_gets_errors_and_its_words_are_the_answer(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, settings: Any, says: bool
) -> None:
    settings.TOOL_ROUNDS = 1
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    silent = "" if says else "[[empty]]"
    prompt = in_rounds(*(silent + markers for markers in distinct(3)))
    message = say(alice, "c1", prompt, bot_id=make_bot(alice)).json()["message"]
    assert [value["query"] for value in recorder.inputs] == ["0"]
    assert text_of(message) == ("Let me look that up." if says else rounds.NO_WORDS)
    assert stop_reason() == "tool_limit"
    result = message["thinkingLog"][-1]["content"][0]["body"]
    assert (result["status"], result["content"]) == ("error", [{"text": rounds.NOT_RUN}])
    assert len(emulator.requests()) == 2
    assert say(alice, "c1", "and now?").status_code == 200


def test_nine_calls_at_once_are_eight_and_an_error(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    prompt = " ".join(distinct(9))
    message = say(alice, "c1", prompt, bot_id=make_bot(alice)).json()["message"]
    assert len(recorder.inputs) == 8
    statuses = [block["body"]["status"] for block in message["thinkingLog"][1]["content"]]
    assert statuses == ["success"] * 8 + ["error"]
    assert text_of(message) == DONE


def test_the_third_identical_call_in_a_row_is_not_run(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    same = calls(("search", {"query": "same"}))
    say(alice, "c1", in_rounds(same, same, same, distinct(1)[0], same), bot_id=make_bot(alice))
    assert [value["query"] for value in recorder.inputs] == ["same", "same", "0", "same"]


def test_the_calls_of_a_turn_are_counted(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TOOL_CALLS_PER_TURN = 3
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    both = [calls(("search", {"query": f"a{n}"}), ("search", {"query": f"b{n}"})) for n in range(3)]
    message = say(alice, "c1", in_rounds(*both), bot_id=make_bot(alice)).json()["message"]
    assert len(recorder.inputs) == 3
    assert stop_reason() == "tool_limit"
    assert message["thinkingLog"][3]["content"][-1]["body"]["content"][-1]["text"] == LAST_CALL


def test_what_a_turn_may_cost_is_a_bound(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TURN_MAX_COST = 0.000001
    offering(monkeypatch, tool())
    say(alice, "c1", in_rounds(*distinct(3)), bot_id=make_bot(alice))
    assert stop_reason() == "tool_limit"
    assert len(emulator.requests()) == 2


def test_tokens_bound_a_model_without_a_price(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TURN_MAX_TOKENS = 10
    offering(monkeypatch, tool())
    monkeypatch.setattr("bedrock_chat.bedrock.pricing.price", lambda usage, prices: None)
    say(alice, "c1", in_rounds(*distinct(3)), bot_id=make_bot(alice))
    assert stop_reason() == "tool_limit"


def test_a_call_that_takes_too_long_is_an_error(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    offering(monkeypatch, tool(run=Recorder(wait=30), seconds=1))
    started = time.monotonic()
    message = say(alice, "c1", " ".join(distinct(2)), bot_id=make_bot(alice)).json()["message"]
    assert time.monotonic() - started < 4
    results_of = [block["body"] for block in message["thinkingLog"][1]["content"]]
    assert [one["content"][0]["text"] for one in results_of] == [tool_calls.TOO_LONG] * 2
    assert set(ToolCall.objects.values_list("outcome", flat=True)) == {"timeout"}
    assert text_of(message) == DONE


def test_a_call_that_does_not_heed_its_end_is_given_up(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TOOL_TURN_SECONDS = 1
    release = threading.Event()

    def deaf(value: Any, context: Any) -> Any:
        if value["query"] == "1":
            release.wait(20)
        return results.of([TextPart("late")])

    offering(monkeypatch, tool(run=deaf))
    started = time.monotonic()
    try:
        message = say(alice, "c1", " ".join(distinct(2)), bot_id=make_bot(alice)).json()["message"]
    finally:
        release.set()
    assert time.monotonic() - started < 4
    statuses = [block["body"]["status"] for block in message["thinkingLog"][1]["content"]]
    assert statuses == ["success", "error"]
    time.sleep(0.2)
    stored = read(alice, "c1")
    assert stored["messageMap"][stored["lastMessageId"]]["thinkingLog"] == message["thinkingLog"]


def test_a_call_that_is_given_up_had_its_own_time_and_not_the_turns(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TOOL_SECONDS = 1
    release = threading.Event()

    def deaf(value: Any, context: Any) -> Any:
        if value["query"] == "1":
            release.wait(8)
        return results.of([TextPart("late")])

    offering(monkeypatch, tool(run=deaf))
    started = time.monotonic()
    try:
        say(alice, "c1", " ".join(distinct(2)), bot_id=make_bot(alice))
    finally:
        release.set()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(("seconds", "outcome"), [(1, "timeout"), (20, "stopped")])
def test_a_tool_that_cannot_be_interrupted_is_left_to_itself_on_the_turns_own_thread_too(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, seconds: int, outcome: str
) -> None:
    release = threading.Event()

    def deaf(value: Any, context: Any) -> Any:
        if outcome == "stopped":
            [running] = registry.all_running()
            threading.Timer(0.1, registry.stop, running.key).start()
        release.wait(8)
        return results.of([TextPart("late")])

    offering(monkeypatch, tool(run=deaf, seconds=seconds, interruptible=False))
    bot = make_bot(alice)
    started = time.monotonic()
    try:
        response = say(alice, "c1", *distinct(1), bot_id=bot)
    finally:
        release.set()
    assert time.monotonic() - started < 5
    assert response.status_code == 200, response.content
    assert ToolCall.objects.get().outcome == outcome
    assert say(alice, "c1", "next").status_code == 200


def test_without_a_free_thread_the_turns_own_runs_the_calls_one_after_another(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_calls.pool(), "submit_if_free", lambda task: False)
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    message = say(alice, "c1", " ".join(distinct(3)), bot_id=make_bot(alice)).json()["message"]
    assert [value["query"] for value in recorder.inputs] == ["0", "1", "2"]
    assert len(set(recorder.threads)) == 1
    assert text_of(message) == DONE


@pytest.mark.parametrize("count", [1, 3])
def test_a_stop_ends_every_call_within_a_second(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    offering(monkeypatch, tool(run=Recorder(wait=30), read_only=False))
    bot = make_bot(alice)
    stopped_at: list[float] = []

    def stop() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for running in registry.all_running():
                if running.rounds:
                    time.sleep(0.2)
                    stopped_at.append(time.monotonic())
                    assert registry.stop(*running.key)
                    return
            time.sleep(0.01)

    stopper = threading.Thread(target=stop)
    stopper.start()
    response = say(alice, "c1", " ".join(distinct(count)), bot_id=bot)
    ended = time.monotonic()
    stopper.join()
    assert ended - stopped_at[0] < 1
    assert response.status_code == 200
    message = response.json()["message"]
    assert (text_of(message), message["stopReason"]) == ("Let me look that up.", "stopped")
    errors = [block["body"]["content"] for block in message["thinkingLog"][1]["content"]]
    assert errors == [[{"text": STOPPED}]] * count
    assert [block["contentType"] for block in message["content"]] == ["text"], "its tool uses are in the log alone"
    assert list(ToolCall.objects.values_list("outcome", flat=True)) == ["stopped"] * count
    assert Message.objects.get(role=Role.USER).rounds is None
    assert say(alice, "c1", "next").status_code == 200


@pytest.mark.both
@pytest.mark.parametrize("count", [1, 2])
def test_no_thread_holds_a_connection_while_a_tool_talks(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Neither those that run calls nor the turn's own, which waits for them."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no pool: its connections are files of this machine")
    talking, taken = threading.Barrier(count), list[int]()

    def run(value: Any, context: Any) -> Any:
        talking.wait(10)
        stats = connection.pool.get_stats()  # type: ignore[attr-defined]  # PostgreSQL's
        taken.append(stats["pool_size"] - stats["pool_available"])
        talking.wait(10)
        return results.of([TextPart("x")])

    offering(monkeypatch, tool(run=run))
    say(alice, "c1", " ".join(distinct(count)), bot_id=make_bot(alice))
    assert taken == [0] * count


@pytest.mark.parametrize("rounds_of_nonsense", [2, 3])
def test_unusable_input_is_answered_twice_and_is_a_fault_then(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, rounds_of_nonsense: int
) -> None:
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    prompt = in_rounds(*(calls(("search", {"wrong": n})) for n in range(rounds_of_nonsense)))
    response = say(alice, "c1", prompt, bot_id=make_bot(alice))
    assert recorder.inputs == []
    if rounds_of_nonsense == 3:
        assert response.status_code == 502
        return
    message = response.json()["message"]
    use = message["thinkingLog"][0]["content"][1]["body"]
    assert use["input"] == {}
    assert message["thinkingLog"][1]["content"][0]["body"]["status"] == "error"
    assert text_of(message) == DONE


@pytest.mark.parametrize("stop", ["max_tokens", "guardrail_intervened", "content_filtered", "malformed_tool_use"])
def test_after_any_other_stop_no_tool_runs(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    message = say(alice, "c1", f"[[stop:{stop}]]" + distinct(1)[0], bot_id=make_bot(alice)).json()["message"]
    assert recorder.inputs == []
    assert [block["contentType"] for block in message["content"]] == ["text"]
    assert message["thinkingLog"] is None
    assert stop_reason() == stop


def test_a_model_may_ask_for_tools_and_say_that_it_has_ended(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    say(alice, "c1", in_rounds("[[stop:end_turn]]" + distinct(1)[0], "[[stop:end_turn]]"), bot_id=make_bot(alice))
    assert len(recorder.inputs) == 1


def test_an_id_that_was_used_before_becomes_a_new_one(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator counts the tool uses of a prompt, so it uses an id again in another branch."""
    offering(monkeypatch, tool())
    bot = make_bot(alice)
    first = say(alice, "c1", distinct(1)[0], bot_id=bot).json()["message"]["thinkingLog"]
    second = say(alice, "c1", distinct(1)[0], parent="system").json()["message"]["thinkingLog"]
    ids = [log[0]["content"][1]["body"]["toolUseId"] for log in (first, second)]
    assert len(set(ids)) == 2
    assert say(alice, "c1", "next").status_code == 200


def test_a_failing_tool_is_an_error_and_its_words_stay_inside(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def run(value: Any, context: Any) -> Any:
        raise RuntimeError("the password is hunter2")

    offering(monkeypatch, tool(run=run))
    message = say(alice, "c1", distinct(1)[0], bot_id=make_bot(alice)).json()["message"]
    assert message["thinkingLog"][1]["content"][0]["body"]["content"] == [{"text": "The tool failed."}]
    assert "hunter2" not in caplog.text
    assert ToolCall.objects.get().outcome == "failed"


def test_a_waiting_tool_does_not_keep_others_waiting(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = threading.Event()
    order: list[str] = []

    def run(value: Any, context: Any) -> Any:
        if value["query"] == "0":
            return waiting_for(event)(value, context)
        order.append(value["query"])
        if len(order) == 2:
            event.set()
        return results.of([TextPart("x")])

    offering(monkeypatch, tool(run=run))
    say(alice, "c1", " ".join(distinct(3)), bot_id=make_bot(alice))
    assert sorted(order) == ["1", "2"]
    assert len(sent(emulator)) == 2
