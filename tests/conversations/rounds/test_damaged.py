"""Rows that were damaged by hand: what cannot be read is left out, and everything else is read without a fault."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bedrock_chat.bedrock.tools import ToolResult
from conversations.content import rounds
from conversations.content.rounds import StoredRound
from conversations.models import Message
from conversations.turn import round_history
from tests.conversations.chat import say
from tests.conversations.rounds.tooling import calls, make_bot, offering, tool
from tests.emulator import Emulator

CLAUDE = catalog.find("claude-v3.7-sonnet")
PARTS: list[Any] = [
    {"text": "short"},
    {"json": {"a": 1}},
    {"kind": "text", "blob": "there", "length": 20_000},
    {"kind": "image", "format": "png", "blob": "there"},
    {"kind": "document", "format": "pdf", "name": "n", "blob": "there"},
]
DOCUMENT: Any = {"content": PARTS[0], "sourceId": "t1", "sourceName": "n", "sourceLink": None, "pageNumber": 3}
ROUND: Any = {
    "model": CLAUDE.key,
    "thinks": False,
    "extends": None,
    "blocks": [
        {"contentType": "text", "body": "Let me look."},
        {"contentType": "reasoning", "text": "Hm.", "signature": "c2ln", "redactedContent": ""},
        {"contentType": "toolUse", "body": {"toolUseId": "t1", "name": "search", "input": {"query": "q"}}},
    ],
    "calls": [
        {"toolUseId": "t1", "status": "success", "content": PARTS, "documents": [DOCUMENT], "isReadOnly": True},
        {"toolUseId": "t2", "status": "error", "content": PARTS, "documents": [], "isReadOnly": True},
    ],
}
NOTHING: Any = object()
JUNK: list[Any] = [NOTHING, None, True, 5, 2**80, "x", [], {}, [5], {"text": 5}]


def damaged(value: Any, junk: Any) -> Iterator[Any]:
    """The value with each of its inner values lost, or replaced by junk."""
    places = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, inner in places:
        one = copy.copy(value)
        if junk is NOTHING:
            del one[place]
        else:
            one[place] = junk
        yield one
        for deeper in damaged(inner, junk):
            one = copy.copy(value)
            one[place] = deeper
            yield one


def read(stored: StoredRound) -> None:
    """All that a turn reads of a round."""
    assert stored["extends"] is None or stored["extends"] >= 0
    list(rounds.shas_of_rounds([stored]))
    log = rounds.log_of([stored], CLAUDE.key)
    assert rounds.readable_log(log) == log
    rounds.size_of(log)
    list(rounds.shas_of(log))
    rounds.without(log, [stored])
    for call in stored["calls"]:
        sum(map(rounds.length_of, call["content"]))
        for document in rounds.documents_of(call, "search"):
            shown = rounds.read_part(document["content"], lambda sha256: b"body")
            rounds.found_document(call["toolUseId"], document, shown)
    reader = round_history.Reader(CLAUDE, lambda sha256: b"body")
    round_history.messages(round_history.of_rounds([stored], CLAUDE), reader)


def test_a_round_that_is_whole_is_read() -> None:
    [stored] = rounds.readable([ROUND])
    read(stored)


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: "nothing" if junk is NOTHING else repr(junk)[:12])
def test_a_damaged_round_is_left_out_or_read(junk: Any) -> None:
    for one in damaged(ROUND, junk):
        for stored in rounds.readable([one]):
            read(stored)


def without_extends(stored: Any) -> None:
    del stored["extends"]


def without_a_documents_keys(stored: Any) -> None:
    for key in ("sourceName", "sourceLink", "pageNumber"):
        del stored["calls"][0]["documents"][0][key]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("damage", [without_extends, without_a_documents_keys])
def test_a_question_with_a_damaged_round_is_asked_again_all_the_same(
    alice: APIClient,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    killed: Callable[..., Any],
    damage: Callable[[Any], None],
) -> None:
    offering(monkeypatch, tool())
    make_bot(alice)
    prompt = calls(("search", {"query": "one"}))
    killed(prompt, ToolResult)
    stored = Message.objects.get(external_id="q1").rounds
    damage(stored[0])
    Message.objects.filter(external_id="q1").update(rounds=stored)
    assert say(alice, "c1", prompt, message_id="q1").status_code == 200
