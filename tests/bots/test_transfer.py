"""Bots as documents: what is exported, that it comes back the same, and what no import takes."""

import json
from typing import Any

import pytest
from hypothesis import given
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.blobs import storing
from bedrock_chat.blobs.models import Blob, BlobReference
from bedrock_chat.encryption.models import EncryptionKey
from bedrock_chat.identity import local
from bots.models import Bot, BotFile, BotVersion, TakenBotId
from tests.bots.bot import PARAMETERS, body, document, edit, firecrawl, make, payload, read, share
from tests.bots.conftest import ClientOf
from tests.bots.test_any_body import CREATION, changed, examples, fresh_ids, send
from tests.bots.test_parts import AGENT, BASE, DUCKDUCKGO, GUARDRAILS, PLAIN
from tests.bots.travel import bring, bring_zip, content_of, export, export_zip, make_with_file, named, zipped
from tests.bots.upload import files_of

pytestmark = [pytest.mark.django_db, pytest.mark.both]

ARN = "arn:aws:bedrock:us-east-1:123456789012:guardrail/abc"
FULL: dict[str, Any] = {
    "instruction": "You translate 日本語.\nNothing else. 😀",
    "generationParams": PARAMETERS,
    "agent": {"tools": [PLAIN, AGENT, DUCKDUCKGO, *firecrawl("fc-secret", name="crawl")["tools"]]},
    "bedrockKnowledgeBase": BASE,
    "bedrockGuardrails": {**GUARDRAILS, "hateThreshold": 2, "guardrailArn": ARN, "guardrailVersion": "3"},
    "conversationQuickStarters": [{"title": "t", "example": "e"}],
    "activeModels": {"claudeV3Haiku": False},
    "promptCachingEnabled": False,
    "displayRetrievedChunks": True,
    "allowCloning": True,
}


def imported(client: APIClient, sent: Any) -> dict[str, Any]:
    """The bot that an import makes. It is compared with what its owner reads."""
    bot: dict[str, Any] = body(bring_zip(client, sent) if isinstance(sent, bytes) else bring(client, sent))
    assert read(client, bot["id"]) == bot
    return bot


# ---- There and back -------------------------------------------------------------------------------------------------


def test_a_bot_is_the_same_after_export_and_import(alice: APIClient, client_of: ClientOf) -> None:
    before = make_with_file(alice, "b", "a.txt", b"What Alice knows.", **FULL)
    dan = client_of("dan", "CreatingBotAllowed")
    after = imported(dan, export_zip(alice, "b"))
    assert content_of(after) == content_of(before)
    assert after["allowCloning"] is True
    assert (after["version"], after["sharedScope"], after["id"] == "b") == (1, "private", False)
    assert after["ownerUserId"] == local.local_user("dan").pk
    assert export(dan, after["id"])["bot"] == export(alice, "b")["bot"]


def test_an_export_tells_no_secret_no_guardrail_and_no_people(alice: APIClient) -> None:
    make(alice, "b", **FULL)
    share(alice, "b", "partial", ["bob"], "sales")
    text = json.dumps(export(alice, "b"))
    for word in ("fc-secret", "********", "apiKey", ARN, "guardrailVersion", "partial", "sales", "Cognito", "alice"):
        assert word not in text
    assert local.local_user("alice").pk not in text


def test_an_export_is_for_the_owner_and_admin_alone(alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    assert bob.get("/bot/b/export").status_code == 403
    assert bob.get("/bot/b/export?files=true").status_code == 403
    assert export(carol, "b") == export(alice, "b")
    assert export_zip(carol, "b") == export_zip(alice, "b")


@examples(20)
@given(sent=changed({"id": "placeholder", **CREATION}))
def test_any_bot_that_can_be_made_is_the_same_after_export_and_import(alice: APIClient, sent: Any) -> None:
    bot_id = next(fresh_ids)
    if isinstance(sent, dict) and sent.get("id") == "placeholder":
        sent["id"] = bot_id
    if send(alice, "POST", "/bot", sent) == 200:
        bot_id = sent["id"]
        assert content_of(imported(alice, export(alice, bot_id))) == content_of(read(alice, bot_id))


def test_a_document_in_snake_case_is_taken_too(alice: APIClient) -> None:
    make(alice, "b", **FULL)
    snake = body(alice.get("/bot/b/export", headers={"Accept": "application/json; case=snake"}))
    assert "prompt_caching_enabled" in snake["bot"]
    assert content_of(imported(alice, snake)) == content_of(read(alice, "b"))


def test_what_a_short_document_does_not_say_is_as_in_a_new_bot(alice: APIClient) -> None:
    make(alice, "b", title="t", instruction="i", description="")
    assert content_of(imported(alice, document())) == content_of(read(alice, "b"))


def test_an_imported_tool_has_no_key_until_it_is_sent(alice: APIClient) -> None:
    make(alice, "b", agent=firecrawl("fc-secret"))
    after = imported(alice, export(alice, "b"))
    assert after["agent"]["tools"][0]["firecrawlConfig"] == {"apiKey": "", "maxResults": 5}
    assert "The tool internet_search has no key: send it again." in after["warnings"]
    edit(alice, after["id"], agent=firecrawl("fc-other"))
    assert read(alice, after["id"])["agent"]["tools"][0]["firecrawlConfig"]["apiKey"] == "********"


def test_import_needs_the_group(alice: APIClient, bob: APIClient) -> None:
    make(alice, "b")
    assert bring(bob, export(alice, "b")).status_code == 403
    assert bring_zip(bob, export_zip(alice, "b")).status_code == 403


def test_an_import_never_takes_the_documents_id_and_is_recorded(alice: APIClient) -> None:
    make(alice, "b")
    one, two = (imported(alice, export(alice, "b"))["id"] for _ in range(2))
    assert len({"b", one, two}) == 3
    entry = AuditEntry.objects.order_by("pk").last()
    assert entry is not None
    assert (entry.verb, entry.target_id, entry.values) == ("import", two, {"allow_cloning": False})


# ---- Files ----------------------------------------------------------------------------------------------------------


def test_files_of_ones_own_bots_need_not_be_sent_again(alice: APIClient, client_of: ClientOf) -> None:
    source = make_with_file(alice, "b", "a.txt", b"What Alice knows.")
    sent = export(alice, "b")
    after = imported(alice, sent)
    assert files_of(after) == files_of(source)
    alice.delete("/bot/b")
    assert BotFile.objects.get().bot_id == after["id"]
    dan = client_of("dan", "CreatingBotAllowed")
    refused = bring(dan, sent)  # to know a digest is not to have the bytes
    assert refused.json()["errors"] == ["bot.files.0: the bytes of a.txt are not here; export the bot with its files."]


def test_one_body_under_two_names_travels_once(alice: APIClient) -> None:
    two = document(files=[named("a.txt", b"x"), named("b.txt", b"x")])
    after = imported(alice, zipped({"bot.json": json.dumps(two).encode(), f"files/{named('a', b'x')['digest']}": b"x"}))
    assert list(files_of(after)) == ["a.txt", "b.txt"]
    assert BlobReference.objects.filter(owner_kind="bot file").count() == 1
    assert content_of(imported(alice, export_zip(alice, after["id"]))) == content_of(after)


def test_a_lost_file_is_told_and_nothing_is_sent(alice: APIClient) -> None:
    make_with_file(alice, "b", "a.txt", b"x")
    Blob.objects.update(generation="lost")
    refused = alice.get("/bot/b/export?files=true")
    assert refused.status_code == 409
    assert "are lost" in refused.json()["detail"]


def test_more_files_than_an_import_takes_are_the_operators_to_export(alice: APIClient, settings: Any) -> None:
    make_with_file(alice, "b", "a.txt", b"x" * 10)
    settings.MAX_BODY_MB = 0
    refused = alice.get("/bot/b/export?files=true")
    assert refused.status_code == 400
    assert "export_bots --files" in refused.json()["detail"]


# ---- What no import takes -------------------------------------------------------------------------------------------


def rows() -> list[int]:
    return [model.objects.count() for model in (Bot, BotVersion, BotFile, BlobReference, TakenBotId)]


KEYED = {**DUCKDUCKGO, "searchEngine": "firecrawl", "firecrawlConfig": {"apiKey": "k", "maxResults": 5}}
A_FILE = named("a.txt", b"x")
REFUSED: list[tuple[Any, str]] = [
    (None, ""),
    ([], ""),
    ("bot", ""),
    ({}, "schema"),
    ({**document(), "schema": "other"}, "schema"),
    ({**document(), "schema": ["bedrock-chat-bot"]}, "schema"),
    *(({**document(), "version": version}, "version") for version in (0, 2, "1", True, None, 1.5, [])),
    ({"schema": "bedrock-chat-bot", "version": 2, "newer": {}}, "version"),
    ({"schema": "bedrock-chat-bot", "version": 1}, "bot"),
    ({**document(), "bot": []}, "bot"),
    ({**document(), "extra": 1}, "extra"),
    ({**document(), "id": "new"}, "id"),
    ({**document(), "id": "../x"}, "id"),
    ({**document(), "owner": "alice"}, "owner"),
    ({**document(), "owner": {"id": "a", "username": "a", "email": "a@example.com"}}, "owner.email"),
    (document(id="b"), "bot.id"),
    (document(sharedScope="all"), "bot.sharedScope"),
    (document(__proto__=1), "bot.__proto__"),
    (document(title=""), "bot.title"),
    (document(title="x" * 1001), "bot.title"),
    (document(instruction=None), "bot.instruction"),
    (document(agent={"tools": [KEYED]}), "bot.agent.tools.0.firecrawlConfig.apiKey"),
    (document(agent={"tools": [{**PLAIN, "secret": "x"}]}), "bot.agent.tools.0.secret"),
    (document(agent={"tools": [{**PLAIN, "toolType": "other"}]}), "bot.agent.tools.0"),
    (document(agent={"tools": [PLAIN, PLAIN]}), "agent.tools.1.name"),
    (document(bedrockGuardrails=GUARDRAILS), "bot.bedrockGuardrails.guardrail"),
    (document(bedrockKnowledgeBase={**BASE, "dataSourceIds": None}), "bot.bedrockKnowledgeBase.dataSourceIds"),
    (
        document(bedrockKnowledgeBase={**BASE, "chunkingConfiguration": {"chunkingStrategy": "none", "maxTokens": 1}}),
        "bot.bedrockKnowledgeBase.chunkingConfiguration.maxTokens",
    ),
    (document(activeModels=[]), "bot.activeModels"),
    (document(conversationQuickStarters=[{"title": "t", "example": "e", "x": 1}]), "bot.conversationQuickStarters.0.x"),
    (document(knowledge={"sourceUrls": [], "sitemapUrls": [], "s3Urls": [], "filenames": ["a"]}), "bot.knowledge.f"),
    (
        document(knowledge={"sourceUrls": ["file:///etc"], "sitemapUrls": [], "s3Urls": []}),
        "bot.knowledge.sourceUrls.0",
    ),
    (document(files=[A_FILE]), "bot.files.0"),
    (document(files=[{**A_FILE, "filename": "../a.txt"}]), "bot.files.0.filename"),
    (document(files=[{**A_FILE, "filename": "a.exe"}]), "bot.files.0.filename"),
    (document(files=[{**A_FILE, "digest": "x" * 64}]), "bot.files.0.digest"),
    (document(files=[{**A_FILE, "digest": "A" * 64}]), "bot.files.0.digest"),
    (document(files=[{**A_FILE, "size": -1}]), "bot.files.0.size"),
    (document(files=[{**A_FILE, "url": "x"}]), "bot.files.0.url"),
    (document(files=[A_FILE, A_FILE]), "bot.files.1.filename"),
    (document(files=[A_FILE, {**A_FILE, "filename": "b.txt", "size": 2}]), "bot.files.1.size"),
]


def test_a_document_that_is_not_sound_is_refused_at_its_place(alice: APIClient) -> None:
    before = rows()
    wrong = []
    for sent, place in REFUSED:
        for response in (bring(alice, sent), bring_zip(alice, zipped({"bot.json": json.dumps(sent).encode()}))):
            errors = response.json()["errors"]
            if response.status_code != 400 or not all(error.startswith(place) for error in errors):
                wrong.append((place, response.status_code, errors))
    assert wrong == []
    assert rows() == before


def test_nothing_that_a_creation_refuses_comes_in_as_a_document(untouched: None, alice: APIClient) -> None:
    for field, value in (
        ("activeModels", dict.fromkeys(read(alice, "b")["activeModels"], False)),
        ("generationParams", {**PARAMETERS, "temperature": 9}),
        ("description", "x" * 10_001),
        ("conversationQuickStarters", [{"title": "t"}]),
        ("conversationQuickStarters", [{"title": "t" * 1000, "example": "x" * 10_000}] * 51),
        ("bedrockKnowledgeBase", {**BASE, "parsingModel": "other"}),
        ("allowCloning", None),
    ):
        assert alice.post("/bot", {**payload("refused"), field: value}, format="json").status_code == 400
        assert bring(alice, document(**{field: value})).status_code == 400
    large = [{"title": "", "example": "x" * 10_000}] * 50
    pages = [f"https://example.com/{'x' * 2000}"] * 500
    knowledge = {"sourceUrls": pages, "sitemapUrls": pages, "s3Urls": []}
    assert bring(alice, document(conversationQuickStarters=large, knowledge=knowledge)).status_code == 400


def test_one_bot_too_many_is_no_import(alice: APIClient, settings: Any) -> None:
    settings.BOTS_PER_USER = 1
    make(alice, "b")
    assert bring(alice, document()).status_code == 400


def test_an_import_that_fails_at_the_end_leaves_nothing(alice: APIClient, settings: Any) -> None:
    """Its files are in storage by then. They are garbage, which nothing refers to."""
    settings.BOTS_PER_USER = 0
    before = rows()
    sent = {"bot.json": json.dumps(document(files=[A_FILE])).encode(), f"files/{A_FILE['digest']}": b"x"}
    assert bring_zip(alice, zipped(sent)).status_code == 400
    assert rows() == before
    assert storing.locate([A_FILE["digest"]])


def test_other_bodies_are_not_looked_at(alice: APIClient) -> None:
    for content_type in ("text/plain", "multipart/form-data; boundary=x", "application/x-tar"):
        assert alice.generic("POST", "/bot/import", b"x", content_type=content_type).status_code == 415
    assert not EncryptionKey.objects.exists()
