"""Copies of bots: whose they become, and what they do not have."""

import pytest
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.blobs.models import BlobReference
from bots.models import Bot, BotVersion
from tests.bots.bot import body, edit, firecrawl, make, read, share
from tests.bots.conftest import ClientOf
from tests.bots.test_parts import GUARDRAILS
from tests.bots.travel import clone, content_of, make_with_file
from tests.bots.upload import files_of

pytestmark = [pytest.mark.django_db, pytest.mark.both]

ARN = "arn:aws:bedrock:us-east-1:123456789012:guardrail/abc"


@pytest.fixture
def dan(client_of: ClientOf) -> APIClient:
    """Somebody else who may create bots."""
    return client_of("dan", "CreatingBotAllowed")


def test_a_copy_is_the_callers_own_private_and_of_the_same_content(alice: APIClient, dan: APIClient) -> None:
    source = make_with_file(alice, "b", "a.txt", b"What Alice knows.", allowCloning=True, generationParams=None)
    edit(alice, "b", instruction="Be kind.")
    share(alice, "b", "all")
    copy = body(clone(dan, "b"))
    assert content_of(copy) == content_of(read(alice, "b"))
    assert read(dan, copy["id"]) == copy
    assert (copy["version"], copy["sharedScope"], copy["allowCloning"]) == (1, "private", False)
    assert copy["ownerUserId"] != source["ownerUserId"]
    assert BotVersion.objects.filter(bot=copy["id"]).count() == 1


def test_the_copy_keeps_its_files_when_the_bot_is_gone(alice: APIClient) -> None:
    source = make_with_file(alice, "b", "a.txt", b"What Alice knows.")
    copy = body(clone(alice, "b", id="copy"))
    assert files_of(copy) == files_of(source)
    assert BlobReference.objects.filter(owner_kind="bot file").count() == 2
    alice.delete("/bot/b")
    assert files_of(read(alice, "copy")) == files_of(source)
    assert BlobReference.objects.filter(owner_kind="bot file").count() == 1


def test_a_copy_has_no_secret_and_no_guardrail_of_another(alice: APIClient) -> None:
    make(
        alice,
        "b",
        agent=firecrawl("fc-secret"),
        bedrockGuardrails={**GUARDRAILS, "hateThreshold": 2, "guardrailArn": ARN, "guardrailVersion": "3"},
    )
    copy = body(clone(alice, "b", id="copy", title="Mine"))
    assert (copy["id"], copy["title"]) == ("copy", "Mine")
    assert copy["agent"]["tools"][0]["firecrawlConfig"] == {"apiKey": "", "maxResults": 5}
    assert copy["bedrockGuardrails"] == {**GUARDRAILS, "hateThreshold": 2}
    assert "The tool internet_search has no key: send it again." in copy["warnings"]
    assert not Bot.objects.get(pk="copy").encrypted_secrets
    assert not BotVersion.objects.get(bot="copy").encrypted_secrets


def test_only_where_the_owner_allows_it_others_may_copy(alice: APIClient, dan: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    refused = clone(dan, "b")
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "The owner of the bot b does not allow to clone it.",
    )
    assert clone(alice, "b").status_code == clone(carol, "b").status_code == 200
    edit(alice, "b", allowCloning=True)
    assert clone(dan, "b").status_code == 200
    edit(alice, "b", allowCloning=False)
    assert clone(dan, "b").status_code == 403


def test_who_may_not_use_a_bot_or_make_one_copies_none(alice: APIClient, dan: APIClient, bob: APIClient) -> None:
    make(alice, "b", allowCloning=True)
    assert clone(dan, "b").status_code == 403
    share(alice, "b", "all")
    assert clone(bob, "b").status_code == 403
    assert clone(dan, "nope").status_code == clone(bob, "nope").status_code == 404
    assert Bot.objects.count() == 1


def test_a_copy_takes_no_id_that_was_ever_taken(alice: APIClient) -> None:
    make(alice, "b")
    make(alice, "gone")
    alice.delete("/bot/gone")
    assert clone(alice, "b", id="gone").status_code == clone(alice, "b", id="b").status_code == 409
    assert clone(alice, "b", id="new").status_code == clone(alice, "b", id="").status_code == 400
    assert clone(alice, "b", title="").status_code == 400
    assert Bot.objects.count() == 1


def test_one_bot_too_many_is_no_copy(alice: APIClient, settings: pytest.FixtureRequest) -> None:
    settings.BOTS_PER_USER = 1  # type: ignore[attr-defined]
    make(alice, "b")
    assert clone(alice, "b").status_code == 400


def test_allowing_copies_is_part_of_no_version_and_is_recorded(alice: APIClient) -> None:
    assert make(alice, "b")["allowCloning"] is False
    assert edit(alice, "b", allowCloning=True).json()["allowCloning"] is True
    assert read(alice, "b")["version"] == 1
    edit(alice, "b", allowCloning=True)
    edited = body(edit(alice, "b", allowCloning=False, title="New"))
    assert (edited["version"], edited["allowCloning"]) == (2, False)
    alice.post("/bot/b/versions/1/restore")
    assert read(alice, "b")["allowCloning"] is False
    assert make(alice, "c", allowCloning=True)["allowCloning"] is True
    assert "allowCloning" not in body(alice.get("/bot/b/versions/2"))
    clone(alice, "b", id="copy")
    recorded = AuditEntry.objects.order_by("pk").values_list("verb", "target_id", "fields", "values")
    assert list(recorded) == [
        ("create", "b", [], {}),
        ("edit", "b", ["allow_cloning"], {"allow_cloning": {"before": False, "after": True}}),
        ("edit", "b", ["title", "allow_cloning"], {"allow_cloning": {"before": True, "after": False}}),
        ("restore", "b", ["title"], {"version": 1}),
        ("create", "c", [], {"allow_cloning": True}),
        ("clone", "copy", [], {"source": ["b"]}),
    ]
