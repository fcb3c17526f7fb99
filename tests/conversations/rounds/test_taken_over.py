"""Rounds outlive their process: whoever asks a question again goes on from what its tools have given."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bedrock_chat.bedrock.events import TextDelta, ToolUse
from bedrock_chat.bedrock.tools import FoundDocument, ToolResult
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.models import ModelCall, ToolCall
from bedrock_chat.wire.errors import Conflict
from conversations.content.rounds import NOT_KNOWN
from conversations.models import Message, Role
from conversations.turn import lifecycle, rounds
from conversations.turn.types import Finished, TurnEvent
from tests.conversations.chat import read, say, text_of
from tests.conversations.rounds.conftest import chat_of
from tests.conversations.rounds.tooling import Recorder, calls, in_rounds, make_bot, offering, sent, tool
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]
DONE = "The tool said something useful."


def events_of(prompt: str, **fields: Any) -> list[TurnEvent]:
    actor = Caller(user_id=local.local_user("alice").pk, groups=frozenset({"CreatingBotAllowed"}))
    return list(lifecycle.run(chat_of(prompt, **fields), actor=actor, listener=object()))


@pytest.mark.both
def test_a_call_that_has_its_result_is_not_repeated(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Any]
) -> None:
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    make_bot(alice)
    prompt = in_rounds(calls(("search", {"query": "one"})), calls(("search", {"query": "two"})))
    killed(prompt, ToolResult)
    [stored] = Message.objects.get(external_id="q1").rounds
    assert [call["status"] for call in stored["calls"]] == ["success"]
    assert ModelCall.objects.count() == 1, "every paid round is in the ledger"
    message = say(alice, "c1", prompt, message_id="q1").json()["message"]
    assert text_of(message) == DONE
    assert [value["query"] for value in recorder.inputs] == ["one", "two"]
    assert len(message["thinkingLog"]) == 4
    assert [len(messages) for messages in sent(emulator)] == [1, 3, 5]
    assert Message.objects.get(external_id="q1").rounds is None
    assert ToolCall.objects.count() == 2


@pytest.mark.parametrize("read_only", [True, False], ids=["that only reads", "that may write"])
def test_a_call_without_a_result(
    alice: APIClient,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    killed: Callable[..., Any],
    read_only: bool,
) -> None:
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder, read_only=read_only))
    make_bot(alice)
    prompt = calls(("search", {"query": "one"}))
    killed(prompt, ToolUse)
    [stored] = Message.objects.get(external_id="q1").rounds
    assert [call["status"] for call in stored["calls"]] == ["running"]
    message = say(alice, "c1", prompt, message_id="q1").json()["message"]
    result = message["thinkingLog"][1]["content"][0]["body"]
    if read_only:
        assert [value["query"] for value in recorder.inputs] == ["one"]
        assert result["status"] == "success"
    else:
        assert recorder.inputs == []
        assert (result["status"], result["content"]) == ("error", [{"text": NOT_KNOWN}])
        assert ToolCall.objects.get().outcome == "unknown"
    assert text_of(message) == DONE


def test_a_turn_that_was_taken_over_at_its_bound_asks_its_model_no_more(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """The write of the last result's mark finds it out: what the model says then would be paid for nothing."""
    settings.TOOL_ROUNDS = 1
    offering(monkeypatch, tool())
    make_bot(alice)
    append = rounds._append_last_call

    def taken_over(stored: Any) -> None:
        append(stored)
        Message.objects.filter(external_id="q1").update(attempt=2, lease_holder="another")

    monkeypatch.setattr(rounds, "_append_last_call", taken_over)
    with pytest.raises(Conflict):
        events_of(calls(("search", {"query": "one"})))
    assert len(emulator.requests()) == 1


def test_a_call_that_was_refused_is_not_run_by_a_later_attempt(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Any], settings: Any
) -> None:
    """Its input was no JSON, or there were too many at once: the process was killed before it could say so."""
    settings.TOOL_CALLS_PER_ROUND = 2
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder, read_only=False))
    make_bot(alice)
    prompt = '[[use:{"name":"search","raw":"{"}]]' + calls(*[("search", {"query": str(n)}) for n in range(2)])
    killed(prompt, ToolUse)
    message = say(alice, "c1", prompt, message_id="q1").json()["message"]
    assert recorder.inputs == []
    texts = [block["body"]["content"][0]["text"] for block in message["thinkingLog"][1]["content"]]
    assert texts == [rounds.NOT_JSON, NOT_KNOWN, rounds.TOO_MANY_AT_ONCE.format(most=2)]
    assert sorted(ToolCall.objects.values_list("outcome", flat=True)) == ["refused", "refused", "unknown"]


def test_the_events_of_earlier_rounds_are_told_first(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Any]
) -> None:
    offering(monkeypatch, tool())
    make_bot(alice)
    prompt = calls(("search", {"query": "one"}))
    first = killed(prompt, ToolResult, listened=True)
    again = events_of(prompt)
    kinds = [type(event).__name__ for event in again]
    assert kinds[:5] == ["TurnOpened", "TextDelta", "ToolUse", "ToolResult", "FoundDocument"]
    of_tools = [event for event in again if isinstance(event, ToolUse | ToolResult)]
    assert of_tools == [event for event in first if isinstance(event, ToolUse | ToolResult)]
    assert next(event for event in again if isinstance(event, FoundDocument)).content == {"text": "found one"}
    assert isinstance(again[-1], Finished)
    assert "".join(event.text for event in again if isinstance(event, TextDelta)) == f"Let me look that up.{DONE}"


def test_a_cut_turn_keeps_the_text_of_its_newest_round_that_has_some(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Any]
) -> None:
    offering(monkeypatch, tool())
    make_bot(alice)
    prompt = in_rounds(calls(("search", {"query": "one"})), calls(("search", {"query": "two"})))
    killed(prompt, ToolResult, 2, listened=True)
    stored = read(alice, "c1")
    [partial] = [one for one in stored["messageMap"].values() if one["role"] == "assistant"]
    assert (text_of(partial), partial["stopReason"]) == ("Let me look that up.", "interrupted")
    assert [block["contentType"] for block in partial["content"]] == ["text"]
    message = say(alice, "c1", prompt, message_id="q1").json()["message"]
    assert text_of(message) == DONE
    assert len(message["thinkingLog"]) == 4
    assert Message.objects.filter(role=Role.ASSISTANT).count() == 2


def test_a_later_attempt_by_a_model_without_tools_gets_no_old_tool_blocks(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Any]
) -> None:
    from bots.tools import offered

    offering(monkeypatch, tool())
    make_bot(alice)
    killed(calls(("search", {"query": "one"})), ToolResult)
    assert offered.to_model({"tools": []}, catalog.find("deepseek-r1")).tools == ()  # type: ignore[typeddict-item]
    emulator.clear_requests()
    response = say(alice, "c1", calls(("search", {"query": "one"})), message_id="q1", model="deepseek-r1")
    assert response.status_code == 200, response.content
    [messages] = sent(emulator)
    assert [message["role"] for message in messages] == ["user"]
    assert Message.objects.get(external_id="q1").rounds is None, "the question is answered"


def test_reasoning_is_off_where_the_rounds_are_of_another_model(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Any]
) -> None:
    offering(monkeypatch, tool())
    make_bot(alice)
    prompt = calls(("search", {"query": "one"}))
    killed(prompt, ToolResult)
    emulator.clear_requests()
    assert say(alice, "c1", prompt, message_id="q1", enable_reasoning=True).status_code == 200
    [request] = emulator.requests()
    assert "thinking" not in request["body"].get("additionalModelRequestFields", {})


def test_reasoning_goes_back_with_its_round(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Any]
) -> None:
    offering(monkeypatch, tool())
    make_bot(alice)
    prompt = calls(("search", {"query": "one"}))
    killed(prompt, ToolResult, enable_reasoning=True)
    emulator.clear_requests()
    assert say(alice, "c1", prompt, message_id="q1", enable_reasoning=True).status_code == 200
    [request] = emulator.requests()
    assert request["body"]["additionalModelRequestFields"]["thinking"]["type"] == "enabled"
    kinds = [next(iter(block)) for block in request["body"]["messages"][1]["content"]]
    assert kinds == ["reasoningContent", "text", "toolUse"]


@pytest.mark.parametrize(
    "damaged", [[], {}, [{}], [{"blocks": 1}], [[]], "x", [{"model": "m", "thinks": True, "extends": None}]]
)
def test_a_damaged_row_is_asked_again_all_the_same(
    alice: APIClient,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    killed: Callable[..., Any],
    damaged: Any,
) -> None:
    offering(monkeypatch, tool())
    make_bot(alice)
    prompt = calls(("search", {"query": "one"}))
    killed(prompt, ToolResult)
    Message.objects.filter(external_id="q1").update(rounds=damaged)
    assert say(alice, "c1", prompt, message_id="q1").status_code == 200


# ---- Bounds ---------------------------------------------------------------------------------------------------------


def both(first: str, second: str) -> str:
    return in_rounds(calls(("search", {"query": first})), calls(("search", {"query": second})))


@pytest.mark.parametrize(
    "counts", [{"calls": 40}, {"seconds": 500}, {"usd": 2.5}, {"unpricedTokens": 3_000_000}], ids=repr
)
def test_a_turn_that_is_taken_over_goes_on_with_what_it_has_used(
    alice: APIClient,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    killed: Callable[..., Any],
    counts: dict[str, float],
) -> None:
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    make_bot(alice)
    killed(both("one", "two"), ToolResult)
    [stored] = Message.objects.get(external_id="q1").rounds
    assert stored["counts"]["usd"] > 0
    assert stored["counts"]["calls"] == 1
    stored["counts"] |= counts
    Message.objects.filter(external_id="q1").update(rounds=[stored])
    assert say(alice, "c1", both("one", "two"), message_id="q1").status_code == 200
    assert [value["query"] for value in recorder.inputs] == ["one"]
    assert Message.objects.get(role=Role.ASSISTANT).stop_reason == "tool_limit"


@pytest.mark.parametrize("counts", [None, {}, {"calls": "x"}, "x", {"calls": 1e400, "repeated": ""}], ids=repr)
def test_rounds_whose_counts_are_damaged_are_gone_on_from(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Any], counts: Any
) -> None:
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    make_bot(alice)
    killed(both("one", "two"), ToolResult)
    [stored] = Message.objects.get(external_id="q1").rounds
    Message.objects.filter(external_id="q1").update(rounds=[{**stored, "counts": counts}])
    assert say(alice, "c1", both("one", "two"), message_id="q1").status_code == 200
    assert [value["query"] for value in recorder.inputs] == ["one", "two"]


def test_the_third_same_call_in_a_row_is_not_run_by_a_later_attempt_either(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Any]
) -> None:
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    make_bot(alice)
    prompt = in_rounds(*[calls(("search", {"query": "same"}))] * 3)
    killed(prompt, ToolResult, 2)
    message = say(alice, "c1", prompt, message_id="q1").json()["message"]
    assert len(recorder.inputs) == 2
    assert message["thinkingLog"][-1]["content"][0]["body"]["status"] == "error"


def test_calls_that_were_not_run_do_not_count_for_a_later_attempt(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Any], settings: Any
) -> None:
    settings.TOOL_CALLS_PER_TURN = 2
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    make_bot(alice)
    prompt = in_rounds(calls(("nobodys", {}), ("search", {"query": "one"})), calls(("search", {"query": "two"})))
    killed(prompt, ToolResult, 2)
    assert say(alice, "c1", prompt, message_id="q1").status_code == 200
    assert [value["query"] for value in recorder.inputs] == ["one", "two"]


def test_a_model_that_goes_on_with_unusable_input_has_failed_for_a_later_attempt_too(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Any]
) -> None:
    offering(monkeypatch, tool())
    make_bot(alice)
    prompt = in_rounds(*(calls(("search", {"wrong": number})) for number in range(3)))
    killed(prompt, ToolResult, 2)
    assert say(alice, "c1", prompt, message_id="q1").status_code == 502
