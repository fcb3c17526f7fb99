"""Tools in turns: what the model is sent, what its reader gets, and what nobody ever sees."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import LazySettings
from django.core.management import call_command
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bedrock_chat.identity.caller import Caller, Published
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall, ToolCall
from bots import chatting
from bots.tools import duckduckgo, prompting, servers
from conversations.turn import passages
from conversations.turn.registry import Run
from conversations.turn.types import Booking
from tests.bots.bot import body, edit, firecrawl, make, read, refused
from tests.bots.test_parts import BASE
from tests.bots.tools import engines
from tests.bots.tools.engines import Engines
from tests.contract.knowledge import PASSAGES
from tests.conversations.chat import read as read_conversation
from tests.conversations.chat import say
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

KEY = "fc-seeded-0123456789"


@pytest.fixture
def served(settings: LazySettings) -> Iterator[Engines]:
    with engines.running() as running:
        settings.FIRECRAWL_URL = running.url
        settings.DUCKDUCKGO_URL = running.duckduckgo
        settings.OUTBOUND_ALLOW = ((), frozenset({("127.0.0.1", running.port)}))
        settings.OUTBOUND_HTTP_CREDENTIALS = True
        _forget()
        yield running
    _forget()


def _forget() -> None:
    duckduckgo._engine.cache_clear()
    duckduckgo.kept.clear()
    servers._places._servers.clear()


def searching(query: str) -> str:
    return f"[[tool:internet_search:{json.dumps({'query': query})}]]"


def result_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The result of the only call of an answer."""
    (_, results) = answer["message"]["thinkingLog"]
    (block,) = results["content"]
    result: dict[str, Any] = block["body"]
    return result


def test_a_search_of_the_internet_is_a_tool_whose_pages_can_be_read(
    alice: APIClient, emulator: Emulator, served: Engines
) -> None:
    tool = {"toolType": "internet", "name": "internet_search", "description": "d", "searchEngine": "duckduckgo"}
    make(alice, "b", agent={"tools": [tool]})
    answer = body(say(alice, "c", searching("tides"), bot_id="b"))
    result = result_of(answer)
    assert result["status"] == "success"
    assert [part["text"].splitlines()[0] for part in result["content"]] == ["Tides explained", "Tide tables"]
    documents = body(alice.get("/conversation/c/related-documents"))
    assert [(shown["sourceName"], shown["sourceLink"]) for shown in reversed(documents)] == [
        (title, url) for title, url, _ in engines.RESULTS
    ]
    system = emulator.requests()[-1]["body"]["system"][0]["text"]
    assert prompting.RESULTS_ARE_DATA in system
    assert "source_id" not in system


def test_a_seeded_key_is_in_no_answer_row_log_or_export(
    alice: APIClient, emulator: Emulator, served: Engines, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    make(alice, "b", agent=firecrawl(KEY))
    shown = [say(alice, "c", searching(f"tides (({word}))"), bot_id="b").content for word in ("echo", "401", "500", "")]
    shown += [alice.get(path).content for path in PATHS]
    assert [request.headers["authorization"] for request in served.requests] == [f"Bearer {KEY}"] * 4
    assert b"[redacted]" in b"".join(shown)
    call_command("export_user", User.objects.get(username="alice").pk, "--to", str(tmp_path / "export"))
    files = b"".join(path.read_bytes() for path in (tmp_path / "export").rglob("*") if path.is_file())
    rows = "".join(repr(list(model._base_manager.values())) for model in apps.get_models())
    assert "tool_calls" in str([model._meta.verbose_name_plural for model in apps.get_models()]).replace(" ", "_")
    everything = b"".join(shown) + files + rows.encode() + caplog.text.encode()
    assert json.dumps(emulator.requests()).count("internet_search") > 0
    assert KEY.encode() not in everything + json.dumps(emulator.requests()).encode()


PATHS = ("/conversation/c", "/conversation/c/related-documents", "/bot/private/b", "/bot/summary/b")


def test_no_log_has_a_query_an_address_or_a_result(
    alice: APIClient, emulator: Emulator, served: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    make(alice, "b", agent=firecrawl(KEY))
    for word in ("", "401", "endless", "broken"):
        say(alice, "c", searching(f"private-question (({word}))"), bot_id="b")
    assert "private-question" not in caplog.text
    assert "v2/search" not in caplog.text
    assert "Tides explained" not in caplog.text


def test_a_key_that_was_taken_out_is_not_used_and_who_chats_is_told(
    alice: APIClient, emulator: Emulator, served: Engines
) -> None:
    make(alice, "b", agent=firecrawl(KEY))
    from bots.models import Bot

    Bot.objects.filter(pk="b").update(encrypted_secrets="")
    answer = body(say(alice, "c", searching("tides"), bot_id="b"))
    assert served.requests == []
    assert result_of(answer)["status"] == "error"


def test_a_pinned_version_has_its_own_key_until_that_is_taken_out_of_the_bot(alice: APIClient) -> None:
    make(alice, "b", agent=firecrawl("fc-first"))
    edit(alice, "b", agent=firecrawl("fc-second"))
    published = Published("b", bot_version=1, payer_id="alice")
    key = Caller(user_id=None, publication_id="p", key_id="k", published=published)
    today = Caller(user_id=User.objects.get(username="alice").pk)
    assert chatting.get("b", actor=key).secret("internet_search") == "fc-first"
    assert chatting.get("b", actor=today).secret("internet_search") == "fc-second"
    assert "fc-" not in repr(chatting.get("b", actor=key))
    edit(alice, "b", agent={"tools": []})
    assert chatting.get("b", actor=key).secret("internet_search") == ""


# ---- Knowledge ------------------------------------------------------------------------------------------------------


def test_a_model_without_tools_is_told_passages_and_its_reader_gets_them(alice: APIClient, emulator: Emulator) -> None:
    emulator.agents(passages=PASSAGES)
    base = {**BASE, "existKnowledgeBaseId": "KBHANDBOOK"}
    make(alice, "b", bedrockKnowledgeBase=base, displayRetrievedChunks=True)
    answer = body(say(alice, "c", "What says the guide?", bot_id="b", model="deepseek-r1"))
    assert answer["message"]["thinkingLog"] is None
    answer_id = read_conversation(alice, "c")["lastMessageId"]
    retrieve, converse = emulator.requests()
    assert retrieve["body"]["retrievalQuery"]["text"] == "What says the guide?"
    prompt = json.dumps(converse["body"])
    assert "Chunk one text" in prompt
    assert f"[^{answer_id}@0]" in prompt
    assert "toolConfig" not in converse["body"]
    documents = body(alice.get("/conversation/c/related-documents"))
    assert [shown["sourceId"] for shown in documents] == [f"{answer_id}@1", f"{answer_id}@0"]
    assert documents[1]["pageNumber"] == 3
    row = ToolCall.objects.get()
    assert (row.tool, row.kind, row.server) == ("knowledge_base_tool", "knowledge", "knowledge base KBHANDBOOK")
    assert (row.outcome, row.bot_id, row.turn_id) == ("success", "b", ModelCall.objects.get().turn_id)
    assert row.bytes_in == len("What says the guide?")
    assert row.bytes_out > 0


def test_a_base_without_passages_for_the_prompt_has_its_row_too(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b", bedrockKnowledgeBase={**BASE, "existKnowledgeBaseId": "THROTTLED1"})
    body(say(alice, "c", "hello", bot_id="b", model="deepseek-r1"))
    assert ToolCall.objects.get().outcome == "throttled"


def test_passages_have_the_time_of_a_publications_calls(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b", bedrockKnowledgeBase={**BASE, "existKnowledgeBaseId": "HANG000001"}, toolSeconds=30)
    published = Published("b", bot_version=1, payer_id="alice", tool_seconds=1)
    running = Run(Booking(Caller(user_id=None, publication_id="p", key_id="k", published=published)))
    bot = chatting.get("b", actor=Caller(user_id=User.objects.get(username="alice").pk))
    started = time.monotonic()
    passages.search(running, bot, catalog.find("deepseek-r1"), "hello", "a")
    assert time.monotonic() - started < 10
    assert [row.outcome for row in running.tool_calls] == ["timeout"]


@pytest.mark.parametrize("base_id", ["GONE000001", "EMPTY00001", "THROTTLED1", "DENIED0001"])
def test_a_base_without_an_answer_never_fails_the_turn(alice: APIClient, emulator: Emulator, base_id: str) -> None:
    make(alice, "b", bedrockKnowledgeBase={**BASE, "existKnowledgeBaseId": base_id})
    body(say(alice, "c", "hello", bot_id="b", model="deepseek-r1"))
    answer = body(say(alice, "d", '[[tool:knowledge_base_tool:{"query":"q"}]]', bot_id="b"))
    assert result_of(answer)["status"] == "error"
    body(say(alice, "d", "and on", parent=read_conversation(alice, "d")["lastMessageId"]))


# ---- What a bot may say of it ---------------------------------------------------------------------------------------


def test_bounds_of_a_bot_are_kept_changed_and_taken_back(alice: APIClient) -> None:
    made = make(alice, "b", toolRounds=3, toolSeconds=300)
    assert (made["toolRounds"], made["toolSeconds"]) == (3, 300)
    changed = body(edit(alice, "b", toolRounds=None))
    assert (changed["toolRounds"], changed["toolSeconds"]) == (None, 300)
    assert body(alice.get("/bot/b/versions/2"))["changes"] == {"toolRounds": {"before": 3, "after": None}}
    document = body(alice.get("/bot/b/export"))
    assert (document["bot"].get("toolRounds"), document["bot"]["toolSeconds"]) == (None, 300)
    imported = body(alice.post("/bot/import", document, format="json"))
    assert read(alice, imported["id"])["toolSeconds"] == 300
    assert make(alice, "usual")["toolRounds"] is None
    refused(alice, "toolRounds", 26)
    refused(alice, "toolSeconds", 0)


FILTER = {"andAll": [{"equals": {"key": "team_name", "value": "red"}}, {"in": {"key": "year", "value": [2025, 2026]}}]}


def test_a_filter_goes_to_the_base_as_bedrock_has_it(alice: APIClient, emulator: Emulator) -> None:
    params = {**BASE["searchParams"], "filter": FILTER}
    made = make(alice, "b", bedrockKnowledgeBase={**BASE, "existKnowledgeBaseId": "KBHANDBOOK", "searchParams": params})
    assert made["bedrockKnowledgeBase"]["searchParams"]["filter"] == FILTER
    body(say(alice, "c", '[[tool:knowledge_base_tool:{"query":"q"}]]', bot_id="b"))
    (request,) = [request for request in emulator.requests() if request.get("operation") == "Retrieve"]
    searched = request["body"]["retrievalConfiguration"]["vectorSearchConfiguration"]
    assert searched["filter"] == FILTER


@pytest.mark.parametrize(
    "condition",
    [
        {"like": {"key": "a", "value": 1}},
        {"equals": {"key": "a"}},
        {"equals": {"key": "", "value": 1}},
        {"andAll": [{"equals": {"key": "a", "value": 1}}]},
        {"equals": {"key": "a", "value": 1}, "in": {"key": "a", "value": [1]}},
        [],
        "a = 1",
    ],
)
def test_a_condition_that_bedrock_does_not_know_is_refused(alice: APIClient, condition: Any) -> None:
    make(alice, "b")
    params = {**BASE["searchParams"], "filter": condition}
    base = {**BASE, "existKnowledgeBaseId": "KBHANDBOOK", "searchParams": params}
    assert edit(alice, "b", bedrockKnowledgeBase=base).status_code == 400
