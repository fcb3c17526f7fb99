"""What rounds leave: large results as blobs, exports that have them, erasures that take them, and replays."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.bedrock.tools import ToolResult
from bedrock_chat.blobs import storing
from bedrock_chat.blobs.models import Blob, BlobReference
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.ledger import persons
from bedrock_chat.ledger.budgets.models import BudgetCounter, Reservation, Unit
from bedrock_chat.ledger.models import ToolCall
from bots.tools import results
from bots.tools.tool import Context, FilePart, JsonPart, Result, TextPart
from conversations import deleting
from conversations.content import rounds
from conversations.content.rounds import LONG
from conversations.models import Conversation, Message, Role
from conversations.persons import exporting
from conversations.turn import opening, registry, round_storing, spending
from tests import build
from tests.conversations.chat import read, say, text_of
from tests.conversations.rounds.conftest import chat_of
from tests.conversations.rounds.tooling import calls, in_rounds, make_bot, offering, sent, tool
from tests.emulator import Emulator
from tests.ledger.budgets.spending import budget

pytestmark = [pytest.mark.django_db(transaction=True)]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63f8cfc0f01f0005000180ad35d6d10000000049454e44ae426082"
)


def large(value: Any, context: Context) -> Result:
    return results.of(
        [TextPart("x" * (LONG + 1)), JsonPart({"y": "z" * LONG}), FilePart("image", "png", PNG), TextPart("short")]
    )


@pytest.mark.both
def test_long_results_and_files_are_blobs_and_clients_read_them_whole(
    alice: APIClient,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    settings.TOOL_RESULT_CHARS = 100_000
    offering(monkeypatch, tool(run=large))
    message = say(alice, "c1", calls(("search", {"query": "q"})), bot_id=make_bot(alice)).json()["message"]
    stored = Message.objects.get(role=Role.ASSISTANT).thinking_log
    assert len(json.dumps(stored)) < 2_000
    assert BlobReference.objects.filter(owner_kind="conversation").count() == 3
    parts = message["thinkingLog"][1]["content"][0]["body"]["content"]
    assert parts[0] == {"text": "x" * (LONG + 1)}
    assert parts[1] == {"json": {"y": "z" * LONG}}
    assert (parts[2]["format"], len(parts[2]["image"]) > 50) == ("png", True)
    assert parts[3] == {"text": "short"}
    by_reference = alice.get("/conversation/c1?blobs=reference").json()
    referred = by_reference["messageMap"][by_reference["lastMessageId"]]["thinkingLog"][1]["content"][0]["body"][
        "content"
    ]
    assert referred[0]["text"] == ""
    assert "url" in referred[0]
    sent_parts = sent(emulator)[-1][2]["content"][0]["toolResult"]["content"]
    assert [next(iter(part)) for part in sent_parts] == ["text", "json", "image", "text"]
    assert say(alice, "c1", "next").status_code == 200


def test_results_whose_write_failed_keep_their_blobs_with_the_answer(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was away for a moment. Nothing would refer to the blobs, and they would be collected."""
    refer, failures = storing.refer, [OperationalError("gone")]

    def refer_later(owner_kind: str, owner_id: int, shas: Any) -> None:
        if shas and failures:
            raise failures.pop()
        refer(owner_kind, owner_id, shas)

    monkeypatch.setattr(storing, "refer", refer_later)
    offering(monkeypatch, tool(run=large))
    response = say(alice, "c1", calls(("search", {"query": "q"})), bot_id=make_bot(alice))
    assert response.status_code == 200, response.content
    assert failures == []
    named = set(rounds.shas_of(Message.objects.get(role=Role.ASSISTANT).thinking_log))
    assert named
    assert named <= set(BlobReference.objects.values_list("blob_id", flat=True))


def test_a_blob_that_is_lost_costs_no_other_its_reference(
    alice: APIClient,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.TOOL_RESULT_CHARS = 100_000
    keep_files = round_storing.keep_files

    def lose_one(files: Any) -> None:
        keep_files(files)
        Blob.objects.filter(pk__in=list(files)[:1]).delete()

    monkeypatch.setattr(round_storing, "keep_files", lose_one)
    offering(monkeypatch, tool(run=large))
    response = say(alice, "c1", calls(("search", {"query": "q"})), bot_id=make_bot(alice))
    assert response.status_code == 200, response.content
    named = set(rounds.shas_of(Message.objects.get(role=Role.ASSISTANT).thinking_log))
    assert "not stored yet" not in caplog.text
    assert len(named) == 3
    assert set(BlobReference.objects.values_list("blob_id", flat=True)) == named & set(
        Blob.objects.values_list("pk", flat=True)
    )
    assert BlobReference.objects.count() == 2
    assert say(alice, "c1", "next").status_code == 200


@pytest.mark.parametrize("is_cut", [False, True], ids=["of earlier answers", "of an attempt that was cut"])
def test_the_first_reservation_of_a_turn_has_room_for_rounds(
    alice: APIClient,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    killed: Callable[..., Any],
    settings: Any,
    is_cut: bool,
) -> None:
    """What tools gave is read by the model at once, so it counts before it is asked."""
    settings.HISTORY_TOOL_CHARS = 50_000
    offering(monkeypatch, tool(run=lambda value, context: results.of([TextPart("x" * 30_000)])))
    bot, prompt = make_bot(alice), calls(("search", {"query": "q"}))
    if is_cut:
        killed(prompt, ToolResult)
    else:
        say(alice, "c1", prompt, bot_id=bot, message_id="q1")
    budget(User.objects.get(username="alice").pk, "1000000", unit=Unit.TOKENS)
    wanted: list[int] = []
    estimate = spending.estimate

    def noted(*arguments: Any) -> Any:
        made = estimate(*arguments)
        wanted.append(made.amount.tokens)
        return made

    monkeypatch.setattr(spending, "estimate", noted)
    again = say(alice, "c1", prompt, message_id="q1") if is_cut else say(alice, "c1", "next")
    assert again.status_code == 200, again.content
    without = estimate(chat_of(prompt), "", None, build.text(prompt)).amount.tokens
    assert wanted[0] - without >= 30_000 // 4


def test_an_export_has_rounds_of_answered_and_of_cut_turns(
    alice: APIClient,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    killed: Callable[..., Any],
    tmp_path: Path,
) -> None:
    offering(monkeypatch, tool())
    bot = make_bot(alice)
    say(alice, "c0", calls(("search", {"query": "answered"})), bot_id=bot)
    killed(calls(("search", {"query": "cut"})), ToolResult)
    user = User.objects.get(username="alice")
    list(exporting.export(user.pk, tmp_path))
    answered, cut = [json.loads(line) for line in (tmp_path / "conversations.jsonl").read_text().splitlines()]
    assert "found answered" in json.dumps(answered["messageMap"])
    assert "found cut" in json.dumps(cut["unansweredRounds"]["q1"])
    list(persons.export(user.pk, tmp_path))
    rows = [json.loads(line) for line in (tmp_path / "tool_calls.jsonl").read_text().splitlines()]
    assert [row["tool"] for row in rows] == ["search", "search"]
    assert "found" not in json.dumps(rows)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the plan is SQLite's")
def test_a_persons_calls_of_tools_are_found_by_an_index(tmp_path: Path) -> None:
    with CaptureQueriesContext(connection) as queries:
        list(persons.export("alice", tmp_path))
        list(persons.finish_erasing("alice", actor=Program.command("erase_user")))
    statements = [query["sql"] for query in queries if "toolcall" in query["sql"]]
    assert len(statements) == 3
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}")
            assert "tool_calls_of_a_payer" in str(cursor.fetchall()), statement


def test_an_erasure_leaves_calls_that_name_nobody(
    alice: APIClient,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offering(monkeypatch, tool(run=large))
    say(alice, "c1", calls(("search", {"query": "q"})), bot_id=make_bot(alice))
    user = User.objects.get(username="alice")
    list(deleting.delete_in_batches(Conversation.objects.filter(user=user)))
    list(persons.finish_erasing(user.pk, actor=Program.command("test")))
    assert not Message.objects.exists()
    assert not BlobReference.objects.exists()
    row = ToolCall.objects.get()
    assert row.user_id is not None
    assert row.user_id.startswith("erased:")
    assert row.payer_id == row.user_id


def test_a_continuation_has_its_answers_rounds_and_adds_its_own(
    alice: APIClient,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offering(monkeypatch, tool())
    prompt = in_rounds(calls(("search", {"query": "one"})), "[[max_tokens]]", calls(("search", {"query": "two"})))
    bot = make_bot(alice)
    first = say(alice, "c1", prompt, bot_id=bot).json()["message"]
    assert text_of(first) == "This answer stops"
    emulator.clear_requests()
    response = say(alice, "c1", "", continue_generate=True)
    assert response.status_code == 200, response.content
    message = response.json()["message"]
    assert text_of(message).startswith("This answer stops")
    # The emulator counts a continuation as a round, so it asks for the second tool twice.
    assert len(message["thinkingLog"]) == 6
    first_call, second_call, _ = sent(emulator)
    assert [one["role"] for one in first_call] == ["user", "assistant", "user", "assistant"]
    assert [next(iter(block)) for block in second_call[3]["content"]] == ["text", "text", "toolUse"]
    assert second_call[4]["content"][0]["toolResult"]["content"] == [{"text": "found two"}]
    stored = read(alice, "c1")
    assert len(stored["messageMap"]) == 3
    assert say(alice, "c1", "next").status_code == 200


def test_a_continuation_counts_its_own_rounds_alone(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(value: Any, context: Context) -> Result:
        return results.of([TextPart("x" * 9_000 if value["query"] == "one" else "short")])

    offering(monkeypatch, tool(run=run))
    prompt = in_rounds(calls(("search", {"query": "one"})), "[[max_tokens]]", calls(("search", {"query": "two"})))
    say(alice, "c1", prompt, bot_id=make_bot(alice))
    before = Conversation.objects.get().size
    assert len(say(alice, "c1", "", continue_generate=True).json()["message"]["thinkingLog"]) == 6
    assert 100 < Conversation.objects.get().size - before < 9_000


def test_turns_without_tools_read_nothing_of_rounds(alice: APIClient, emulator: Emulator) -> None:
    assert opening.NO_TOOLS == {}
    say(alice, "c1", "hello")
    assert Message.objects.filter(thinking_log__isnull=False).count() == 0


def test_a_process_that_ends_leaves_rounds_to_whoever_asks_again(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has told its client to send the message again, and a call that it ended has no result."""
    inputs: list[str] = []

    def run(value: Any, context: Context) -> Result:
        inputs.append(value["query"])
        if len(inputs) == 2:
            [running] = registry.all_running()
            running.end(StopReason.INTERRUPTED)
            context.interruption.wait(10)
            return results.error("search", "It was ended.", "stopped")
        return results.of([TextPart(value["query"])])

    offering(monkeypatch, tool(run=run))
    prompt = in_rounds(calls(("search", {"query": "one"})), calls(("search", {"query": "two"})))
    cut = say(alice, "c1", prompt, bot_id=make_bot(alice), message_id="q1")
    assert cut.status_code == 503
    assert cut.json()["messageId"] == "q1"
    assert len(Message.objects.get(external_id="q1").rounds) == 2
    message = say(alice, "c1", prompt, message_id="q1").json()["message"]
    assert inputs[:2] == ["one", "two"]
    assert "one" not in inputs[2:]
    assert len(message["thinkingLog"]) == 4


def test_a_budget_that_is_used_up_between_rounds_ends_the_turn_and_keeps_its_rounds(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(value: Any, context: Context) -> Result:
        BudgetCounter.objects.update(used=F("allowance"))
        return results.of([TextPart("dear")])

    offering(monkeypatch, tool(run=run))
    bot = make_bot(alice)
    budget(User.objects.get(username="alice").pk, "1000000", unit=Unit.TOKENS)
    prompt = calls(("search", {"query": "one"}))
    response = say(alice, "c1", prompt, bot_id=bot, message_id="q1")
    assert response.status_code == 429, response.content
    assert Message.objects.get(external_id="q1").rounds is not None
    assert not Reservation.objects.exists()
    BudgetCounter.objects.update(used=0)
    assert say(alice, "c1", prompt, message_id="q1").status_code == 200
    assert ToolCall.objects.count() == 1


def test_an_answer_without_words_after_its_tools_is_empty(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only of a turn that was cut the words of an earlier round are the answer."""
    offering(monkeypatch, tool())
    prompt = in_rounds(calls(("search", {"query": "one"})), "[[empty]]")
    message = say(alice, "c1", prompt, bot_id=make_bot(alice)).json()["message"]
    assert message["content"] == []
    assert len(message["thinkingLog"]) == 2
    assert say(alice, "c1", "next").status_code == 200


def test_a_continuation_that_was_killed_after_a_checkpoint_has_each_round_once(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Any]
) -> None:
    offering(monkeypatch, tool())
    prompt = in_rounds(calls(("search", {"query": "one"})), "[[max_tokens]]", calls(("search", {"query": "two"})))
    say(alice, "c1", prompt, bot_id=make_bot(alice), message_id="q1")
    killed("", ToolResult, 2, listened=True, continue_generate=True, message_external_id=None)
    assert len(Message.objects.get(role=Role.ASSISTANT).thinking_log) == 4
    emulator.clear_requests()
    message = say(alice, "c1", "", continue_generate=True).json()["message"]
    uses = [block["body"]["toolUseId"] for one in message["thinkingLog"][::2] for block in one["content"][-1:]]
    assert len(uses) == len(set(uses)) >= 2
    assert text_of(message).startswith("This answer stops")
    assert all(request["status"] == 200 for request in emulator.requests())
    assert say(alice, "c1", "next").status_code == 200
