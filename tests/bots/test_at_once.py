"""Writes to a bot that happen at the same time: each of them is refused or kept, and no state is forbidden."""

from collections.abc import Callable
from datetime import datetime
from threading import Barrier, Thread
from typing import Any

import pytest

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import ADMIN, CREATING_BOT_ALLOWED, Caller
from bedrock_chat.wire.errors import ApiError
from bots import aliases, editing, sharing
from bots.models import Bot, BotAlias, BotGrant, BotVersion, Scope, TakenBotId
from tests.together import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

ROUNDS = 3
"""Each with a bot of its own, since two calls need not overlap."""

FIELDS = {"title": "A bot", "instruction": "Be kind."}


def caller(name: str, *groups: str) -> Caller:
    return Caller(user_id=local.local_user(name).pk, groups=frozenset(groups))


@pytest.fixture
def alice() -> Caller:
    return caller("alice", CREATING_BOT_ALLOWED)


@pytest.fixture
def carol() -> Caller:
    return caller("carol", ADMIN)


def together(*calls: Callable[[], Any]) -> list[int]:
    """The statuses of calls that begin at the same moment."""
    barrier = Barrier(len(calls))

    def begin(call: Callable[[], Any]) -> int:
        barrier.wait(10)
        try:
            call()
        except ApiError as error:
            return error.status_code
        return 200

    return at_once(*(lambda call=call: begin(call) for call in calls))


def bots(alice: Caller, scope: Scope = Scope.PRIVATE) -> list[str]:
    """The ids of new bots of Alice's, one for each round."""
    ids = [f"bot-{number}" for number in range(ROUNDS)]
    for bot_id in ids:
        editing.create(bot_id, FIELDS, actor=alice)
        if scope != Scope.PRIVATE:
            sharing.share(bot_id, scope, actor=alice)
    return ids


def test_of_two_who_create_one_id_one_has_it(alice: Caller, carol: Caller) -> None:
    for number in range(ROUNDS):
        bot_id = f"bot-{number}"
        statuses = together(
            lambda bot_id=bot_id: editing.create(bot_id, FIELDS, actor=alice),
            lambda bot_id=bot_id: editing.create(bot_id, {**FIELDS, "title": "Carol's"}, actor=carol),
        )
        assert sorted(statuses) == [200, 409]
        bot = Bot.objects.get(pk=bot_id)
        winner = alice if statuses[0] == 200 else carol
        assert (bot.owner_id, bot.title) == (winner.user_id, "A bot" if winner is alice else "Carol's")
        assert BotVersion.objects.filter(bot=bot).count() == 1
    assert TakenBotId.objects.count() == ROUNDS


def test_two_edits_at_once_are_both_versions_and_neither_field_is_lost(alice: Caller, carol: Caller) -> None:
    for bot_id in bots(alice):
        statuses = together(
            lambda bot_id=bot_id: editing.modify(bot_id, {"title": "Another"}, actor=alice),
            lambda bot_id=bot_id: editing.modify(bot_id, {"description": "By Carol"}, actor=carol),
        )
        assert statuses == [200, 200]
        bot = Bot.objects.get(pk=bot_id)
        assert (bot.title, bot.description, bot.version) == ("Another", "By Carol", 3)
        changed = BotVersion.objects.filter(bot=bot).order_by("number").values_list("number", "changed")
        assert [number for number, _ in changed] == [1, 2, 3]
        assert sorted(fields for _, fields in changed) == [[], ["description"], ["title"]]


def test_of_two_edits_that_are_based_on_one_version_one_is_refused(alice: Caller, carol: Caller) -> None:
    for bot_id in bots(alice):
        statuses = together(
            lambda bot_id=bot_id: editing.modify(bot_id, {"title": "Alice's"}, base_version=1, actor=alice),
            lambda bot_id=bot_id: editing.modify(bot_id, {"title": "Carol's"}, base_version=1, actor=carol),
        )
        assert sorted(statuses) == [200, 409]
        bot = Bot.objects.get(pk=bot_id)
        assert (bot.title, bot.version) == ("Alice's" if statuses[0] == 200 else "Carol's", 2)


def test_what_is_unshared_and_pinned_at_once_is_one_of_both(alice: Caller, carol: Caller) -> None:
    for bot_id in bots(alice, Scope.ALL):
        statuses = together(
            lambda bot_id=bot_id: sharing.share(bot_id, Scope.PRIVATE, actor=alice),
            lambda bot_id=bot_id: sharing.pin(bot_id, 7, actor=carol),
        )
        assert sorted(statuses) == [200, 400]
        bot = Bot.objects.get(pk=bot_id)
        assert (bot.scope, bot.pinned_order) == (("private", None) if statuses[0] == 200 else ("all", 7))


def test_what_is_deleted_and_pinned_at_once_is_one_of_both(alice: Caller, carol: Caller) -> None:
    for bot_id in bots(alice, Scope.ALL):
        statuses = together(
            lambda bot_id=bot_id: editing.delete(bot_id, actor=alice),
            lambda bot_id=bot_id: sharing.pin(bot_id, 7, actor=carol),
        )
        assert statuses in ([200, 404], [400, 200])
        assert Bot.objects.filter(pk=bot_id).exists() == (statuses[0] == 400)


def test_a_bot_that_is_deleted_while_it_is_edited_is_gone(alice: Caller, carol: Caller) -> None:
    for bot_id in bots(alice):
        deleted, edited = together(
            lambda bot_id=bot_id: editing.delete(bot_id, actor=alice),
            lambda bot_id=bot_id: editing.modify(bot_id, {"title": "Another"}, actor=carol),
        )
        assert (deleted, edited) in ((200, 200), (200, 404))
    assert not Bot.objects.exists()
    assert not BotVersion.objects.exists()


def test_of_two_who_share_at_once_the_grants_are_those_of_one(alice: Caller, carol: Caller) -> None:
    for bot_id in bots(alice):
        statuses = together(
            lambda bot_id=bot_id: sharing.share(bot_id, Scope.PARTIAL, ["x", "y"], [], actor=alice),
            lambda bot_id=bot_id: sharing.share(bot_id, Scope.PARTIAL, ["y", "z"], ["g"], actor=carol),
        )
        assert statuses == [200, 200]
        grants = set(BotGrant.objects.filter(bot=bot_id).values_list("grantee", flat=True))
        assert grants in ({"x", "y"}, {"y", "z", "g"})


def test_two_stars_at_once_are_one_row(alice: Caller) -> None:
    for bot_id in bots(alice):
        star = lambda bot_id=bot_id: aliases.set_star(bot_id, starred=True, actor=alice)  # noqa: E731
        assert together(star, star, star) == [200, 200, 200]
    assert BotAlias.objects.filter(is_starred=True).count() == ROUNDS


def test_a_bot_that_is_deleted_while_its_owner_stars_it_is_on_no_list(
    alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner has read it when the deletion begins: which waits, and takes the star along."""
    editing.create("a", FIELDS, actor=alice)
    deletion = Thread(target=lambda: at_once(lambda: editing.delete("a", actor=alice)))

    def now_and_delete() -> datetime:
        deletion.start()
        deletion.join(0.5)  # on SQLite, and where nothing is locked, it is over by then
        return database_now()

    monkeypatch.setattr(aliases, "database_now", now_and_delete)
    aliases.set_star("a", starred=True, actor=alice)
    deletion.join()
    assert not Bot.objects.exists()
    assert not BotAlias.objects.exists()
