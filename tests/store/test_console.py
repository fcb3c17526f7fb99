"""The store in the console: operators see how popular bots are, and nobody sees who used which."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from tests.bots.bot import edit, use
from tests.console.operators import make_viewer
from tests.store.store import offer, refresh

pytestmark = [pytest.mark.django_db, pytest.mark.both]
PAGE = "/console/store/listing/"


@pytest.fixture
def vera(db: None) -> Client:
    """She may look at everything."""
    client = Client()
    client.force_login(make_viewer())
    return client


def test_the_popular_bots_come_first(vera: Client, alice: APIClient) -> None:
    for bot_id in ("quiet", "loved"):
        offer(alice, bot_id, f"Title of {bot_id}")
    for name in ("alice", "bob"):
        use(name, "loved")
    refresh()
    edit(alice, "quiet", title="Another title")
    response = vera.get(PAGE)
    rows = [(row.bot_id, row.bot.is_indexed) for row in response.context["cl"].result_list]
    assert rows == [("loved", True), ("quiet", False)]
    page = response.content.decode()
    assert "2.0" in page or "1.9" in page  # if a day has ended meanwhile
    assert "Another title" in page


def test_a_bot_is_looked_up_by_its_id_and_not_by_its_title(vera: Client, alice: APIClient) -> None:
    offer(alice, "one", "Baker")
    offer(alice, "two", "Baker")
    for query, expected in (("one", ["one"]), ("Baker", [])):
        response = vera.get(PAGE, {"q": query})
        assert [row.bot_id for row in response.context["cl"].result_list] == expected
    pk = response.context["cl"].queryset.model.objects.get(bot="one").pk
    assert vera.get(f"{PAGE}{pk}/change/").status_code == 200
    assert vera.post(f"{PAGE}{pk}/change/", {}).status_code == 403


def test_a_bot_that_is_gone_is_not_shown(vera: Client, alice: APIClient) -> None:
    offer(alice, "one", "Baker")
    assert alice.delete("/bot/one").status_code == 200
    assert list(vera.get(PAGE).context["cl"].result_list) == []
