"""How the calls of a round end: none is told, closed or written before or after its time."""

import threading
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.bedrock.tools import ToolResult
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.models import ToolCall
from bots.tools import results
from bots.tools.tool import TextPart
from conversations.models import Message, Role
from conversations.turn import lifecycle, registry, tool_calls
from conversations.turn.types import TurnEvent
from tests.conversations.chat import say
from tests.conversations.rounds.conftest import chat_of
from tests.conversations.rounds.tooling import calls, make_bot, offering, tool
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True)]
TWO = calls(("search", {"query": "0"}), ("search", {"query": "1"}))


def is_of_the_pool() -> bool:
    return threading.current_thread().name.startswith("tool")


def text(value: Any, context: Any) -> Any:
    return results.of([TextPart(value["query"])])


def wait_for_the_pool() -> None:
    """Until its threads are idle again."""
    while tool_calls.pool().busy:
        threading.Event().wait(0.005)


@pytest.mark.both
def test_a_turn_does_not_end_while_a_result_is_being_stored(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows would be written by the closing turn and by the thread that stores it."""
    write, run = tool_calls.round_storing.write_results, tool_calls.run
    has_ended, ended_before = threading.Event(), list[bool]()

    def slow_write(running: Any, stored: Any) -> None:
        if is_of_the_pool():
            ended_before.append(has_ended.wait(0.2))
        write(running, stored)

    def noted_run(*arguments: Any) -> Any:
        yield from run(*arguments)
        has_ended.set()

    monkeypatch.setattr(tool_calls.round_storing, "write_results", slow_write)
    monkeypatch.setattr(tool_calls, "run", noted_run)
    offering(monkeypatch, tool(run=text))
    assert say(alice, "c1", TWO, bot_id=make_bot(alice)).status_code == 200
    assert ended_before
    assert not any(ended_before)
    assert ToolCall.objects.count() == 2


def test_a_turn_that_closes_keeps_results_from_being_written(alice: APIClient, emulator: Emulator) -> None:
    running = registry.RunningTurn(_OpenTurn())  # type: ignore[arg-type]
    with running.closing():
        assert running.keeping_rounds.locked()
    assert running.closed


class _OpenTurn:
    """As much of an open turn as its entry in the registry needs."""

    booking = ids = reservation = answer_external_id = None


def test_a_result_that_comes_too_late_is_not_written(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TOOL_TURN_SECONDS = 0.2
    monkeypatch.setattr(tool_calls, "LATE_SECONDS", 0.1)
    release = threading.Event()
    write, writers = tool_calls.round_storing.write_results, list[str]()

    def deaf(value: Any, context: Any) -> Any:
        if value["query"] == "1":
            release.wait(20)
        return text(value, context)

    def noted_write(running: Any, stored: Any) -> None:
        writers.extend(threading.current_thread().name for call in stored if call["toolUseId"].endswith("2"))
        write(running, stored)

    monkeypatch.setattr(tool_calls.round_storing, "write_results", noted_write)
    offering(monkeypatch, tool(run=deaf))
    try:
        message = say(alice, "c1", TWO, bot_id=make_bot(alice)).json()["message"]
    finally:
        release.set()
    wait_for_the_pool()
    assert [block["body"]["status"] for block in message["thinkingLog"][1]["content"]] == ["success", "error"]
    assert len(writers) == 1, "the turn's thread has given it up"
    assert not writers[0].startswith("tool")
    assert sorted(ToolCall.objects.values_list("outcome", flat=True)) == ["success", "timeout"]


def events_of(prompt: str) -> Any:
    actor = Caller(user_id=local.local_user("alice").pk, groups=frozenset({"CreatingBotAllowed"}))
    return lifecycle.run(chat_of(prompt), actor=actor, listener=object())


def test_a_result_is_told_as_its_call_ends(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call ends only after the second one's result was told."""
    was_told = threading.Event()

    def run(value: Any, context: Any) -> Any:
        if value["query"] == "0":
            assert was_told.wait(5)
        return text(value, context)

    offering(monkeypatch, tool(run=run))
    make_bot(alice)
    ended: list[TurnEvent] = []
    for event in events_of(TWO):
        if isinstance(event, ToolResult):
            ended.append(event)
            was_told.set()
    assert [(event.tool_use_id[-1], event.status) for event in ended] == [("2", "success"), ("1", "success")]


def test_calls_of_a_turn_that_nobody_follows_have_their_ends_and_rows(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(value: Any, context: Any) -> Any:
        if value["query"] == "1":
            context.interruption.wait(20)
            return results.error("search", "It was ended.", "stopped")
        return text(value, context)

    offering(monkeypatch, tool(run=run))
    make_bot(alice)
    events = events_of(TWO)
    for event in events:
        if isinstance(event, ToolResult):
            events.close()
    [message] = Message.objects.filter(role=Role.ASSISTANT)
    statuses = [block["body"]["status"] for block in message.thinking_log[1]["content"]]
    assert statuses == ["success", "error"]
    assert sorted(ToolCall.objects.values_list("outcome", flat=True)) == ["stopped", "success"]


def test_calls_that_were_given_up_may_end_while_others_are_stored(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TOOL_TURN_SECONDS = 0.2
    monkeypatch.setattr(tool_calls, "LATE_SECONDS", 0.1)
    release = threading.Event()
    write = tool_calls.round_storing.write_results

    def deaf(value: Any, context: Any) -> Any:
        if value["query"] == "1":
            release.wait(20)
        return text(value, context)

    def stepping_write(running: Any, stored: Any) -> None:
        write(running, stored)
        if is_of_the_pool():  # the first call's result is stored, until the second was given up, and has ended
            release.wait(20)
            while tool_calls.pool().busy > 1:
                threading.Event().wait(0.005)
        elif stored:
            release.set()

    monkeypatch.setattr(tool_calls.round_storing, "write_results", stepping_write)
    offering(monkeypatch, tool(run=deaf))
    response = say(alice, "c1", TWO, bot_id=make_bot(alice))
    assert response.status_code == 200, response.content
    results_of = response.json()["message"]["thinkingLog"][1]["content"]
    assert [block["body"]["status"] for block in results_of] == ["success", "error"]
    assert ToolCall.objects.count() == 2


def test_a_turn_that_is_left_while_calls_are_given_up_ends(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TOOL_TURN_SECONDS = 0.2
    monkeypatch.setattr(tool_calls, "LATE_SECONDS", 0.1)
    release = threading.Event()

    def deaf(value: Any, context: Any) -> Any:
        release.wait(20)
        return text(value, context)

    offering(monkeypatch, tool(run=deaf))
    make_bot(alice)
    events = events_of(TWO)
    try:
        for event in events:
            if isinstance(event, ToolResult):
                events.close()
    finally:
        release.set()
    assert list(ToolCall.objects.values_list("outcome", flat=True)) == ["timeout", "timeout"]
