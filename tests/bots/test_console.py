"""Bots in the console: operators look them up and read all of them but secrets; nobody changes one there."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bots.models import Bot, BotAlias, BotGuardrail, BotVersion
from tests.bots.bot import edit, firecrawl, make, pin, share, star
from tests.console.operators import make_operator, make_viewer

pytestmark = [pytest.mark.django_db, pytest.mark.both]
PAGE = "/console/bots/bot/"


def browser_of(operator: User) -> Client:
    client = Client()
    client.force_login(operator)
    return client


@pytest.fixture
def vera(db: None) -> Client:
    """She may look at everything."""
    return browser_of(make_viewer())


@pytest.fixture
def bots(alice: APIClient, carol: APIClient) -> None:
    """Alice's `one`, shared with some, and `top`, which is pinned; Carol's `carols`."""
    make(alice, "one", instruction="Be <b>brief</b>.", description="Wanted", agent=firecrawl("fc-secret"))
    edit(carol, "one", title="Changed by Carol")
    share(alice, "one", "partial", ["bob"], "sales")
    make(alice, "top")
    share(alice, "top", "all")
    pin(carol, "top", 5)
    make(carol, "carols")


def listed(client: Client, query: str = "") -> list[str]:
    """The ids that the page lists, the bot that was made last first."""
    response = client.get(f"{PAGE}?{query}")
    assert response.status_code == 200, query
    return [row.pk for row in response.context["cl"].result_list]


def text_of(client: Client, bot_id: str) -> str:
    response = client.get(f"{PAGE}{bot_id}/change/")
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.usefixtures("bots")
@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ["carols", "top", "one"]),
        ("pinned=yes", ["top"]),
        ("pinned=no", ["carols", "one"]),
        ("pinned=1", ["carols", "top", "one"]),
        ("published=yes", []),
        ("scope__exact=partial", ["one"]),
        ("sync_status__exact=QUEUED", []),
        ("q=one", ["one"]),
        ("q=ONE", []),
        ("q=on", []),
        ("q=alice", ["top", "one"]),
        ("q=alice&pinned=yes", ["top"]),
        ("q=Changed", []),
    ],
)
def test_the_list_is_filtered_and_searched_by_whole_ids_and_owners(vera: Client, query: str, ids: list[str]) -> None:
    assert listed(vera, query) == ids


@pytest.mark.usefixtures("bots")
def test_a_page_shows_the_bot_its_people_and_its_versions(vera: Client) -> None:
    shown = text_of(vera, "one")
    bob, carol = (User.objects.get(username=name).pk for name in ("bob", "carol"))
    for text in ("Changed by Carol", "Wanted", "Be &lt;b&gt;brief&lt;/b&gt;.", "firecrawl", "sales", bob, carol):
        assert text in shown, text


@pytest.mark.usefixtures("bots")
def test_no_page_shows_a_secret_or_what_it_is_encrypted_to(vera: Client) -> None:
    for row in (Bot.objects.get(pk="one"), *BotVersion.objects.filter(bot="one")):
        assert row.encrypted_secrets
        assert row.encrypted_secrets not in text_of(vera, "one")
    assert "fc-secret" not in text_of(vera, "one")


@pytest.mark.usefixtures("bots")
def test_who_uses_a_bot_is_counted_and_not_named(vera: Client, bob: APIClient) -> None:
    star(bob, "top")
    BotAlias.objects.update(last_used_at=BotAlias.objects.get().created_at, uses=4711)
    shown = text_of(vera, "top")
    assert "4711" in shown
    assert "+00:00" not in shown, "the last question's time is written as every time of the console"
    assert User.objects.get(username="bob").pk not in shown
    assert vera.get("/console/bots/botalias/").status_code == 404


@pytest.mark.usefixtures("bots")
def test_nobody_adds_changes_or_deletes_a_bot(vera: Client) -> None:
    olga = browser_of(User.objects.create_superuser("olga", "correct horse battery"))
    before = list(Bot.objects.order_by("pk").values())
    form = {"title": "Another", "versions-TOTAL_FORMS": 0, "versions-INITIAL_FORMS": 0}
    for client in (vera, olga):
        assert client.post(f"{PAGE}add/", form).status_code == 403
        assert client.post(f"{PAGE}one/change/", form).status_code == 403
        assert client.post(f"{PAGE}one/delete/", {"post": "yes"}).status_code == 403
        client.post(PAGE, {"action": "delete_selected", "_selected_action": ["one"], "post": "yes"})
    assert list(Bot.objects.order_by("pk").values()) == before


@pytest.mark.usefixtures("bots", "vera")
def test_each_permission_shows_its_own_part() -> None:
    bob = User.objects.get(username="bob").pk
    ines = browser_of(make_operator("ines", "view_bot"))
    assert "Wanted" in text_of(ines, "one")
    assert bob not in text_of(ines, "one")
    assert bob in text_of(browser_of(make_operator("ivo", "view_bot", "view_botgrant")), "one")
    assert browser_of(make_operator("udo", "view_user")).get(PAGE).status_code == 403


def test_a_bot_that_is_not_there_leads_back(vera: Client) -> None:
    assert vera.get(f"{PAGE}nope/change/").status_code == 302


def test_pages_cost_the_same_however_much_there_is(vera: Client, alice: APIClient) -> None:
    def queries(address: str) -> int:
        vera.get(address)  # what a process looks up once
        with CaptureQueriesContext(connection) as captured:
            assert vera.get(address).status_code == 200
        return len(captured)

    def fill(count: int) -> None:
        for number in range(count):
            make(alice, f"b{Bot.objects.count()}")
            edit(alice, "b0", title=f"Title {number} of {count}")
        people = [f"p{number}" for number in range(count)]
        share(alice, "b0", "partial", people)

    fill(1)
    before = queries(PAGE), queries(f"{PAGE}b0/change/")
    fill(9)
    assert (queries(PAGE), queries(f"{PAGE}b0/change/")) == before
    assert before[0] <= 12
    assert before[1] <= 15


def test_the_page_of_a_bot_names_the_guardrail_that_was_made_for_it(vera: Client, alice: APIClient) -> None:
    make(alice, "b")
    arn = "arn:aws:bedrock:us-east-1:123456789012:guardrail/g"
    BotGuardrail.objects.create(bot_id="b", arn=arn, version="1", filters={"HATE": "LOW"})
    assert f"{arn}, version 1" in vera.get(f"{PAGE}b/change/").content.decode()
