"""The popular bots and the day's pick."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bots import chatting, popularity
from bots.models import Bot, BotAlias
from store import ranking
from store.models import Listing
from tests.bots.bot import edit, make, share, use
from tests.store.store import offer, picked, popular, refresh

pytestmark = [pytest.mark.django_db, pytest.mark.both]
ClientOf = Callable[..., APIClient]

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def bots(alice: APIClient) -> list[str]:
    """Four bots of Alice's that everybody may use."""
    for bot_id in "abcd":
        offer(alice, bot_id, f"Bot {bot_id}")
    return list("abcd")


# ---- Popularity -----------------------------------------------------------------------------------------------------


def test_people_and_days_count_and_not_questions(bots: list[str], bob: APIClient) -> None:
    for _ in range(5):
        use("bob", "a", NOON)  # one person, one day
    for name in ("bob", "carol"):
        use(name, "b", NOON)
    for days in range(3):
        use("bob", "c", NOON - days * DAY + DAY)
    refresh()
    assert popular(bob)[-2:] == ["a", "d"]
    assert set(popular(bob)[:2]) == {"b", "c"}
    assert BotAlias.objects.get(bot="a").uses == 5


def test_a_use_counts_half_of_one_fourteen_days_later(bots: list[str], bob: APIClient) -> None:
    for name in ("bob", "carol"):
        use(name, "a", NOON - 14 * DAY)
    use("bob", "b", NOON)
    use("bob", "c", NOON - 15 * DAY)
    refresh()
    scores = dict(Listing.objects.values_list("bot_id", "popularity"))
    assert popularity.today(scores["a"], NOON) == pytest.approx(1.0)
    assert popularity.today(scores["b"], NOON) == pytest.approx(1.0)
    assert popularity.today(scores["c"], NOON) < 0.5
    assert popularity.today(scores["a"], NOON + 14 * DAY) == pytest.approx(0.5)
    assert popular(bob) == ["b", "a", "c", "d"]  # of a and b, b was used last


def test_equal_bots_come_by_their_last_use_and_then_by_id(bots: list[str], bob: APIClient) -> None:
    use("bob", "b", NOON)
    use("bob", "c", NOON + timedelta(minutes=1))
    refresh()
    assert popular(bob) == ["c", "b", "a", "d"]


def test_a_day_ends_at_midnight_utc_and_no_day_counts_twice(bots: list[str]) -> None:
    midnight = datetime(2026, 11, 30, tzinfo=UTC)
    use("bob", "a", midnight - timedelta(seconds=1))
    use("bob", "a", midnight)
    use("bob", "a", midnight - timedelta(seconds=1))  # a clock that was set back
    refresh()
    alias = BotAlias.objects.get()
    day = popularity.day_of(midnight)
    assert alias.last_use_day == day
    assert alias.popularity == pytest.approx(popularity.of_day(day) + popularity.of_day(day - 1))
    assert Listing.objects.get(bot="a").popularity == pytest.approx(alias.popularity)


def test_a_turn_that_is_no_use_counts_for_no_day(bots: list[str]) -> None:
    actor = Caller(user_id=local.local_user("bob").pk)
    bot = chatting.get("a", actor=actor)
    for is_use, days in ((False, 0), (True, 1), (False, 2), (True, 2)):
        with transaction.atomic(), Batch() as batch:
            chatting.note_turn(batch, bot, NOON + days * DAY, is_use=is_use, actor=actor)
    refresh()
    first = popularity.day_of(NOON + DAY)
    counted = popularity.of_day(first) + popularity.of_day(first + 1)
    assert Listing.objects.get(bot="a").popularity == pytest.approx(counted)


def test_only_what_has_changed_is_written(
    bots: list[str], django_assert_max_num_queries: Callable[[int], object]
) -> None:
    use("bob", "a", NOON)
    refresh()
    with django_assert_max_num_queries(3):  # type: ignore[attr-defined]
        ranking.refresh()


def test_who_is_forgotten_by_the_recent_list_has_still_used_it(bots: list[str], bob: APIClient) -> None:
    use("bob", "a", NOON)
    refresh()
    assert bob.delete("/bot/a/recently-used").status_code == 200
    refresh()
    assert popular(bob)[0] == "a"


# ---- The day's pick -------------------------------------------------------------------------------------------------


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the time that the pick sees."""

    def put(moment: datetime) -> None:
        monkeypatch.setattr(ranking, "database_now", lambda: moment)

    return put


def test_the_pick_changes_at_midnight_utc_and_not_before(
    bots: list[str], alice: APIClient, bob: APIClient, at: Callable[[datetime], None]
) -> None:
    picks = set()
    for days in range(30):
        at(datetime(2026, 11, 1, tzinfo=UTC) + days * DAY)
        first = picked(bob)
        assert picked(alice) == first
        assert sorted(first) == bots
        at(datetime(2026, 11, 1, 23, 59, 59, tzinfo=UTC) + days * DAY)
        edit(alice, "a", title=f"Title {days}")
        assert picked(bob) == first
        picks.add(tuple(first))
    assert len(picks) > 5


def test_each_bot_has_its_turn(bots: list[str], bob: APIClient, at: Callable[[datetime], None]) -> None:
    first = []
    for days in range(80):
        at(NOON + days * DAY)
        first += picked(bob, limit=1)
    assert min(first.count(bot_id) for bot_id in bots) >= 8


# ---- Both -----------------------------------------------------------------------------------------------------------


def test_everybody_is_shown_what_lists_show_them_and_admin_no_more(
    alice: APIClient, carol: APIClient, client_of: ClientOf
) -> None:
    make(alice, "own", title="Bot")
    for bot_id, users, groups in (("bobs", ["bob"], ()), ("sales", [], ("sales",)), ("old", ["bob"], ())):
        make(alice, bot_id, title="Bot")
        share(alice, bot_id, "partial", users, *groups)
    share(alice, "old", "private")
    offer(alice, "all", "Bot")
    offer(alice, "was-all", "Bot")
    make(carol, "carols", title="Bot")
    refresh()
    share(alice, "was-all", "private")  # and nothing is indexed since
    people = {
        ("alice",): {"own", "bobs", "sales", "old", "all", "was-all"},
        ("bob",): {"bobs", "all"},
        ("dan", "sales"): {"sales", "all"},
        ("bob", "sales", "others"): {"bobs", "sales", "all"},
        ("carol", "Admin"): {"carols", "all"},
        ("eve",): {"all"},
    }
    for (name, *groups), expected in people.items():
        client = client_of(name, *groups)
        assert set(popular(client)) == set(picked(client)) == expected, name
        actor = Caller(user_id=local.local_user(name).pk, groups=frozenset(groups))
        assert set(Bot.objects.listed_for(actor).values_list("pk", flat=True)) == expected
        in_parts = [row.bot_id for part in Listing.objects.parts_for(actor) for row in part]
        assert set(in_parts) == expected | {"was-all"}


def test_a_key_of_a_publication_is_shown_nothing() -> None:
    key = Caller(user_id=None, publication_id="p", key_id="k", groups=frozenset({"Admin"}))
    assert ranking.popular(limit=1, actor=key) == ranking.pickup(limit=1, actor=key) == []


def test_each_bot_is_shown_once_and_the_limit_counts(bots: list[str], alice: APIClient) -> None:
    assert sorted(popular(alice)) == sorted(picked(alice)) == bots
    assert len(popular(alice, limit=2)) == len(picked(alice, limit=2)) == 2
