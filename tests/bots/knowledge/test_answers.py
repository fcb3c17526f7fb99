"""Answers rest on passages of a bot's own documents, and their reader can open these as long as they are there."""

import urllib.request
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bedrock_chat.bedrock.tools import FoundDocument
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from bots.knowledge.models import Edition, EditionState
from bots.tools import prompting
from bots.warnings import NOTHING_INDEXED
from conversations import access
from conversations.content.blocks import Content
from conversations.models import Message, RelatedDocument, Role
from conversations.streaming import replay
from conversations.streaming.events import MessageStop, encoded, stream_event_of
from conversations.turn import lifecycle
from conversations.turn.types import ChatInput, TurnOpened
from tests import build
from tests.bots.bot import body, make, share
from tests.bots.guarding import ZERO, finish
from tests.bots.knowledge.indexed import Page, index
from tests.bots.knowledge.test_retrieval import HOLIDAY, MENU, PUMP, SITE, searching
from tests.conversations.chat import read, say
from tests.conversations.rounds.tooling import calls
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

TOOLLESS = "deepseek-r1"
ASKED = calls(("knowledge_base_tool", {"query": "pump ZX-81-4"}))


def know(client: APIClient, bot_id: str = "b", *pages: Page, **fields: Any) -> dict[str, int]:
    """A bot whose documents are indexed; its answers name their sources unless `fields` say otherwise."""
    wanted = {"displayRetrievedChunks": True, "knowledge": SITE, "bedrockKnowledgeBase": searching(), **fields}
    make(client, bot_id, **wanted)
    if "bedrockGuardrails" in fields:
        finish()
    return index(bot_id, *pages) if pages else {}


def documents(client: APIClient, conversation: str = "c") -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = body(client.get(f"/conversation/{conversation}/related-documents"))
    return listed


def system_of(request: dict[str, Any]) -> str:
    return "\n\n".join(block["text"] for block in request["body"].get("system", []) if "text" in block)


def chats(emulator: Emulator) -> list[dict[str, Any]]:
    """The requests to chat models."""
    return [request for request in emulator.requests() if request["operation"].startswith("Converse")]


def test_a_tool_finds_passages_and_their_reader_can_open_them_until_they_go(
    alice: APIClient, bob: APIClient, emulator: Emulator
) -> None:
    numbers = know(alice, "b", PUMP, HOLIDAY)
    share(alice, "b", "all")
    user = User.objects.get(username="bob")
    chat = ChatInput("c", catalog.find("claude-v3.7-sonnet"), Content(build.text(ASKED), {}), bot_id="b")
    turn = lifecycle.run(chat, actor=Caller(user_id=user.pk), listener=object())
    opened = next(turn)
    assert isinstance(opened, TurnOpened)
    events = [event for happened in turn if (event := stream_event_of(happened, opened)) is not None]
    live = [event for event in events if isinstance(event, FoundDocument)]
    listed = documents(bob)
    first = min(listed, key=lambda document: document["sourceId"])
    assert (first["sourceName"], first["pageNumber"], first["content"]) == ("pumps.pdf", 3, {"text": PUMP.chunks[0]})
    assert first["sourceId"].endswith("@0")
    result = chats(emulator)[-1]["body"]["messages"][-1]["content"][0]["toolResult"]["content"][0]
    assert result == {"json": {"source_id": first["sourceId"], "content": PUMP.chunks[0]}}
    assert "[^source_id]" in system_of(chats(emulator)[0])

    question = Message.objects.get(role=Role.USER)
    conversation = access.get_conversation(Caller(user_id=user.pk), "c")
    again = replay.events_of_newest_turn(Caller(user_id=user.pk), conversation, question)
    retold = [event for event in again if isinstance(event, FoundDocument)]
    links = {document["sourceId"]: document["sourceLink"] for document in listed}
    assert HOLIDAY.link in links.values()
    for event in (*live, *retold):
        assert event.source_link == links[event.source_id] is not None
        assert encoded(event)[1]["relatedDocument"]["sourceLink"] == event.source_link
    rows = RelatedDocument.objects.all()
    assert {row.document_number for row in rows} == set(numbers.values())
    assert {row.source_link for row in rows} == {None}
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.update(source_link="https://x.example")

    spent = [event.spent for event in (*events, *again) if isinstance(event, MessageStop)]
    rounds, query = ModelCall.objects.filter(purpose="turn"), ModelCall.objects.get(purpose="embedding")
    total = sum((call.price for call in rounds if call.price is not None), query.price)
    assert [(one.price, one.input_tokens) for one in spent if one] == [
        (total, sum(call.input_tokens for call in rounds))
    ] * 2
    assert query.user_id == user.pk

    share(alice, "b", "private")
    assert {document["sourceLink"] for document in documents(bob)} == {None}
    share(alice, "b", "all")
    Edition.objects.filter(document=numbers[PUMP.location]).update(state=EditionState.REMOVED)
    assert {document["sourceLink"] for document in documents(bob)} == {None, HOLIDAY.link}
    assert {document["content"]["text"] for document in documents(bob)} == {PUMP.chunks[0], HOLIDAY.chunks[0]}
    one = body(bob.get(f"/conversation/c/related-documents/{first['sourceId']}"))
    assert (one["sourceLink"], one["sourceName"]) == (None, "pumps.pdf")


def test_a_model_without_tools_is_told_passages_in_every_turn(alice: APIClient, emulator: Emulator) -> None:
    know(alice, "b", PUMP, HOLIDAY, MENU)
    say(alice, "c", "How much annual leave is there?", model=TOOLLESS, bot_id="b")
    first = system_of(chats(emulator)[-1])
    assert HOLIDAY.chunks[0] in first
    assert "[^" in first
    answer = read(alice, "c")["lastMessageId"]
    assert {document["sourceId"].partition("@")[0] for document in documents(alice)} == {answer}
    say(alice, "c", "And why?", model=TOOLLESS, bot_id="b", parent=answer)
    queries = [request["body"]["inputText"] for request in emulator.requests() if "inputText" in request["body"]]
    assert queries[-1] == "How much annual leave is there? And why?"
    second = read(alice, "c")["lastMessageId"]
    assert f'"source_id":"{second}@0"' in system_of(chats(emulator)[-1])
    assert ModelCall.objects.filter(purpose="embedding").count() == 2


def test_who_may_not_see_sources_gets_answers_without_marks(alice: APIClient, emulator: Emulator) -> None:
    know(alice, "b", HOLIDAY, displayRetrievedChunks=False)
    say(alice, "c", "annual leave", model=TOOLLESS, bot_id="b")
    say(alice, "d", "hello", bot_id="b")
    for request in chats(emulator):
        assert prompting.DO_NOT_CITE in system_of(request)
        assert "source_id" not in system_of(request)


def test_a_bot_without_a_whole_document_answers_and_says_so(alice: APIClient, emulator: Emulator) -> None:
    know(alice)
    for model in (TOOLLESS, "claude-v3.7-sonnet"):
        answer = body(say(alice, model, "annual leave", model=model, bot_id="b"))
        assert NOTHING_INDEXED in answer["warnings"]
    index("b", HOLIDAY)
    assert NOTHING_INDEXED not in body(say(alice, "c", "annual leave", bot_id="b"))["warnings"]


# ---- Grounding ------------------------------------------------------------------------------------------------------

GROUNDED = {**ZERO, "groundingThreshold": 0.5, "relevanceThreshold": 0.5}


def guard_contents(request: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The marked texts of the last question, and their qualifiers."""
    question = [message for message in request["body"]["messages"] if message["role"] == "user"][-1]
    marked = [block["guardContent"]["text"] for block in question["content"] if "guardContent" in block]
    return [(text["text"], text["qualifiers"]) for text in marked]


def test_a_grounded_bot_has_its_passages_in_the_question_with_every_model(alice: APIClient, emulator: Emulator) -> None:
    know(alice, "b", HOLIDAY, bedrockGuardrails=GROUNDED)
    long = "annual leave " + "x" * 1_500
    say(alice, "c", long, bot_id="b")
    answer = read(alice, "c")["lastMessageId"]
    request = chats(emulator)[-1]
    assert "toolConfig" not in request["body"]
    assert guard_contents(request) == [
        (f"{answer}@0\n{HOLIDAY.chunks[0]}", ["grounding_source"]),
        (long[:1_000], ["query", "guard_content"]),
        (long[1_000:], ["guard_content"]),
    ]
    assert HOLIDAY.chunks[0] not in system_of(request)
    assert f"[^{answer}@0]" in system_of(request)
    assert [document["sourceLink"] for document in documents(alice)] == [HOLIDAY.link]
    say(alice, "c", "annual leave again", bot_id="b", parent=answer)
    earlier = chats(emulator)[-1]["body"]["messages"][0]["content"]
    assert [block.get("text") for block in earlier if "cachePoint" not in block] == [long]


def test_what_rests_on_no_passage_is_blocked_and_so_is_a_refused_word_behind_the_query(
    alice: APIClient, emulator: Emulator
) -> None:
    know(alice, "b", HOLIDAY, bedrockGuardrails={**GROUNDED, "hateThreshold": 1})
    for number, question in enumerate(("leave [[ungrounded]]", "leave [[irrelevant]]", "leave " * 300 + "[[blocked]]")):
        message = body(say(alice, f"c{number}", question, bot_id="b"))["message"]
        assert message["stopReason"] == "guardrail_intervened"
    assert "stopReason" not in body(say(alice, "c", "leave", bot_id="b"))["message"]


def test_sources_with_their_ids_stay_within_the_bound_of_results(
    alice: APIClient, emulator: Emulator, settings: Any
) -> None:
    settings.TOOL_RESULT_CHARS = 1_200
    pages = [Page(f"file:{number}.txt", [f"Leave {number}. " + "word " * 75], body=b"x") for number in range(3)]
    know(alice, "b", *pages, bedrockGuardrails=GROUNDED)
    say(alice, "c", "leave", bot_id="b")
    sources = [text for text, qualifiers in guard_contents(chats(emulator)[-1]) if qualifiers == ["grounding_source"]]
    assert len(sources) == 2
    assert sum(map(len, sources)) <= 1_200


def test_a_continuation_is_told_the_stored_passages_and_searches_for_nothing(
    alice: APIClient, emulator: Emulator
) -> None:
    know(alice, "b", HOLIDAY, bedrockGuardrails=GROUNDED)
    say(alice, "c", "annual leave", bot_id="b")
    Message.objects.filter(role=Role.ASSISTANT).update(stop_reason="max_tokens")
    before = guard_contents(chats(emulator)[-1])
    Edition.objects.update(state=EditionState.REMOVED)
    embedded = emulator.embedded()
    assert say(alice, "c", "", continue_generate=True, bot_id="b").status_code == 200
    assert guard_contents(chats(emulator)[-1]) == before
    assert emulator.embedded() == embedded


def test_where_nothing_is_found_the_question_of_a_grounded_bot_is_plain(alice: APIClient, emulator: Emulator) -> None:
    know(alice, "b", bedrockGuardrails=GROUNDED)
    say(alice, "c", "annual leave", bot_id="b")
    request = chats(emulator)[-1]
    assert "guardContent" not in str(request["body"])
    assert prompting.NOTHING in system_of(request)


def test_a_grounded_bot_asks_an_existing_base_before_it_answers(alice: APIClient, emulator: Emulator) -> None:
    passage = {"content": {"type": "TEXT", "text": "Thirty days."}}
    emulator.agents(passages=[passage])
    know(
        alice,
        "b",
        knowledge=None,
        bedrockKnowledgeBase={**searching(), "existKnowledgeBaseId": "KBHANDBOOK"},
        bedrockGuardrails=GROUNDED,
    )
    say(alice, "c", "annual leave", bot_id="b")
    answer = read(alice, "c")["lastMessageId"]
    assert guard_contents(chats(emulator)[-1])[0] == (f"{answer}@0\nThirty days.", ["grounding_source"])


# ---- Files ----------------------------------------------------------------------------------------------------------


def test_a_pdf_is_shown_if_it_is_one_and_all_else_is_saved(alice: APIClient, emulator: Emulator) -> None:
    false = Page("file:false.pdf", ["The pump ZX-99-1 is false."], body=b"<script>alert(1)</script>")
    know(alice, "b", PUMP, false, MENU)
    say(alice, "c", calls(("knowledge_base_tool", {"query": "pump canteen noon"})), bot_id="b")
    shown = {}
    for document in documents(alice):
        path = document["sourceLink"].partition("//")[2].partition("/")[2]
        response = alice.get(f"/{path}")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response.headers["Content-Security-Policy"]
        shown[document["sourceName"]] = response.headers["Content-Disposition"].partition(";")[0]
    assert shown == {"pumps.pdf": "inline", "false.pdf": "attachment", "menu.txt": "attachment"}


def test_an_object_in_s3_has_an_address_while_operators_name_its_bucket(
    alice: APIClient, emulator: Emulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    settings.AWS_REGION, settings.KNOWLEDGE_S3 = "eu-central-1", (("books", "wiki/"),)
    know(alice, "b", Page("s3://books/wiki/a%20b.pdf", ["Tides come twice a day."]))
    say(alice, "c", calls(("knowledge_base_tool", {"query": "tides"})), bot_id="b")
    (document,) = documents(alice)
    assert document["sourceName"] == "a%20b.pdf"
    address = urllib.request.urlparse(document["sourceLink"])  # type: ignore[attr-defined]
    assert (address.hostname, address.path) == ("books.s3.eu-central-1.amazonaws.com", "/wiki/a%2520b.pdf")
    assert "response-content-type=application%2Fpdf" in address.query
    assert f"X-Amz-Expires={settings.BLOB_URL_SECONDS}" in address.query
    assert "response-content-disposition=inline" in address.query
    settings.KNOWLEDGE_S3 = ()
    assert documents(alice)[0]["sourceLink"] is None
