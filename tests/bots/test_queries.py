"""Query budgets: how many statements a route of bots may cost, the caller's own row of authentication included."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.identity import local
from bedrock_chat.identity.models import User
from bots.content import Content, write
from bots.models import Bot, BotAlias, BotGrant, BotVersion, Grantee, Scope, TakenBotId
from tests.bots import upload
from tests.bots.bot import body, edit, firecrawl, make, payload, pin, share, star, use
from tests.conversations.test_queries import statements

pytestmark = [pytest.mark.django_db, pytest.mark.both]

LISTS = {
    "/bot": 3,
    "/bot?limit=30": 2,
    "/bot?kind=private&starred=true": 3,
    "/bot?kind=mixed&starred=true": 3,
    "/bot?kind=mixed&limit=30": 2,
    "/bot?kind=mixed&limit=100": 2,
    "/bot/pinned": 3,
}
"""A list without a limit is asked for its size first."""


def cost(call: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert call().status_code == 200
    return len(statements(captured))


def many(owner: User, number: int, *, others: User) -> None:
    """Bots of a person, each shared with the other one, pinned, starred and used by both."""
    now = timezone.now()
    bots = []
    for place in range(number):
        moment = now + timedelta(seconds=place)
        scope = Scope.ALL if place % 2 else Scope.PARTIAL
        bot = Bot(id=f"b{place}", owner=owner, scope=scope, created_at=moment, updated_at=moment)
        bot.pinned_order = place if scope == Scope.ALL else None
        write(Content(title=f"Bot {place}"), bot)
        bots.append(bot)
    Bot.objects.bulk_create(bots)
    BotGrant.objects.bulk_create(BotGrant(bot=bot, kind=Grantee.USER, grantee=others.pk) for bot in bots)
    BotAlias.objects.bulk_create(
        BotAlias(
            user=user,
            bot=bot,
            bot_owner_id=owner.pk,
            title=bot.title,
            is_starred=True,
            last_used_at=now,
            created_at=now,
        )
        for bot in bots
        for user in (owner, others)
    )


def test_a_list_costs_at_most_three_statements_at_any_number_of_bots(
    alice: APIClient, bob: APIClient, carol: APIClient
) -> None:
    many(local.local_user("alice"), 200, others=local.local_user("bob"))
    for client in (alice, bob, carol):
        body(client.get("/bot"))  # the caller's row is there
        for path, statements_of_list in LISTS.items():
            assert cost(lambda client=client, path=path: client.get(path)) == statements_of_list, path
    assert len(body(alice.get("/bot"))) == 200
    assert len(body(bob.get("/bot?kind=mixed&limit=100"))) == 100
    assert len(body(bob.get("/bot/pinned"))) == 100


@pytest.fixture
def bot(alice: APIClient, bob: APIClient, carol: APIClient) -> str:
    """Alice's bot with a secret, 500 grants and some versions, starred by all and used by two."""
    make(alice, "b", agent=firecrawl("fc-key"))
    for number in range(3):
        edit(alice, "b", title=f"Title {number}")
    share(alice, "b", "partial", ["bob"], *(f"group {number}" for number in range(499)))
    for client in (alice, bob, carol):
        star(client, "b")
    for name in ("alice", "bob"):
        use(name, "b")
    return "b"


def test_reading_a_bot(bot: str, alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    assert cost(lambda: bob.get("/bot/summary/b")) == 3  # user, bot, alias
    assert cost(lambda: alice.get("/bot/private/b")) == 4  # user, bot, grants, alias
    assert cost(lambda: carol.get("/admin/bot/public/b")) == 4
    assert cost(lambda: alice.get("/bot/b/versions")) == 3  # user, bot, versions
    assert cost(lambda: alice.get("/bot/b/versions/3")) == 4  # user, bot, version, the one before it
    assert cost(lambda: alice.get("/bot/b/agent/available-tools")) == 1


def test_stars_and_recent_bots(bot: str, bob: APIClient) -> None:
    assert cost(lambda: star(bob, "b", starred=False)) == 4  # user, bot, alias; alias
    assert cost(lambda: star(bob, "b")) == 4
    assert cost(lambda: bob.delete("/bot/b/recently-used")) == 4


def test_creating_a_bot(alice: APIClient) -> None:
    make(alice, "a", agent=firecrawl("fc-key"))
    # user; how many there are, id, bot, version, audit
    assert cost(lambda: alice.post("/bot", payload("b"), format="json")) == 6
    # and the key of the secret is held for each of the two tokens
    assert cost(lambda: alice.post("/bot", payload("c", agent=firecrawl("fc-key")), format="json")) == 8


def test_copying_and_taking_a_bot_elsewhere(bot: str, alice: APIClient) -> None:
    document = body(alice.get("/bot/b/export"))
    # user; bot, locked and with its grants, alias; how many there are, id, bot, version, audit
    assert cost(lambda: alice.post("/bot/b/clone")) == 9
    assert cost(lambda: alice.get("/bot/b/export")) == 2  # user, bot
    assert cost(lambda: alice.post("/bot/import", document, format="json")) == 6  # as a creation


def test_editing_a_bot(bot: str, alice: APIClient) -> None:
    # user; bot; bot and version, for each of which the key of its secret is held; audit
    assert cost(lambda: edit(alice, "b", title="Another")) == 7
    assert cost(lambda: edit(alice, "b", title="Another")) == 2  # nothing changes: user; bot
    assert cost(lambda: alice.post("/bot/b/versions/1/restore")) == 8  # and the version


def test_files_cost_the_same_however_many_they_are(alice: APIClient) -> None:
    user = local.local_user("alice").pk
    make(alice, "b")
    costs = []
    for number in (1, 2, 50):
        names = [f"{number}-{place}.txt" for place in range(number)]
        for name in names:
            upload.wait(user, "b", name, name.encode())
        costs.append(cost(lambda names=names: edit(alice, "b", knowledge=upload.change(added=names))))
    # user; bot; blobs, their names; bot; knowledge, its sources, its row; bot's row, job, version; files held,
    # versions, files, references; audit
    assert costs[1] == costs[2] <= 19
    assert cost(lambda: alice.delete(f"/bot/b/files/{upload.digest(b'1-0.txt')}")) <= 20


def test_sharing_and_pinning_a_bot(bot: str, alice: APIClient, carol: APIClient) -> None:
    # user; bot, grants, bot, grants go, audit
    assert cost(lambda: share(alice, "b", "all")) == 6
    assert cost(lambda: share(alice, "b", "all")) == 3
    assert cost(lambda: pin(carol, "b", 7)) == 4  # user; bot, bot, audit
    assert cost(lambda: pin(carol, "b", None)) == 4
    # and they come, in one statement up to what SQLite takes of parameters
    assert cost(lambda: share(alice, "b", "partial", [], *(f"group {number}" for number in range(500)))) <= 9


def test_deleting_a_bot_costs_the_same_however_many_have_to_do_with_it(bot: str, alice: APIClient) -> None:
    make(alice, "lonely")
    costs = {bot_id: cost(lambda bot_id=bot_id: alice.delete(f"/bot/{bot_id}")) for bot_id in ("lonely", "b")}
    assert (
        costs["lonely"] == costs["b"] <= 17
    )  # on PostgreSQL one locks the holds; its knowledge, and that this has no bot
    assert not BotVersion.objects.exists()
    assert not BotGrant.objects.exists()
    assert TakenBotId.objects.count() == 2
