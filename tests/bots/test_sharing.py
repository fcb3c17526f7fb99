"""With whom a bot is shared, and which bots Admin pins for everybody."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.identity import local
from bots.models import Bot, BotGrant
from tests.bots.bot import body, edit, ids, make, payload, pin, read, share, star

pytestmark = [pytest.mark.django_db, pytest.mark.both]

ClientOf = Callable[..., APIClient]


def opened(client: APIClient, bot_id: str = "b") -> int:
    """The status of opening a bot to chat with it."""
    return client.get(f"/bot/summary/{bot_id}").status_code


def shared_status(client: APIClient, bot_id: str = "b") -> str:
    return str(read(client, bot_id)["sharedStatus"])


def partial(client: APIClient, users: Any, groups: Any, bot_id: str = "b") -> Any:
    """Shares a bot with ids as they are given."""
    sent = {"targetSharedScope": "partial", "targetAllowedUserIds": users, "targetAllowedGroupIds": groups}
    return client.patch(f"/bot/{bot_id}/visibility", sent, format="json")


# ---- Scopes ---------------------------------------------------------------------------------------------------------


def test_a_new_bot_is_its_owners_alone(alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    made = make(alice, "b")
    assert (made["sharedScope"], made["sharedStatus"]) == ("private", "unshared")
    assert (made["allowedCognitoUsers"], made["allowedCognitoGroups"]) == ([], [])
    assert (opened(alice), opened(bob)) == (200, 403)
    assert opened(carol) == 200  # Admin uses every bot


def test_a_bot_shared_with_bob_is_not_shared_with_others(alice: APIClient, bob: APIClient, client_of: ClientOf) -> None:
    make(alice, "b")
    assert share(alice, "b", "partial", ["bob"]).status_code == 200
    assert (opened(bob), opened(client_of("dan"))) == (200, 403)
    summary = body(bob.get("/bot/summary/b"))
    assert (summary["owned"], summary["sharedScope"], summary["sharedStatus"]) == (False, "partial", "shared")


def test_a_group_taken_from_bob_takes_effect_with_his_next_token(alice: APIClient, client_of: ClientOf) -> None:
    make(alice, "b")
    share(alice, "b", "partial", [], "sales", "support")
    assert opened(client_of("bob", "sales")) == 200
    assert opened(client_of("bob")) == 403
    assert opened(client_of("bob", "Sales")) == 403
    assert opened(client_of("bob", "support", "hr")) == 200


def test_a_user_and_a_group_of_the_same_name_are_not_the_same(alice: APIClient, client_of: ClientOf) -> None:
    make(alice, "b")
    assert partial(alice, ["sales"], [local.local_user("bob").pk]).status_code == 200
    assert opened(client_of("bob", "sales")) == 403


def test_a_bot_shared_with_everybody_works_at_once_for_somebody_new(alice: APIClient, client_of: ClientOf) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    assert opened(client_of("somebody-who-was-never-here")) == 200


@pytest.mark.parametrize("narrowed", ["private", "partial"])
def test_access_ends_when_the_scope_is_narrowed(alice: APIClient, bob: APIClient, narrowed: str) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    assert opened(bob) == 200
    share(alice, "b", narrowed)
    assert opened(bob) == 403
    assert star(bob, "b").status_code == 403


def test_permissions_read_back_as_they_were_saved(alice: APIClient) -> None:
    make(alice, "b")
    users, groups = ["zoe", "nobody-knows-me", "@lice", "日本 語"], ["z", "a b", "Admin", "é"]
    assert partial(alice, users, groups).status_code == 200
    bot = read(alice, "b")
    assert (bot["allowedCognitoUsers"], bot["allowedCognitoGroups"]) == (users, groups)
    assert partial(alice, users[::-1], groups[::-1]).status_code == 200
    bot = read(alice, "b")
    assert (bot["allowedCognitoUsers"], bot["allowedCognitoGroups"]) == (users[::-1], groups[::-1])


def test_whom_is_named_twice_is_granted_once(alice: APIClient) -> None:
    make(alice, "b")
    assert partial(alice, ["x", "y", "x"], ["g", "g"]).status_code == 200
    bot = read(alice, "b")
    assert (bot["allowedCognitoUsers"], bot["allowedCognitoGroups"]) == (["x", "y"], ["g"])


def test_a_bot_may_be_shared_with_nobody_yet(alice: APIClient, bob: APIClient) -> None:
    make(alice, "b")
    assert partial(alice, [], []).status_code == 200
    bot = read(alice, "b")
    assert (bot["sharedScope"], bot["sharedStatus"]) == ("partial", "shared")
    assert opened(bob) == 403


def test_only_partial_has_people(alice: APIClient, bob: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "partial", ["bob"])
    share(alice, "b", "private")
    assert not BotGrant.objects.exists()
    sent = {"targetSharedScope": "private", "targetAllowedUserIds": ["x"], "targetAllowedGroupIds": ["x"]}
    assert alice.patch("/bot/b/visibility", sent, format="json").status_code == 200
    assert not BotGrant.objects.exists()
    share(alice, "b", "partial")
    assert opened(bob) == 403  # an earlier grant does not come back


def test_a_bot_has_at_most_500_grants(alice: APIClient) -> None:
    make(alice, "b")
    most = [f"user-{number}" for number in range(500)]
    assert partial(alice, most, []).status_code == 200
    assert read(alice, "b")["allowedCognitoUsers"] == most
    for users, groups in (([*most, "one"], []), ([], [*most, "one"]), (most[:250], most[:251])):
        assert partial(alice, users, groups).status_code == 400
    assert read(alice, "b")["allowedCognitoUsers"] == most


NO_SCOPES: list[Any] = [
    {},
    [],
    None,
    "private",
    {"targetSharedScope": "everybody"},
    {"targetSharedScope": None},
    {"targetSharedScope": ["all"]},
    {"targetSharedScope": {"all": 1}},
    {"targetSharedScope": "partial"},
    {"targetSharedScope": "partial", "targetAllowedUserIds": []},
    {"targetSharedScope": "partial", "targetAllowedGroupIds": []},
    {"targetSharedScope": "partial", "targetAllowedUserIds": None, "targetAllowedGroupIds": []},
    {"targetSharedScope": "partial", "targetAllowedUserIds": "bob", "targetAllowedGroupIds": []},
    {"targetSharedScope": "partial", "targetAllowedUserIds": [5], "targetAllowedGroupIds": []},
    {"targetSharedScope": "partial", "targetAllowedUserIds": [""], "targetAllowedGroupIds": []},
    {"targetSharedScope": "partial", "targetAllowedUserIds": [], "targetAllowedGroupIds": ["g" * 129]},
]


def test_a_scope_that_is_none_changes_nothing(alice: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "partial", ["bob"])
    before = read(alice, "b")
    for sent in NO_SCOPES:
        assert alice.patch("/bot/b/visibility", sent, format="json").status_code == 400, sent
    assert read(alice, "b") == before


def test_snake_case_is_understood(alice: APIClient) -> None:
    make(alice, "b")
    sent = {"target_shared_scope": "partial", "target_allowed_user_ids": ["x"], "target_allowed_group_ids": ["y"]}
    assert alice.patch("/bot/b/visibility", sent, format="json").status_code == 200
    bot = body(alice.get("/bot/private/b", headers={"accept": "application/json; case=snake"}))
    assert (bot["allowed_cognito_users"], bot["allowed_cognito_groups"]) == (["x"], ["y"])


# ---- Published bots -------------------------------------------------------------------------------------------------


def test_a_published_bot_stays_everybodys(alice: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    Bot.objects.update(published_at=timezone.now())
    for client in (alice, carol):
        for scope in ("private", "partial"):
            assert share(client, "b", scope, []).status_code == 400
    assert share(alice, "b", "all").status_code == 200
    bot = read(alice, "b")
    assert (bot["sharedScope"], bot["isPublication"]) == ("all", True)


@pytest.mark.parametrize("column", [{"pinned_order": 1}, {"published_at": timezone.now()}, {"pinned_order": 1000}])
@pytest.mark.parametrize("scope", ["private", "partial"])
def test_no_row_of_a_bot_that_is_not_everybodys_is_pinned_or_published(
    alice: APIClient, column: dict[str, Any], scope: str
) -> None:
    make(alice, "b")
    with pytest.raises(IntegrityError), transaction.atomic():
        Bot.objects.update(scope=scope, **column)


# ---- Pins -----------------------------------------------------------------------------------------------------------


def test_a_pin_shows_its_order_in_three_digits(alice: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    for order, shown in ((7, "pinned@007"), (0, "pinned@000"), (999, "pinned@999"), (42, "pinned@042")):
        assert pin(carol, "b", order).status_code == 200
        assert shared_status(alice) == shown
        assert body(carol.get("/admin/bot/public/b"))["sharedStatus"] == shown
    assert pin(carol, "b", None).status_code == 200
    assert shared_status(alice) == "shared"
    assert pin(carol, "b", None).status_code == 200  # it is unpinned already


def test_an_order_that_is_none_is_refused(alice: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    for order in (-1, 1000, 10**30, 7.5, 1e308, True, False, "7", "", None, [7], {}):
        response = carol.patch("/admin/bot/b/pushed", {"toPinned": True, "order": order}, format="json")
        assert response.status_code == 400, order
        assert response.json()["errors"][0].startswith("order: ")
    assert shared_status(alice) == "shared"


def test_a_pin_says_whether_and_where(alice: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    for sent in ({}, {"order": 7}, {"toPinned": True}, {"toPinned": None}, {"toPinned": 7}, [], "yes"):
        assert carol.patch("/admin/bot/b/pushed", sent, format="json").status_code == 400, sent
    assert shared_status(alice) == "shared"


def test_only_everybodys_bots_are_pinned(alice: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    for scope in ("private", "partial"):
        share(alice, "b", scope, [])
        assert pin(carol, "b", 1).status_code == 400
    share(alice, "b", "private")
    assert pin(carol, "b", None).status_code == 400
    assert pin(carol, "nope", 1).status_code == 404
    assert pin(carol, "nope", None).status_code == 404


def test_nobody_but_admin_pins_nor_learns_which_ids_there_are(alice: APIClient, bob: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    for client in (alice, bob):
        for order in (1, None):
            assert pin(client, "b", order).status_code == 403
            assert pin(client, "nope", order).status_code == 403
        for bot_id in ("b", "nope"):
            assert client.get(f"/admin/bot/public/{bot_id}").status_code == 403


def test_a_pinned_bot_stays_everybodys_and_is_not_deleted(alice: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    pin(carol, "b", 3)
    for client in (alice, carol):
        for scope in ("private", "partial"):
            assert share(client, "b", scope, []).status_code == 400
        assert client.delete("/bot/b").status_code == 400
    assert share(alice, "b", "all").status_code == 200
    assert shared_status(alice) == "pinned@003"
    pin(carol, "b", None)
    assert share(alice, "b", "private").status_code == 200


def test_pinned_bots_are_listed_by_their_order_then_title(alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    for bot_id, title, order in (("b", "B", 5), ("a", "Z", 5), ("c", "C", 1), ("d", "D", None)):
        make(alice, bot_id, title=title)
        share(alice, bot_id, "all")
        if order is not None:
            pin(carol, bot_id, order)
    for client in (alice, bob, carol):
        assert ids(client.get("/bot/pinned")) == ["c", "b", "a"]


def test_the_star_on_a_pinned_bot_is_the_callers_own(alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    pin(carol, "b", 7)
    star(alice, "b")
    (for_alice,), (for_bob,) = body(alice.get("/bot/pinned")), body(bob.get("/bot/pinned"))
    assert (for_alice["isStarred"], for_bob["isStarred"]) == (True, False)
    assert (for_alice["owned"], for_bob["owned"]) == (False, False)
    assert (for_alice["sharedStatus"], for_alice["available"]) == ("pinned@007", True)


# ---- Admin ----------------------------------------------------------------------------------------------------------


def test_admin_unshares_edits_and_deletes_anybodys_bot(alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "partial", ["bob"])
    assert edit(carol, "b", title="Admin was here").status_code == 200
    assert share(carol, "b", "private").status_code == 200
    bot = read(alice, "b")
    assert (bot["title"], bot["sharedScope"], bot["allowedCognitoUsers"]) == ("Admin was here", "private", [])
    assert opened(bob) == 403
    assert carol.delete("/bot/b").status_code == 200
    assert (opened(alice), opened(bob), opened(carol)) == (404, 404, 404)


def test_admin_reads_anybodys_bot_as_admin_and_not_as_its_owner(alice: APIClient, carol: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "partial", ["bob"], "sales")
    assert carol.get("/bot/private/b").status_code == 403
    seen, own = body(carol.get("/admin/bot/public/b")), read(alice, "b")
    assert seen == {name: own[name] for name in seen}
    assert seen["instruction"] == "You are b."
    assert seen["allowedCognitoGroups"] == ["sales"]


def test_whom_a_bot_is_shared_with_may_not_change_it(alice: APIClient, bob: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    before = read(alice, "b")
    for response in (
        edit(bob, "b", title="Mine"),
        share(bob, "b", "private"),
        bob.delete("/bot/b"),
        bob.get("/bot/private/b"),
        bob.get("/bot/b/versions"),
    ):
        assert response.status_code == 403
    assert read(alice, "b") == before


def test_who_loses_the_group_keeps_and_edits_their_bots(alice: APIClient, client_of: ClientOf) -> None:
    make(alice, "b")
    without = client_of("alice")
    assert without.post("/bot", payload("c"), format="json").status_code == 403
    assert edit(without, "b", title="Still mine").status_code == 200
    assert share(without, "b", "all").status_code == 200
    assert without.delete("/bot/b").status_code == 200
