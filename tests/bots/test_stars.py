"""Stars and the bots that somebody used recently: each person's own, also where a bot is not available any more."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from bots.models import BotAlias
from tests.bots.bot import body, edit, ids, make, read, share, star, use

pytestmark = [pytest.mark.django_db, pytest.mark.both]

ClientOf = Callable[..., APIClient]
STARRED, RECENT = "/bot?kind=mixed&starred=true", "/bot?kind=mixed&limit=30"


def only(response: Any) -> dict[str, Any]:
    """The one entry of a list."""
    (entry,) = body(response)
    return dict(entry)


def forget(client: APIClient, bot_id: str) -> int:
    return client.delete(f"/bot/{bot_id}/recently-used").status_code


@pytest.fixture
def shared(alice: APIClient) -> None:
    """Alice's bot `b`, shared with Bob."""
    make(alice, "b")
    share(alice, "b", "partial", ["bob"])


# ---- Stars ----------------------------------------------------------------------------------------------------------


def test_a_star_is_each_persons_own(shared: None, alice: APIClient, bob: APIClient) -> None:
    response = star(bob, "b")
    assert (response.status_code, response.json()) == (200, None)
    assert body(bob.get("/bot/summary/b"))["isStarred"] is True
    assert body(alice.get("/bot/summary/b"))["isStarred"] is False
    assert only(alice.get("/bot"))["isStarred"] is False
    assert ids(bob.get(STARRED)) == ["b"]
    assert ids(alice.get(STARRED)) == []
    star(bob, "b", starred=False)
    assert ids(bob.get(STARRED)) == []


def test_a_star_given_or_taken_twice_changes_nothing_more(shared: None, bob: APIClient) -> None:
    assert star(bob, "b", starred=False).status_code == 200
    assert not BotAlias.objects.exists()
    for starred in (True, True, False, False, True):
        assert star(bob, "b", starred=starred).status_code == 200
    assert BotAlias.objects.count() == 1


def test_a_star_is_no_use_and_a_use_no_star(shared: None, bob: APIClient) -> None:
    star(bob, "b")
    assert ids(bob.get(RECENT)) == []
    star(bob, "b", starred=False)
    use("bob", "b")
    assert ids(bob.get(STARRED)) == []
    assert ids(bob.get(RECENT)) == ["b"]
    star(bob, "b")
    assert only(bob.get(RECENT))["isStarred"] is True


def test_a_star_needs_a_bot_that_one_may_use(alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    for starred in (True, False):
        assert star(bob, "b", starred=starred).status_code == 403
        assert star(bob, "nope", starred=starred).status_code == 404
    assert star(carol, "b").status_code == 200
    assert only(carol.get(STARRED))["available"] is True


def test_a_star_is_given_or_taken(shared: None, bob: APIClient) -> None:
    for sent in ({}, {"starred": None}, {"starred": 5}, {"starred": []}, {"starred": "perhaps"}, [], 1):
        assert bob.patch("/bot/b/starred", sent, format="json").status_code == 400, sent
    assert not BotAlias.objects.exists()


# ---- Access that was taken away -------------------------------------------------------------------------------------


def test_what_is_not_available_shows_what_one_saw_last_and_nothing_newer(
    shared: None, alice: APIClient, bob: APIClient
) -> None:
    star(bob, "b")
    edit(alice, "b", title="Seen by Bob", description="This too.")
    star(bob, "b")
    share(alice, "b", "private")
    edit(alice, "b", title="Secret plan", description="Not for Bob.")
    entry = only(bob.get(STARRED))
    assert (entry["title"], entry["description"]) == ("Seen by Bob", "This too.")
    assert (entry["available"], entry["owned"], entry["isStarred"]) == (False, False, True)
    assert (entry["sharedScope"], entry["sharedStatus"], entry["syncStatus"]) == ("private", "unshared", "SUCCEEDED")


def test_star_and_use_come_back_with_access(shared: None, alice: APIClient, bob: APIClient) -> None:
    star(bob, "b")
    moment = timezone.now() - timedelta(days=1)
    use("bob", "b", moment)
    share(alice, "b", "private")
    assert [only(bob.get(path))["available"] for path in (STARRED, RECENT)] == [False, False]
    share(alice, "b", "all")
    entry = only(bob.get(RECENT))
    assert (entry["available"], entry["isStarred"], entry["sharedScope"]) == (True, True, "all")
    assert entry["lastUsedTime"] == int(moment.timestamp() * 1000)


def test_a_group_that_bob_lost_leaves_an_entry_that_is_not_available(alice: APIClient, client_of: ClientOf) -> None:
    make(alice, "b")
    share(alice, "b", "partial", [], "sales")
    seller = client_of("bob", "sales")
    star(seller, "b")
    assert only(seller.get(STARRED))["available"] is True
    assert only(client_of("bob").get(STARRED))["available"] is False
    assert only(client_of("bob", "sales").get(STARRED))["available"] is True


def test_a_deleted_bot_stays_in_others_lists_and_leaves_its_owners(
    shared: None, alice: APIClient, bob: APIClient
) -> None:
    for name, client in (("alice", alice), ("bob", bob)):
        star(client, "b")
        use(name, "b")
    alice.delete("/bot/b")
    assert [ids(alice.get(path)) for path in (STARRED, RECENT, "/bot")] == [[], [], []]
    for path in (STARRED, RECENT):
        entry = only(bob.get(path))
        assert (entry["id"], entry["title"], entry["available"]) == ("b", "Title of b", False)
    assert star(bob, "b", starred=False).status_code == 404


def test_a_shared_bot_that_bob_used_is_still_in_his_recent_list_after_a_reload(
    shared: None, bob: APIClient, client_of: ClientOf
) -> None:
    use("bob", "b")
    assert ids(bob.get(RECENT)) == ["b"]
    assert ids(client_of("bob").get(RECENT)) == ["b"]
    assert ids(bob.get("/bot")) == []  # they are not his own


# ---- Taking a bot from the recent ones ------------------------------------------------------------------------------


def test_a_bot_taken_from_the_recent_ones_keeps_its_star(shared: None, bob: APIClient) -> None:
    star(bob, "b")
    use("bob", "b")
    response = bob.delete("/bot/b/recently-used")
    assert body(response) == {"message": "Bot b removed from recently used bots history"}
    assert (ids(bob.get(RECENT)), ids(bob.get(STARRED))) == ([], ["b"])
    assert forget(bob, "b") == 200  # again, and without any use
    use("bob", "b")
    assert ids(bob.get(RECENT)) == ["b"]


def test_an_own_bot_taken_from_the_recent_ones_stays_ones_own(alice: APIClient) -> None:
    make(alice, "b")
    use("alice", "b", timezone.now() + timedelta(hours=1))
    assert forget(alice, "b") == 200
    bot = read(alice, "b")
    assert bot["lastUsedTime"] == bot["createTime"]
    assert ids(alice.get("/bot")) == ["b"]


@pytest.mark.parametrize("end", ["unshared", "deleted"])
def test_what_is_not_available_leaves_all_lists_when_it_is_taken_away(
    shared: None, alice: APIClient, bob: APIClient, end: str
) -> None:
    star(bob, "b")
    use("bob", "b")
    if end == "deleted":
        alice.delete("/bot/b")
    else:
        share(alice, "b", "private")
    assert forget(bob, "b") == 200
    assert (ids(bob.get(RECENT)), ids(bob.get(STARRED))) == ([], [])
    assert forget(bob, "b") == (404 if end == "deleted" else 403)
    if end == "unshared":
        share(alice, "b", "all")
        assert body(bob.get("/bot/summary/b"))["isStarred"] is False


def test_who_never_had_to_do_with_a_bot_takes_nothing_away(alice: APIClient, bob: APIClient) -> None:
    make(alice, "b")
    star(alice, "b")
    assert (forget(bob, "b"), forget(bob, "nope")) == (403, 404)
    assert ids(alice.get(STARRED)) == ["b"]


def test_reading_writes_nothing(shared: None, alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    for client in (alice, bob, carol):
        for path in ("/bot/summary/b", "/bot", STARRED, RECENT, "/bot/pinned", "/bot/b/agent/available-tools"):
            body(client.get(path))
    assert not BotAlias.objects.exists()
