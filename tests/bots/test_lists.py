"""`GET /bot`: which bots, in which order, and which queries are refused."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.process.budget import Budget
from bedrock_chat.serving import answers
from bots import listing
from bots.models import Bot, BotAlias
from tests.bots.bot import body, edit, ids, make, pin, share, star, use

pytestmark = [pytest.mark.django_db, pytest.mark.both]

FIELDS = {
    "id",
    "title",
    "description",
    "createTime",
    "lastUsedTime",
    "isStarred",
    "owned",
    "available",
    "syncStatus",
    "sharedScope",
    "sharedStatus",
}
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def many(client: APIClient, *bot_ids: str) -> None:
    """Bots that were made at the same moment."""
    for bot_id in bot_ids:
        make(client, bot_id)
    Bot.objects.update(created_at=MOMENT)


@pytest.fixture
def bots(alice: APIClient, bob: APIClient) -> None:
    """Alice's `a1` and `a2`, of which Bob starred one and used the other; Bob's stars and uses are not Alice's."""
    many(alice, "a1", "a2", "a3")
    for bot_id in ("a1", "a2"):
        share(alice, bot_id, "all")
    star(bob, "a1")
    use("bob", "a2")


def test_every_combination_of_kind_starred_and_limit(bots: None, bob: APIClient, alice: APIClient) -> None:
    for kind, starred, limit in product((None, "private", "mixed"), (None, "false", "true"), (None, 0, 1, 100)):
        sent = {"kind": kind, "starred": starred, "limit": limit}
        query = {name: value for name, value in sent.items() if value is not None}
        response = bob.get("/bot", query)
        if kind != "mixed":
            assert ids(response) == [], query
            assert ids(alice.get("/bot", query)) == ["a1", "a2", "a3"][: limit or None], query
        elif (starred == "true") == bool(limit):
            assert response.status_code == 400, query
        else:
            assert ids(response) == (["a2"] if limit else ["a1"]), query


NO_LIMITS = ("101", "-1", "x", "1.5", "1e1", "+1", " 1", "1_0", "１", "٣", "0x1", "9" * 5000, "null", "²")


def test_a_limit_is_a_number_up_to_100(alice: APIClient) -> None:
    for limit, kind in product(NO_LIMITS, ("private", "mixed")):
        response = alice.get("/bot", {"kind": kind, "limit": limit})
        assert response.status_code == 400, limit
        assert response.json()["errors"][0].startswith("limit: ")


def test_a_query_that_says_nothing_asks_for_ones_own(alice: APIClient) -> None:
    make(alice, "b")
    for query in ("kind=", "limit=", "starred=", "limit=0", "unknown=1", "limit=5&limit=6", ""):
        assert ids(alice.get(f"/bot?{query}")) == ["b"], query


def test_a_query_that_is_none_is_refused(alice: APIClient) -> None:
    for query in ("kind=all", "kind=Mixed", "starred=perhaps", "kind=mixed", "limit=5&limit=x"):
        assert alice.get(f"/bot?{query}").status_code == 400, query


def test_an_entry_has_what_the_contract_names(alice: APIClient, bob: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    star(bob, "b")
    (own,), (starred,) = body(alice.get("/bot")), body(bob.get("/bot?kind=mixed&starred=true"))
    assert own.keys() == starred.keys() == FIELDS
    assert (own["owned"], starred["owned"]) == (True, False)
    assert own["lastUsedTime"] == own["createTime"] == starred["lastUsedTime"] == starred["createTime"]


# ---- Order ----------------------------------------------------------------------------------------------------------


def test_the_bot_that_was_used_last_comes_first_and_ids_decide_a_tie(alice: APIClient, bob: APIClient) -> None:
    many(alice, "b", "a", "B", "_", "1", "c")
    assert ids(alice.get("/bot")) == ["1", "B", "_", "a", "b", "c"]
    use("alice", "c", MOMENT + timedelta(hours=2))
    use("alice", "b", MOMENT + timedelta(hours=1))
    share(alice, "a", "all")
    use("bob", "a", MOMENT + timedelta(hours=3))  # another's turn does not count
    assert ids(alice.get("/bot")) == ["c", "b", "1", "B", "_", "a"]
    assert ids(alice.get("/bot?limit=2")) == ["c", "b"]


@pytest.mark.parametrize("ties", [("b", "a", "B", "_"), ("x-2", "x-10", "x_1", "X")])
def test_ids_decide_ties_in_all_lists_by_code_point(alice: APIClient, ties: tuple[str, ...]) -> None:
    many(alice, *ties)
    for bot_id in ties:
        star(alice, bot_id)
        use("alice", bot_id, MOMENT)
    for query in ("", "?kind=mixed&starred=true", "?kind=mixed&limit=100"):
        assert ids(alice.get(f"/bot{query}")) == sorted(ties)
    assert ids(alice.get("/bot?kind=mixed&limit=2")) == sorted(ties)[:2]


def test_an_unused_starred_bot_stands_where_it_was_made(alice: APIClient) -> None:
    many(alice, "old", "used", "newer")
    Bot.objects.filter(pk="newer").update(created_at=MOMENT + timedelta(hours=2))
    for bot_id in ("old", "used", "newer"):
        star(alice, bot_id)
    use("alice", "used", MOMENT + timedelta(hours=1))
    assert ids(alice.get("/bot?kind=mixed&starred=true")) == ["newer", "used", "old"]
    assert ids(alice.get("/bot")) == ["newer", "used", "old"]


def test_a_bot_that_is_not_available_keeps_its_place(alice: APIClient, bob: APIClient) -> None:
    many(alice, "first", "gone", "last")
    for hours, bot_id in enumerate(("last", "gone", "first")):
        share(alice, bot_id, "all")
        use("bob", bot_id, MOMENT + timedelta(hours=hours))
        star(bob, bot_id)
    alice.delete("/bot/gone")
    share(alice, "first", "private")
    for query in ("?kind=mixed&starred=true", "?kind=mixed&limit=100"):
        entries = body(bob.get(f"/bot{query}"))
        listed = [(entry["id"], entry["available"]) for entry in entries]
        assert listed == [("first", False), ("gone", False), ("last", True)]


def test_the_last_use_is_the_callers_own_everywhere(alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    moments = {name: timezone.now() + timedelta(hours=hours) for hours, name in enumerate(("alice", "bob", "carol"))}
    for name, moment in moments.items():
        use(name, "b", moment)
    seen: dict[str, Any] = {
        "alice": body(alice.get("/bot/private/b")),
        "bob": body(bob.get("/bot/summary/b")),
        "carol": body(carol.get("/admin/bot/public/b")),
    }
    for name, bot in seen.items():
        assert bot["lastUsedTime"] == int(moments[name].timestamp() * 1000)


LARGE = 80_000
"""Characters of a description: more than the API takes, and enough for an answer that is counted."""


@pytest.mark.parametrize("path", ["/bot", "/bot?kind=mixed&starred=true", "/bot/pinned"])
def test_a_large_list_is_read_only_where_there_is_room_for_it(
    path: str, alice: APIClient, carol: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(alice, "a")
    share(alice, "a", "all")
    pin(carol, "a", 1)
    star(alice, "a")
    Bot.objects.update(description="x" * LARGE)
    budget = Budget(10 * LARGE, 10 * LARGE)
    monkeypatch.setattr(answers, "budget", lambda: budget)
    account = f"user:{User.objects.get(username='alice').pk}"
    assert budget.take(account, 9 * LARGE)  # another request of Alice's is at work
    with monkeypatch.context() as patch:
        patch.setattr(listing, "_entries_of_bots", None)  # nothing may read the list
        patch.setattr(listing, "_entries_of_aliases", None)
        refused: Any = alice.get(path)
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    budget.give_back(account, 9 * LARGE)
    assert ids(alice.get(path)) == ["a"]
    assert budget.bytes_in_use == 0


@pytest.mark.parametrize("path", ["/bot/private/a", "/bot/a/versions/2", "/admin/bot/public/a"])
def test_few_large_bots_are_shown_at_once(
    path: str, alice: APIClient, carol: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(alice, "a")
    edit(alice, "a", instruction="x" * LARGE)
    budget = Budget(20 * LARGE, 20 * LARGE)
    monkeypatch.setattr(answers, "budget", lambda: budget)
    client, name = (carol, "carol") if "admin" in path else (alice, "alice")
    account = f"user:{User.objects.get(username=name).pk}"
    assert budget.take(account, 19 * LARGE)
    refused: Any = client.get(path)
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    budget.give_back(account, 19 * LARGE)
    assert body(client.get(path))["instruction"] == "x" * LARGE
    assert budget.bytes_in_use == 0


def test_what_a_list_shows_of_a_bot_that_is_gone_counts_as_well(alice: APIClient, bob: APIClient) -> None:
    make(alice, "a")
    share(alice, "a", "all")
    star(bob, "a")
    alice.delete("/bot/a")
    BotAlias.objects.update(description="x" * LARGE)
    bob_id = User.objects.get(username="bob").pk
    listed = listing.chosen(kind="mixed", starred=True, limit=0, actor=Caller(user_id=bob_id))
    assert listed.size > LARGE
