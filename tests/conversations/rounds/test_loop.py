"""Tools run between the model's rounds, and their results go back to it."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.bedrock.tools import ToolResult
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.models import ModelCall, ToolCall
from bots.tools import results
from bots.tools.tool import TextPart
from conversations.models import Message, Role
from conversations.turn import lifecycle
from conversations.turn.types import Finished
from tests.conversations.chat import read, say, text_of
from tests.conversations.rounds.conftest import chat_of
from tests.conversations.rounds.tooling import Recorder, calls, in_rounds, make_bot, offering, sent, tool
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]
DONE = "The tool said something useful."


@pytest.mark.both
def test_a_round_of_tools_comes_before_the_answer(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    offering(monkeypatch, tool())
    bot = make_bot(alice)
    response = say(alice, "c1", "find " + calls(("search", {"query": "cats"})), bot_id=bot)
    assert response.status_code == 200, response.content
    message = response.json()["message"]
    assert text_of(message) == DONE
    use = {"toolUseId": "tooluse_fake0001", "name": "search", "input": {"query": "cats"}}
    result = {"toolUseId": "tooluse_fake0001", "content": [{"text": "found cats"}], "status": "success"}
    assert message["thinkingLog"] == [
        {
            "role": "assistant",
            "content": [
                {"contentType": "text", "body": "Let me look that up."},
                {"contentType": "toolUse", "body": use},
            ],
        },
        {"role": "user", "content": [{"contentType": "toolResult", "body": result}]},
    ]
    stored = read(alice, "c1")
    assert stored["messageMap"][stored["lastMessageId"]]["thinkingLog"] == message["thinkingLog"]
    assert [len(messages) for messages in sent(emulator)] == [1, 3]
    question = Message.objects.get(role=Role.USER)
    assert (question.rounds, question.outcome) == (None, "answered")
    assert ModelCall.objects.count() == 2
    assert len(set(ModelCall.objects.values_list("turn_id", flat=True))) == 1
    row = ToolCall.objects.get()
    assert (row.tool, row.kind, row.server, row.outcome, row.bot_id) == ("search", "internet", "here", "success", "b")
    assert (row.bytes_in, row.bytes_out, row.turn_id) == (16, 10, ModelCall.objects.first().turn_id)


def test_tools_of_a_round_run_together_and_their_results_go_back_in_the_order_of_the_uses(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(value: Any, context: Any) -> Any:
        context.interruption.wait(0.3 if value["query"] == "slow" else 0.0)
        return results.of([TextPart(value["query"])])

    recorder = Recorder(run)
    offering(monkeypatch, tool(run=recorder))
    prompt = calls(*(("search", {"query": query}) for query in ("slow", "b", "c")))
    message = say(alice, "c1", prompt, bot_id=make_bot(alice)).json()["message"]
    [last] = sent(emulator)[-1][-1:]
    assert [block["toolResult"]["content"][0]["text"] for block in last["content"]] == ["slow", "b", "c"]
    assert all(set(block) == {"toolResult"} for block in last["content"])
    assert len(set(recorder.threads)) > 1
    assert len(message["thinkingLog"]) == 2


def test_rounds_follow_each_other(alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder))
    prompt = in_rounds(*(calls(("search", {"query": str(number)})) for number in range(5)))
    message = say(alice, "c1", prompt, bot_id=make_bot(alice)).json()["message"]
    assert [value["query"] for value in recorder.inputs] == ["0", "1", "2", "3", "4"]
    assert len(message["thinkingLog"]) == 10
    assert text_of(message) == DONE
    assert [len(messages) for messages in sent(emulator)] == [1, 3, 5, 7, 9, 11]


def test_later_turns_get_the_rounds_of_earlier_answers(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    offering(monkeypatch, tool())
    bot = make_bot(alice)
    say(alice, "c1", calls(("search", {"query": "cats"})), bot_id=bot)
    assert say(alice, "c1", "and now?").status_code == 200
    roles = [(message["role"], [next(iter(block)) for block in message["content"]]) for message in sent(emulator)[-1]]
    assert roles[:4] == [
        ("user", roles[0][1]),
        ("assistant", ["text", "toolUse"]),
        ("user", ["toolResult"]),
        ("assistant", ["text"]),
    ]


def test_an_unknown_tool_is_an_error_that_says_so(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    offering(monkeypatch, tool())
    bot = make_bot(alice, displayRetrievedChunks=True)
    message = say(alice, "c1", calls(("not_a_tool", {"query": "q"})), bot_id=bot).json()["message"]
    [result] = message["thinkingLog"][1]["content"]
    part = {"json": {"source_id": "tooluse_fake0001", "content": "Unknown tool: not_a_tool"}}
    assert result["body"] == {"toolUseId": "tooluse_fake0001", "content": [part], "status": "error"}
    assert ToolCall.objects.get().outcome == "refused"
    assert text_of(message) == DONE


@pytest.mark.both
@pytest.mark.parametrize("name", ["search", "nobodys"])
@pytest.mark.parametrize(
    "value", ["NaN", "1e999", "1" * 40, "[" * 40 + "]" * 40, f'"{"y" * 300_000}"'], ids=lambda value: value[:6]
)
def test_an_input_that_could_not_be_stored_or_sent_back_is_not_kept(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Of a tool that is not there, too: its input goes back to the model like any other."""
    offering(monkeypatch, tool())
    make_bot(alice)
    emulator.queue({"tools": [{"name": name, "raw": f'{{"query":"x","n":{value}}}'}]})
    actor = Caller(user_id=local.local_user("alice").pk, groups=frozenset({"CreatingBotAllowed"}))
    events = list(lifecycle.run(chat_of("go"), actor=actor, listener=object()))
    assert [event.status for event in events if isinstance(event, ToolResult)] == ["error"]
    assert isinstance(events[-1], Finished)
    stored = Message.objects.get(role=Role.ASSISTANT).thinking_log
    assert stored[0]["content"][-1]["body"]["input"] == {}
    assert say(alice, "c1", "next").status_code == 200
