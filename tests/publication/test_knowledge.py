"""A published bot answers from its owner's documents, and names no sources: its callers have no route for them."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.ledger.models import ModelCall
from bots.tools import prompting
from tests.bots.bot import body, edit, make, share
from tests.bots.guarding import ZERO, finish
from tests.bots.knowledge.indexed import index
from tests.bots.knowledge.test_answers import chats, guard_contents, system_of
from tests.bots.knowledge.test_retrieval import HOLIDAY, MENU, PUMP, SITE, searching
from tests.conversations.rounds.tooling import calls
from tests.emulator import Emulator
from tests.publication.api import publish, work
from tests.publication.openai.chat import complete, user

pytestmark = [pytest.mark.django_db(transaction=True)]

ASKED = calls(("knowledge_base_tool", {"query": "pump ZX-81-4 vacation canteen"}))


def results(request: dict[str, Any]) -> list[dict[str, Any]]:
    """What the last message of a request has of a tool's result."""
    parts: list[dict[str, Any]] = request["body"]["messages"][-1]["content"][0]["toolResult"]["content"]
    return parts


@pytest.mark.both
def test_a_pinned_version_searches_as_it_did_in_what_the_bot_knows_today(dave: APIClient, emulator: Emulator) -> None:
    make(dave, "helper", displayRetrievedChunks=True)
    knowing = {"knowledge": SITE, "bedrockKnowledgeBase": searching(maxResults=1)}
    assert edit(dave, "helper", **knowing).status_code == 200
    assert edit(dave, "helper", bedrockKnowledgeBase=searching(maxResults=20)).status_code == 200
    share(dave, "helper", "all")
    index("helper", HOLIDAY, PUMP, MENU)
    api = publish(dave, "helper")
    results_of: dict[int | None, list[dict[str, Any]]] = {}
    for version in (None, 2):
        body(dave.patch("/bot/helper/publication", {"botVersion": version}, format="json"))
        api.ask(ASKED)
        work()
        results_of[version] = results(chats(emulator)[-1])
        assert prompting.DO_NOT_CITE in system_of(chats(emulator)[-1])
    assert results_of[2] == [{"text": PUMP.chunks[0]}]
    assert sorted(part["text"] for part in results_of[None]) == sorted(page.chunks[0] for page in (HOLIDAY, PUMP, MENU))
    queries = ModelCall.objects.filter(purpose="embedding")
    assert {(call.payer_id is not None, bool(call.publication_id), call.user_id) for call in queries} == {
        (True, True, None)
    }
    body(dave.patch("/bot/helper/publication", {"botVersion": 1}, format="json"))  # it knew nothing
    api.ask("hello")
    work()
    assert "toolConfig" not in chats(emulator)[-1]["body"]
    assert queries.count() == 2


def test_a_chat_completion_is_told_passages_and_no_ids(dave: APIClient, emulator: Emulator) -> None:
    make(dave, "helper", displayRetrievedChunks=True, knowledge=SITE, bedrockKnowledgeBase=searching())
    share(dave, "helper", "all")
    index("helper", HOLIDAY, MENU)
    api = publish(dave, "helper")
    complete(api, user("How much annual leave is there?"), model="deepseek-r1")
    system = system_of(chats(emulator)[-1])
    assert HOLIDAY.chunks[0] in system
    assert prompting.DO_NOT_CITE in system
    assert "source_id" not in system
    assert ModelCall.objects.get(purpose="embedding").publication_id is not None

    grounded = {**ZERO, "groundingThreshold": 0.5}
    assert edit(dave, "helper", bedrockGuardrails=grounded).status_code == 200
    finish()
    index("helper", HOLIDAY, MENU)  # the save has taken out of sight what the bot does not name
    complete(api, user("How much annual leave is there?"))
    marked = guard_contents(chats(emulator)[-1])
    assert [qualifiers for _, qualifiers in marked] == [["grounding_source"]] * 2 + [["query", "guard_content"]]
    assert marked[0][0].endswith(f"\n{HOLIDAY.chunks[0]}")
