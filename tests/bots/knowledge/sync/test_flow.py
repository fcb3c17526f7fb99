"""What a frontend does: it makes a bot with a file, polls until the sync is over, chats, and opens the citation."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from rest_framework.test import APIClient

from bedrock_chat.ledger.models import ModelCall
from tests.bots import upload
from tests.bots.bot import body, edit, make, read, share
from tests.bots.knowledge.documents import pdf
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.test_retrieval import searching
from tests.bots.test_queries import cost
from tests.conversations import chat
from tests.conversations.rounds.tooling import calls
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True)]

LEAVE = "Every employee has thirty vacation days a year, and ten more after twenty years of service."
HANDBOOK = pdf(
    ["Welcome to the company. This handbook tells what holds for all of us.", "The canteen opens at noon.", LEAVE]
)
CITED = re.compile(r"[\w!?/+\-_~=;.,*&@#$%]+")
"""What the frontend takes for an id of a source."""


@pytest.fixture
def handbook(alice: APIClient, emulator: Emulator) -> None:
    """Alice's bot with a PDF, as the form makes it: the upload, the creation, then the sync by a worker."""
    content_type = "application/pdf"
    assert body(upload.put(upload.url(alice, "b", "handbook.pdf", content_type), HANDBOOK, content_type)) is None
    knowledge = upload.sources("handbook.pdf")
    made = make(alice, "b", knowledge=knowledge, displayRetrievedChunks=True)
    assert (made["syncStatus"], made["bedrockKnowledgeBase"]) == ("QUEUED", None)
    syncs.run()


def polled(client: APIClient) -> tuple[str, str]:
    bot = read(client, "b")
    return bot["syncStatus"], bot["syncStatusReason"]


@pytest.mark.both
def test_a_bot_with_a_file_answers_from_it_and_the_citation_opens_the_page(
    alice: APIClient, bob: APIClient, emulator: Emulator, handbook: None
) -> None:
    assert polled(alice) == ("SUCCEEDED", "Knowledge base sync succeeded")
    share(alice, "b", "all")
    summary = body(bob.get("/bot/summary/b"))
    assert (summary["syncStatus"], summary["hasKnowledge"], summary["warnings"]) == ("SUCCEEDED", True, [])
    question = calls(("knowledge_base_tool", {"query": "How many days of annual leave do I have?"}))
    answer = body(chat.say(bob, "c", question, bot_id="b"))
    [thinking, *_] = answer["message"]["thinkingLog"]
    assert thinking["content"][-1]["body"]["name"] == "knowledge_base_tool"
    documents = body(bob.get("/conversation/c/related-documents"))
    [document] = [one for one in documents if "thirty vacation days" in one["content"]["text"]]
    assert (document["sourceName"], document["pageNumber"]) == ("handbook.pdf", 3)
    assert CITED.fullmatch(document["sourceId"])
    one = body(bob.get(f"/conversation/c/related-documents/{document['sourceId']}"))
    parts = urlsplit(one["sourceLink"])
    opened: Any = bob.get(f"{parts.path}?{parts.query}")
    assert b"".join(opened.streaming_content) == HANDBOOK
    assert (opened["Content-Type"], opened["Content-Disposition"].partition(";")[0]) == ("application/pdf", "inline")


@pytest.mark.both
def test_its_owner_sees_what_was_read_what_it_cost_and_why_something_is_found(
    alice: APIClient, emulator: Emulator, handbook: None
) -> None:
    report = body(alice.get("/bot/b/knowledge"))
    [source] = report["sources"]
    assert (source["kind"], source["location"], source["documents"]["ready"]) == ("file", "handbook.pdf", 1)
    spent = ModelCall.objects.get(purpose="embedding")
    assert (report["tokens"], report["price"]) == (spent.input_tokens, pytest.approx(float(spent.price or 0)))
    [listed] = body(alice.get("/bot/b/knowledge/documents?state=ready"))
    assert (listed["name"], listed["pages"], listed["chunks"]) == ("handbook.pdf", 3, report["chunks"])
    query = {"query": "annual leave vacation"}
    answer = body(alice.post("/bot/b/knowledge/search", query, format="json"))
    best = answer["passages"][0]
    assert ("thirty vacation days" in best["text"], best["sourceName"], best["pageNumber"]) == (True, "handbook.pdf", 3)
    assert best["score"] >= answer["passages"][-1]["score"]
    assert best["similarity"] > 0 < best["wordsScore"]
    assert answer["note"] == ""
    call = ModelCall.objects.filter(purpose="embedding").latest("pk")
    assert (call.bot_id, call.conversation_external_id) == ("b", "")
    edit(alice, "b", bedrockKnowledgeBase=searching(maxResults=1))
    assert len(body(alice.post("/bot/b/knowledge/search", query, format="json"))["passages"]) == 1
    for wrong in ({}, {"query": ""}, {"query": "x" * 2001}, {"query": 5}):
        assert alice.post("/bot/b/knowledge/search", wrong, format="json").status_code == 400


@pytest.mark.both
def test_what_the_frontend_reads_costs_as_much_with_knowledge_as_without(
    alice: APIClient, bob: APIClient, emulator: Emulator, handbook: None
) -> None:
    make(alice, "plain")
    for bot_id in ("b", "plain"):
        share(alice, bot_id, "all")
    paths = ("/bot/private/{}", "/bot/summary/{}", "/bot?kind=private&limit=10")

    def costs(bot_id: str) -> list[int]:
        return [cost(lambda path=path: alice.get(path.format(bot_id))) for path in paths]

    costs("plain")  # the caller's row is there
    assert costs("b") == costs("plain")
    edit(alice, "b", bedrockKnowledgeBase=searching(searchType="semantic", maxResults=5))
    queued = make(alice, "queued", knowledge={**upload.sources(), "sourceUrls": ["https://x.example/"]})
    assert queued["syncStatus"] == "QUEUED"
    assert costs("queued") == costs("plain")


@pytest.mark.both
def test_a_citation_is_opened_and_many_files_are_removed_in_a_constant_number_of_statements(
    alice: APIClient, emulator: Emulator, handbook: None
) -> None:
    question = calls(("knowledge_base_tool", {"query": "annual leave"}))
    body(chat.say(alice, "c", question, bot_id="b"))
    [document, *_] = body(alice.get("/conversation/c/related-documents"))
    parts = urlsplit(document["sourceLink"])
    assert cost(lambda: alice.get(f"{parts.path}?{parts.query}")) == 2  # whether the bot has the document, and its file

    def removal_of(bot_id: str, number: int) -> int:
        names = [f"{place}.txt" for place in range(number)]
        for name in (*names, "kept.txt"):
            upload.upload(alice, bot_id, name, f"{bot_id} {name}".encode())
        make(alice, bot_id, knowledge=upload.sources(*names, "kept.txt"))
        syncs.run()
        knowledge = upload.change(deleted=names, unchanged=["kept.txt"])
        return cost(lambda: edit(alice, bot_id, knowledge=knowledge))

    assert removal_of("few", 1) == removal_of("many", 6)
    assert syncs.states("many") == {"file:kept.txt": "ready"}


def test_where_nothing_is_indexed_a_search_says_so(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b")
    answer = body(alice.post("/bot/b/knowledge/search", {"query": "leave"}, format="json"))
    assert answer == {"passages": [], "note": "Nothing is indexed yet, so there is nothing to search."}


def test_a_bot_with_an_existing_base_is_searched_there(alice: APIClient, emulator: Emulator) -> None:
    location = {"type": "S3", "s3Location": {"uri": "s3://books/guide.pdf"}}
    content = {"type": "TEXT", "text": "Thirty\u202e days."}
    emulator.agents(passages=[{"content": content, "location": location, "score": 0.75}])
    for bot_id, base in (("b", "KBHANDBOOK"), ("c", "EMPTY00001"), ("d", "GONE000001")):
        made = {**searching(maxResults=7), "existKnowledgeBaseId": base}
        make(alice, bot_id, knowledge=None, bedrockKnowledgeBase=made)
    [passage] = body(alice.post("/bot/b/knowledge/search", {"query": "leave"}, format="json"))["passages"]
    assert (passage["text"], passage["sourceName"]) == ("Thirty days.", "guide.pdf")
    assert (passage["score"], passage["similarity"], passage["wordsScore"]) == (0.75, None, 0.0)
    [request] = emulator.requests()
    searched = request["body"]["retrievalConfiguration"]["vectorSearchConfiguration"]
    assert (request["path"], searched["numberOfResults"]) == ("/knowledgebases/KBHANDBOOK/retrieve", 7)
    assert not ModelCall.objects.exists()  # AWS bills the base, and nothing is embedded here
    for bot_id, word in (("c", "found nothing"), ("d", "does not exist")):
        answer = body(alice.post(f"/bot/{bot_id}/knowledge/search", {"query": "leave"}, format="json"))
        assert (answer["passages"], word in answer["note"]) == ([], True)
