"""Bots: made, read, changed, restored, deleted."""

import pytest
from django.conf import LazySettings
from django.db import connection
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bots.models import Bot, BotVersion, TakenBotId
from tests.bots.bot import PARAMETERS, body, edit, firecrawl, ids, make, payload, pin, read, share

pytestmark = [pytest.mark.django_db, pytest.mark.both]


def test_what_was_sent_comes_back_whole(alice: APIClient) -> None:
    made = make(alice, "full", generationParams=PARAMETERS, activeModels={"claudeV3Haiku": False, "unknown": False})
    assert made["generationParams"] == PARAMETERS
    assert made["activeModels"]["claudeV3Haiku"] is False
    assert made["activeModels"]["claudeV45Sonnet"] is True
    assert "unknown" not in made["activeModels"]
    assert made["version"] == 1
    assert read(alice, "full") == made


def test_only_the_group_may_create(bob: APIClient, carol: APIClient) -> None:
    assert bob.post("/bot", payload("b"), format="json").status_code == 403
    make(carol, "b")  # Admin alone is enough


def test_an_id_is_given_once_and_never_again(alice: APIClient, carol: APIClient) -> None:
    make(alice, "once")
    assert alice.post("/bot", payload("once"), format="json").status_code == 409
    assert carol.post("/bot", payload("once"), format="json").status_code == 409
    assert alice.delete("/bot/once").status_code == 200
    assert alice.post("/bot", payload("once"), format="json").status_code == 409
    assert TakenBotId.objects.filter(pk="once").exists()


@pytest.mark.parametrize("bot_id", ["", "new", "pinned", "public", "a/b", "é", "a" * 65, 5, None])
def test_ids_that_no_route_could_name_are_refused(alice: APIClient, bot_id: object) -> None:
    response = alice.post("/bot", {**payload("x"), "id": bot_id}, format="json")
    assert response.status_code == 400
    assert response.json()["errors"][0].startswith("id: ")


def test_an_edit_keeps_what_it_does_not_send_and_makes_a_version(alice: APIClient) -> None:
    make(alice, "b", generationParams=PARAMETERS)
    answer = body(edit(alice, "b", title="Another"))
    assert (answer["title"], answer["generationParams"], answer["version"]) == ("Another", PARAMETERS, 2)
    answer = body(edit(alice, "b", generationParams=None, description=None))
    assert (answer["description"], answer["generationParams"]["maxTokens"], answer["version"]) == ("", 4096, 3)


def test_an_edit_that_changes_nothing_makes_no_version(alice: APIClient) -> None:
    make(alice, "b")
    assert body(edit(alice, "b", title="Title of b", activeModels={}))["version"] == 1
    assert BotVersion.objects.count() == 1


def test_an_edit_of_an_older_version_is_refused_if_it_says_so(alice: APIClient) -> None:
    make(alice, "b")
    assert edit(alice, "b", title="First", baseVersion=1).status_code == 200
    refused = edit(alice, "b", title="Second", baseVersion=1)
    assert refused.status_code == 409
    assert refused.json()["version"] == 2
    assert read(alice, "b")["title"] == "First"
    assert edit(alice, "b", title="Third").status_code == 200


def test_lists_that_are_all_full_are_refused_together(alice: APIClient) -> None:
    long = ["https://example.com/" + "x" * 2000] * 100
    knowledge = {"sourceUrls": long, "sitemapUrls": long, "s3Urls": [], "filenames": []}
    starters = [{"title": "t", "example": "x" * 10_000}] * 50
    make(alice, "b", knowledge=knowledge, conversationQuickStarters=starters)
    refused = edit(alice, "b", generationParams={**PARAMETERS, "stopSequences": ["x" * 1000] * 1200})
    assert refused.status_code == 400
    assert "2,000,000 bytes" in refused.json()["detail"]
    assert read(alice, "b")["version"] == 1
    fewer = {**knowledge, "sitemapUrls": [], "addedFilenames": [], "deletedFilenames": [], "unchangedFilenames": []}
    assert edit(alice, "b", knowledge=fewer).status_code == 200


def test_versions_say_what_changed_and_can_be_restored(alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    edit(carol, "b", title="Two", instruction="Be brief.")
    share(alice, "b", "all")
    listed = body(alice.get("/bot/b/versions"))
    assert [(version["version"], version["changed"]) for version in listed] == [(2, ["title", "instruction"]), (1, [])]
    second = body(alice.get("/bot/b/versions/2"))
    assert second["changes"]["title"] == {"before": "Title of b", "after": "Two"}
    assert second["instruction"] == "Be brief."
    restored = body(alice.post("/bot/b/versions/1/restore"))
    assert (restored["title"], restored["version"]) == ("Title of b", 3)
    assert read(alice, "b")["sharedScope"] == "all"
    assert bob.get("/bot/b/versions").status_code == 403
    assert bob.post("/bot/b/versions/1/restore").status_code == 403
    assert alice.get("/bot/b/versions/9").status_code == 404
    assert alice.get("/bot/nope/versions").status_code == 404


def test_the_newest_versions_are_kept(alice: APIClient, settings: LazySettings) -> None:
    settings.BOT_VERSIONS = 3
    make(alice, "b")
    for number in range(5):
        edit(alice, "b", title=f"Title {number}")
    listed = body(alice.get("/bot/b/versions"))
    assert [version["version"] for version in listed] == [6, 5, 4]
    assert body(alice.get("/bot/b/versions/4"))["changes"] is None


def test_a_secret_is_stored_encrypted_and_answered_masked(alice: APIClient) -> None:
    made = make(alice, "b", agent=firecrawl("fc-secret"))
    assert made["agent"]["tools"][0]["firecrawlConfig"] == {"apiKey": "********", "maxResults": 5}
    row = Bot.objects.get()
    assert "fc-secret" not in row.encrypted_secrets
    assert "fc-secret" not in str(row.configuration)
    edit(alice, "b", agent=firecrawl("********"), title="Another")
    assert body(alice.get("/bot/b/versions/2"))["changed"] == ["title"]
    edit(alice, "b", agent=firecrawl("fc-other"))
    third = body(alice.get("/bot/b/versions/3"))
    assert (third["changed"], third["changes"]) == (["secrets"], {"secrets": None})
    assert "fc-" not in str(third)


def test_a_mask_without_a_stored_secret_is_refused(alice: APIClient) -> None:
    assert alice.post("/bot", payload("b", agent=firecrawl("********")), format="json").status_code == 400
    make(alice, "c", agent=firecrawl("fc-secret"))
    assert edit(alice, "c", agent=firecrawl("********", name="renamed")).status_code == 400


def test_a_restored_version_has_todays_secrets(alice: APIClient) -> None:
    make(alice, "b", agent=firecrawl("fc-old"))
    edit(alice, "b", agent={"tools": []})
    restored = body(alice.post("/bot/b/versions/1/restore"))
    assert "The tool internet_search has no key: send it again." in restored["warnings"]
    assert Bot.objects.get().encrypted_secrets == ""
    shown = read(alice, "b")
    assert shown["agent"]["tools"][0]["firecrawlConfig"] == {"apiKey": "", "maxResults": 5}
    assert "The tool internet_search has no key: send it again." in shown["warnings"]
    answer = body(edit(alice, "b", agent=shown["agent"], title="Saved as it was read"))
    assert answer["agent"] == shown["agent"]
    answer = body(edit(alice, "b", agent=firecrawl("fc-new")))
    assert answer["agent"]["tools"][0]["firecrawlConfig"]["apiKey"] == "********"
    assert edit(alice, "b", agent=firecrawl("")).status_code == 400


def test_a_person_has_a_bounded_number_of_bots(alice: APIClient, settings: LazySettings) -> None:
    settings.BOTS_PER_USER = 1
    make(alice, "a")
    refused = alice.post("/bot", payload("b"), format="json")
    assert refused.status_code == 400
    assert "delete one first" in refused.json()["detail"]
    alice.delete("/bot/a")
    make(alice, "b")  # the id of what was refused is free


def test_a_deleted_bot_is_gone_with_its_versions(alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    make(alice, "c")
    share(alice, "b", "all")
    assert bob.delete("/bot/b").status_code == 403
    assert pin(carol, "b", 1).status_code == 200
    assert alice.delete("/bot/b").status_code == 400
    pin(carol, "b", None)
    assert alice.delete("/bot/b").status_code == 200
    assert carol.delete("/bot/c").status_code == 200
    assert not BotVersion.objects.exists()
    assert alice.get("/bot/private/b").status_code == 404
    assert ids(alice.get("/bot")) == []


def test_every_write_is_recorded_without_any_text(alice: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    edit(carol, "b", title="Secret plan")
    share(alice, "b", "partial", ["bob"], "sales")
    share(alice, "b", "all")
    pin(carol, "b", 7)
    pin(carol, "b", None)
    body(alice.post("/bot/b/versions/1/restore"))
    alice.delete("/bot/b")
    entries = list(AuditEntry.objects.order_by("pk"))
    verbs = ["create", "edit", "share", "share", "pin", "unpin", "restore", "delete"]
    assert [entry.verb for entry in entries] == verbs
    assert (entries[1].fields, entries[1].version_before, entries[1].version_after) == (["title"], 1, 2)
    assert entries[2].values["scope"] == {"before": "private", "after": "partial"}
    assert entries[2].values["groups"] == {"before": [], "after": ["sales"]}
    assert entries[4].values == {"order": {"before": None, "after": 7}}
    assert "plan" not in str([entry.values for entry in entries])


def test_without_a_key_on_postgresql_no_secret_is_stored_and_the_setting_is_named(
    alice: APIClient, settings: LazySettings
) -> None:
    settings.ENCRYPTION_KEYS = []
    response = alice.post("/bot", payload("b", agent=firecrawl("fc-secret")), format="json")
    if connection.vendor == "sqlite":  # a key is made there
        assert response.status_code == 200
        return
    assert response.status_code == 503
    assert "ENCRYPTION_KEYS" in response.json()["detail"]
    assert not Bot.objects.exists()
    assert alice.post("/bot", payload("b"), format="json").status_code == 200
