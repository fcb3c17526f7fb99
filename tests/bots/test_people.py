"""People and groups over REST: who may look for whom, and how often."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.identity import local
from bots.models import Bot, BotGrant
from tests.bots import bot
from tests.bots.conftest import ClientOf
from tests.pool import ScriptedPool, UserPool, moto, refusal, searched

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]


def id_of(name: str) -> str:
    return local.local_user(name).pk


def who_is(client: APIClient, name: str) -> int:
    """The status of asking who somebody is, by id."""
    status: int = client.get(f"/user/{id_of(name)}").status_code
    return status


# ---- Searching ------------------------------------------------------------------------------------------------------


def test_who_may_create_bots_finds_people(alice: APIClient, bob: APIClient) -> None:
    answer = alice.get("/user/search", {"prefix": "BO"})
    assert (answer.status_code, answer.json()) == (
        200,
        [{"id": id_of("bob"), "name": "bob", "email": "bob@example.com"}],
    )


def test_who_may_create_bots_finds_groups(alice: APIClient, client_of: ClientOf) -> None:
    client_of("dave", "sales-emea", "sales-apac").get("/conversations")
    assert alice.get("/user/group/search", {"prefix": "SALES"}).json() == [
        {"name": "sales-apac", "description": ""},
        {"name": "sales-emea", "description": ""},
    ]


def test_admin_searches_without_another_group(carol: APIClient) -> None:
    carol.get("/conversations")
    assert carol.get("/user/search", {"prefix": "car"}).json()[0]["name"] == "carol"
    assert carol.get("/user/group/search", {"prefix": "adm"}).json() == [{"name": "Admin", "description": ""}]


@pytest.mark.parametrize("path", ["/user/search", "/user/group/search"])
@pytest.mark.parametrize("groups", [(), ("PublishAllowed",), ("admin",), ("creatingbotallowed",)])
def test_nobody_else_searches(client_of: ClientOf, path: str, groups: tuple[str, ...]) -> None:
    refused = client_of("bob", *groups).get(path, {"prefix": "al"})
    assert refused.status_code == 403
    assert "alice" not in str(refused.json())


@pytest.mark.parametrize("path", ["/user/search", "/user/group/search"])
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        ({"prefix": "x" * 101}, 400),
        ({"prefix": "x" * 100}, 200),
        ({"prefix": ""}, 200),
        ({"prefix": "  "}, 200),
        ({"prefix": "%"}, 200),
    ],
)
def test_a_prefix_is_needed_and_a_blank_one_finds_nothing(
    alice: APIClient, path: str, query: dict[str, str], status: int
) -> None:
    answer = alice.get(path, query)
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == []
    else:
        assert answer.json()["errors"][0].startswith("prefix: ")


def test_answers_in_snake_case_are_the_same(alice: APIClient) -> None:
    answer = alice.get("/user/search", {"prefix": "alice"}, HTTP_ACCEPT="application/json; case=snake")
    assert set(answer.json()[0]) == {"id", "name", "email"}


# ---- One person -----------------------------------------------------------------------------------------------------


def test_who_may_create_bots_learns_who_anybody_is(alice: APIClient, carol: APIClient) -> None:
    expected = {"id": id_of("bob"), "name": "bob", "email": "bob@example.com"}
    assert alice.get(f"/user/{id_of('bob')}").json() == carol.get(f"/user/{id_of('bob')}").json() == expected


def test_a_plain_user_learns_nothing_of_a_stranger(bob: APIClient) -> None:
    refused = bob.get(f"/user/{id_of('alice')}")
    assert refused.status_code == 404
    assert refused.json() == bob.get("/user/nobody").json()


def test_a_plain_user_learns_who_owns_a_bot_that_everybody_may_use(alice: APIClient, bob: APIClient) -> None:
    bot.make(alice, "guide")
    assert who_is(bob, "alice") == 404
    bot.share(alice, "guide", "all")
    assert bob.get(f"/user/{id_of('alice')}").json()["email"] == "alice@example.com"
    assert who_is(bob, "carol") == 404
    bot.share(alice, "guide", "private")
    assert who_is(bob, "alice") == 404


def test_a_plain_user_learns_who_shared_a_bot_with_them_and_others_do_not(
    alice: APIClient, bob: APIClient, client_of: ClientOf
) -> None:
    bot.make(alice, "guide")
    bot.share(alice, "guide", "partial", ["bob"], "sales")
    erin, dave = client_of("erin"), client_of("dave", "sales")
    assert [who_is(client, "alice") for client in (bob, dave, erin)] == [200, 200, 404]
    assert who_is(bob, "dave") == 404  # with whom the same bot is shared


def test_who_lost_the_group_learns_with_whom_they_shared_a_bot(alice: APIClient, client_of: ClientOf) -> None:
    bot.make(alice, "guide")
    bot.share(alice, "guide", "partial", ["bob"], "sales")
    bot.make(alice, "other")
    former = client_of("alice")
    assert (who_is(former, "bob"), who_is(former, "carol")) == (200, 404)
    bot.share(alice, "guide", "private")
    assert who_is(former, "bob") == 404


def test_a_group_of_that_name_is_nobody(alice: APIClient, client_of: ClientOf) -> None:
    bot.make(alice, "guide")
    bot.share(alice, "guide", "partial", [], id_of("bob"))
    assert who_is(client_of("alice"), "bob") == 404


def test_a_leftover_grant_of_a_private_bot_tells_nothing(alice: APIClient, client_of: ClientOf) -> None:
    bot.make(alice, "guide")
    BotGrant.objects.create(bot=Bot.objects.get(pk="guide"), kind="user", grantee=id_of("bob"))
    assert who_is(client_of("alice"), "bob") == 404


@pytest.mark.parametrize("person_id", ["nobody", "%20", "x" * 2000, "%F0%9F%98%80", "alice@example.com"])
@pytest.mark.parametrize("name", ["alice", "bob"])
def test_whoever_is_not_there_is_a_404(client_of: ClientOf, name: str, person_id: str) -> None:
    client = client_of(name, *(["CreatingBotAllowed"] if name == "alice" else []))
    assert client.get(f"/user/{person_id}").status_code == 404


# ---- Limits ---------------------------------------------------------------------------------------------------------


def test_looking_for_people_is_limited_for_each_user(
    alice: APIClient, bob: APIClient, carol: APIClient, settings: Any
) -> None:
    settings.DIRECTORY_RATE = "3/d"
    paths = ["/user/search?prefix=al", "/user/group/search?prefix=al", "/user/nobody", "/user/search?prefix=al"]
    answers = [alice.get(path) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert [bob.get("/user/nobody").status_code for _ in range(4)] == [404, 404, 404, 429]
    assert carol.get("/user/search?prefix=al").status_code == 200


def test_a_search_and_a_look_up_take_few_statements(
    alice: APIClient, bob: APIClient, django_assert_max_num_queries: Any
) -> None:
    for client in (alice, bob):
        client.get("/conversations")
    for client, path, most in (
        (alice, "/user/search?prefix=al", 2),
        (alice, "/user/group/search?prefix=al", 2),
        (alice, f"/user/{id_of('bob')}", 2),
        (bob, f"/user/{id_of('alice')}", 3),
    ):
        with django_assert_max_num_queries(most):
            client.get(path)


# ---- With a pool ----------------------------------------------------------------------------------------------------


def test_a_bot_is_shared_with_somebody_of_the_pool_whom_this_server_has_never_seen(
    alice: APIClient, client_of: ClientOf, settings: Any
) -> None:
    with moto() as url:
        pool = UserPool.made_at(url)
        erin = pool.add("erin", name="Erin Doe")
        with searched(pool.url, pool.id, settings):
            (person,) = alice.get("/user/search?prefix=Erin").json()
            assert person == {"id": erin, "name": "erin", "email": "erin@example.com"}
            bot.make(alice, "guide")
            wanted = {"targetSharedScope": "partial", "targetAllowedUserIds": [erin], "targetAllowedGroupIds": []}
            bot.body(alice.patch("/bot/guide/visibility", wanted, format="json"))
            assert alice.get(f"/user/{erin}").json() == client_of("alice").get(f"/user/{erin}").json() == person
            assert client_of("bob").get(f"/user/{erin}").status_code == 404


def test_a_pool_that_throttles_is_a_503(alice: APIClient, bob: APIClient, settings: Any) -> None:
    scripted = ScriptedPool(lambda *_: refusal("TooManyRequestsException"))
    with scripted.serving(), searched(scripted.service.url, scripted.id, settings):
        for path in ("/user/search?prefix=al", "/user/group/search?prefix=al", "/user/nobody"):
            refused = alice.get(path)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
            assert refused.json()["detail"] == "The directory of people does not answer; try again."
        calls = len(scripted.calls)
        assert bob.get("/user/search?prefix=al").status_code == 403
        assert bob.get(f"/user/{id_of('alice')}").status_code == 404
        assert len(scripted.calls) == calls  # who may not know, asks in vain
